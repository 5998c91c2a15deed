"""Matching the names of one model with those of another."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, dataclass
from functools import partial

import numpy as np
import pytest

from ckptparse import open_checkpoint
from ckptparse.weights.matching import Ambiguity, MatchReport, match
from ckptparse.weights.selection import select
from support.counting import counted_steps
from support.oracle import VGG

VGG_SHAPES = {tensor.name: tensor.shape for tensor in VGG.tensors}
VGG_CONVS = [
    f"conv{i}/conv{i}_{j}" for i, n in enumerate([2, 2, 3, 3, 3], 1) for j in range(1, n + 1)
]
KERAS_CONVS = [
    name.rpartition("/")[2].replace("conv", "block").replace("_", "_conv") for name in VGG_CONVS
]
TORCH_CONVS = [f"features.{i}" for i in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)]


def output_first(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A kernel's shape as PyTorch has it."""
    return (shape[-1], shape[-2], *shape[:-2])


def vgg_in(framework: str) -> tuple[dict[str, str], dict[str, tuple[int, ...]]]:
    """The right names, and the shapes of the target, for vgg_16 in Keras or torchvision."""
    convs, dense, kernel, form = {
        "keras": (KERAS_CONVS, ["fc1", "fc2", "predictions"], "kernel", tuple),
        "torch": (
            TORCH_CONVS,
            ["classifier.0", "classifier.3", "classifier.6"],
            "weight",
            output_first,
        ),
    }[framework]
    dot = "/" if framework == "keras" else "."
    right, shapes = {}, {}
    for ours, theirs in zip([*VGG_CONVS, "fc6", "fc7", "fc8"], [*convs, *dense]):
        weights, biases = f"vgg_16/{ours}/weights", f"vgg_16/{ours}/biases"
        shape = VGG_SHAPES[weights]
        if ours.startswith("fc"):
            shapes[theirs + dot + kernel] = form((math.prod(shape[:3]), shape[3]))
        else:
            right[weights] = theirs + dot + kernel
            shapes[theirs + dot + kernel] = form(shape)
        right[biases] = theirs + dot + "bias"
        shapes[theirs + dot + "bias"] = VGG_SHAPES[biases]
    return right, shapes


def names_of(source, target, **options) -> dict[str, str]:
    return dict(match(source, target, **options).names)


class TestModels:
    @pytest.mark.parametrize("framework", ["keras", "torch"])
    def test_vgg_16(self, framework: str) -> None:
        right, shapes = vgg_in(framework)
        report = match(VGG_SHAPES, shapes, transposed=framework == "torch")
        assert report.names == right
        assert report.ambiguous == ()
        # TF-slim keeps the dense layers as convolutions: another shape, and no proposal.
        fc = ["vgg_16/fc6/weights", "vgg_16/fc7/weights", "vgg_16/fc8/weights"]
        assert report.unmatched_source == ("global_step", *fc, "vgg_16/mean_rgb")
        assert set(report.unmatched_target) == shapes.keys() - set(right.values())

    def test_the_report_is_what_select_takes(self) -> None:
        right, shapes = vgg_in("torch")
        with open_checkpoint(VGG.prefix) as ckpt:
            report = match(ckpt.infos(), shapes, transposed=True)
            transposes = {
                name: partial(np.transpose, axes=axes) for name, axes in report.transposed.items()
            }
            chosen = select(ckpt, assignment_map=report.names, transform=transposes)
            assert sorted(chosen) == sorted(right.values())
            assert all(array.shape == shapes[name] for name, array in chosen.items())
            np.testing.assert_array_equal(
                chosen["features.2.weight"][1, 2],
                ckpt["vgg_16/conv1/conv1_2/weights"][:, :, 2, 1],
            )

    def test_resnet_50_of_slim_and_of_torchvision(self) -> None:
        source, target, right = {}, {}, {}

        def layer(ours: str, conv: str, norm: str, shape: tuple[int, ...]) -> None:
            source[f"{ours}/weights"] = shape
            target[f"{conv}.weight"] = output_first(shape)
            right[f"{ours}/weights"] = f"{conv}.weight"
            for one, other in [
                ("gamma", "weight"),
                ("beta", "bias"),
                ("moving_mean", "running_mean"),
                ("moving_variance", "running_var"),
            ]:
                source[f"{ours}/BatchNorm/{one}"] = target[f"{norm}.{other}"] = shape[-1:]
                right[f"{ours}/BatchNorm/{one}"] = f"{norm}.{other}"
            target[f"{norm}.num_batches_tracked"] = ()

        root = "resnet_v1_50"
        layer(f"{root}/conv1", "conv1", "bn1", (7, 7, 3, 64))
        inputs = 64
        for block, (units, depth) in enumerate([(3, 64), (4, 128), (6, 256), (3, 512)], 1):
            for unit in range(units):
                ours = f"{root}/block{block}/unit_{unit + 1}/bottleneck_v1"
                theirs = f"layer{block}.{unit}"
                if unit == 0:
                    down = f"{theirs}.downsample"
                    layer(f"{ours}/shortcut", f"{down}.0", f"{down}.1", (1, 1, inputs, 4 * depth))
                for i, shape in enumerate(
                    [(1, 1, inputs, depth), (3, 3, depth, depth), (1, 1, depth, 4 * depth)], 1
                ):
                    layer(f"{ours}/conv{i}", f"{theirs}.conv{i}", f"{theirs}.bn{i}", shape)
                inputs = 4 * depth
        source |= {f"{root}/logits/weights": (1, 1, 2048, 1000), f"{root}/logits/biases": (1000,)}
        target |= {"fc.weight": (1000, 2048), "fc.bias": (1000,)}
        right[f"{root}/logits/biases"] = "fc.bias"
        source |= {"global_step": (), f"{root}/mean_rgb": (3,)}
        report = match(source, target, transposed=True)
        assert report.names == right
        assert report.ambiguous == ()
        assert f"{root}/logits/weights" in report.unmatched_source

    def test_bert_in_pytorch(self) -> None:
        source, target, right = {}, {}, {}

        def both(ours: str, theirs: str, shape: tuple[int, ...]) -> None:
            source[ours] = shape
            target[theirs] = shape[::-1]
            right[ours] = theirs

        for i in range(12):
            ours, theirs = f"bert/encoder/layer_{i}", f"bert.encoder.layer.{i}"
            for name, shape in {
                "attention/self/query": (8, 8),
                "attention/self/key": (8, 8),
                "attention/self/value": (8, 8),
                "attention/output/dense": (8, 8),
                "intermediate/dense": (8, 32),
                "output/dense": (32, 8),
            }.items():
                dotted = name.replace("/", ".")
                both(f"{ours}/{name}/kernel", f"{theirs}.{dotted}.weight", shape)
                both(f"{ours}/{name}/bias", f"{theirs}.{dotted}.bias", shape[1:])
            for name in ("attention/output", "output"):
                dotted = name.replace("/", ".")
                both(f"{ours}/{name}/LayerNorm/gamma", f"{theirs}.{dotted}.LayerNorm.weight", (8,))
                both(f"{ours}/{name}/LayerNorm/beta", f"{theirs}.{dotted}.LayerNorm.bias", (8,))
        assert names_of(source, target, transposed=True) == right


KERNEL, BIAS = (3, 3, 4, 4), (4,)


class TestRules:
    @pytest.mark.parametrize(
        ("source", "target"),
        [
            ("a/weights", "b/kernel"),
            ("a/kernel", "b.weight"),
            ("a/w", "b/kernel"),
            ("a/biases", "b.bias"),
            ("a/b", "b/bias"),
            ("a/gamma", "b.weight"),
            ("a/gamma", "b/scale"),
            ("a/beta", "b.bias"),
            ("a/beta", "b/offset"),
            ("a/moving_mean", "b.running_mean"),
            ("a/moving_variance", "b.running_var"),
            ("a/moving_variance", "b/var"),
            ("a/depthwise_weights", "b/depthwise_kernel"),
            ("a/embeddings", "b.weight"),
            ("global_step", "global_step"),
            ("A/Kernel", "b/kernel"),
            ("a/weights_1", "b/kernel"),
            ("a/kernel/.ATTRIBUTES/VARIABLE_VALUE", "b/kernel:0"),
        ],
    )
    def test_roles_that_can_be_the_same(self, source: str, target: str) -> None:
        assert names_of({source: BIAS}, {target: BIAS}) == {source: target}

    @pytest.mark.parametrize(
        ("source", "target"),
        [
            ("a/weights", "a/bias"),
            ("a/gamma", "a/kernel"),
            ("a/biases", "a/beta"),
            ("a/moving_mean", "a/running_var"),
            ("a/weights/Momentum", "a/kernel"),
            ("global_step", "num_batches_tracked"),
        ],
    )
    def test_roles_that_cannot(self, source: str, target: str) -> None:
        report = match({source: BIAS}, {target: BIAS})
        assert report == MatchReport({}, {}, (), (source,), (target,))

    def test_shapes_must_be_equal(self) -> None:
        report = match({"a/kernel": (2, 3)}, {"a/kernel": (3, 2)})
        assert report == MatchReport({}, {}, (), ("a/kernel",), ("a/kernel",))

    def test_the_same_names(self) -> None:
        names = {"a/kernel": BIAS, "a/bias": BIAS, "b/kernel": BIAS, "c/bias": BIAS}
        assert names_of(names, names) == {name: name for name in names}

    @pytest.mark.parametrize(
        ("ours", "theirs"), [("", ""), ("vgg/", ""), ("", "my/vgg/"), ("m/n/", "")]
    )
    def test_one_scope_in_front_and_not_all_there(self, ours: str, theirs: str) -> None:
        layers = [f"conv{i}" for i in range(1, 9)]
        source = {f"{ours}{layer}/weights": KERNEL for layer in layers}
        target = {f"{theirs}{layer}/kernel": KERNEL for layer in layers[2:5]}
        report = match(source, target)
        assert report.names == {
            f"{ours}{layer}/weights": f"{theirs}{layer}/kernel" for layer in layers[2:5]
        }
        assert len(report.unmatched_source) == 5

    def test_a_scope_that_hardly_any_name_has_is_none(self) -> None:
        source = ["net/stem/gamma", "net/unit/bn/gamma", "net/end/gamma"]
        target = ["bn.weight", "layer.bn.weight", "last.weight"]
        assert names_of(dict.fromkeys(source, BIAS), dict.fromkeys(target, BIAS)) == {}

    def test_numbers_give_the_order_from_wherever_they_count(self) -> None:
        source = {f"conv{i}/weights": KERNEL for i in (10, 9, 8)}
        target = {f"features.{i}.weight": KERNEL for i in (11, 0, 9)}
        assert names_of(source, target) == {
            "conv8/weights": "features.0.weight",
            "conv9/weights": "features.9.weight",
            "conv10/weights": "features.11.weight",
        }

    def test_the_first_has_no_number(self) -> None:
        source = {f"dense{i}/kernel": BIAS for i in ("_1", "_10", "_2", "")}
        target = {f"fc.{i}.weight": BIAS for i in range(4)}
        assert list(names_of(source, target).items()) == [
            ("dense_1/kernel", "fc.1.weight"),
            ("dense_10/kernel", "fc.3.weight"),
            ("dense_2/kernel", "fc.2.weight"),
            ("dense/kernel", "fc.0.weight"),
        ]

    def test_nor_has_the_first_of_an_outer_scope(self) -> None:
        source = ["dense/x_2/kernel", "dense_1/x/kernel", "dense_1/x_1/kernel"]
        target = [f"fc.{i}.weight" for i in range(3)]
        found = names_of(dict.fromkeys(source, BIAS), dict.fromkeys(target, BIAS))
        assert found == dict(zip(source, target))

    def test_words_in_common_tell_families_apart(self) -> None:
        source = {f"net/{kind}_{i}/w": BIAS for kind in ("query", "key") for i in range(3)}
        target = {f"{kind}.{i}.weight": BIAS for kind in ("key", "query") for i in range(3)}
        assert names_of(source, target) == {
            f"net/{kind}_{i}/w": f"{kind}.{i}.weight" for kind in ("query", "key") for i in range(3)
        }

    @pytest.mark.parametrize("norm", ["BatchNorm", "batch_norm_1", "batch_normalization"])
    def test_batch_normalization_is_one_word(self, norm: str) -> None:
        source = {"x/conv/bias": BIAS, f"x/{norm}/beta": BIAS}
        target = {"bn1.bias": BIAS, "conv1.bias": BIAS}
        assert names_of(source, target) == {
            "x/conv/bias": "conv1.bias",
            f"x/{norm}/beta": "bn1.bias",
        }

    def test_a_normalization_of_another_kind_is_another_word(self) -> None:
        source = {f"x/{norm}_normalization/beta": BIAS for norm in ("batch", "layer")}
        target = {f"{norm}.bias": BIAS for norm in ("ln", "bn")}
        assert names_of(source, target) == {
            "x/batch_normalization/beta": "bn.bias",
            "x/layer_normalization/beta": "ln.bias",
        }

    @pytest.mark.parametrize(
        ("source", "target"),
        [
            (["a/kernel", "b/kernel"], ["c/kernel", "d/kernel"]),
            (["a1/kernel", "a2/kernel", "a3/kernel"], ["b1/kernel", "b2/kernel"]),
            (["a1/kernel"], ["b1/kernel", "b2/kernel"]),
            (["a/kernel"], ["a/kernel", "a/weight"]),
            (["a/conv/kernel", "b/conv/kernel"], ["conv.weight", "dense.weight"]),
            (["conv/kernel", "dense/kernel"], ["a.conv.weight", "b.conv.weight"]),
            (["a/conv/kernel", "b/conv/kernel"], ["c.conv.weight", "dense.weight"]),
            (["a/conv/kernel", "dense/kernel"], ["c.conv.weight", "d.conv.weight"]),
            (["enc1/w", "enc2/w", "dec1/w"], ["dec.0.weight", "dec.1.weight", "enc.0.weight"]),
        ],
    )
    def test_what_could_be_several_is_never_picked(
        self, source: list[str], target: list[str]
    ) -> None:
        report = match(dict.fromkeys(source, BIAS), dict.fromkeys(target, BIAS))
        assert report.names == {}
        assert report.ambiguous == (Ambiguity(BIAS, tuple(source), tuple(target)),)
        assert report.unmatched_source == report.unmatched_target == ()


class TestTransposed:
    @pytest.mark.parametrize(
        ("name", "shape", "axes"),
        [
            ("a/weights", (5, 6), (1, 0)),
            ("a/weights", (6, 6), (1, 0)),
            ("a/weights_1", (5, 6), (1, 0)),
            ("a/kernel", (3, 5, 6), (2, 1, 0)),
            ("a/kernel", (3, 4, 5, 6), (3, 2, 0, 1)),
            ("a/kernel", (2, 3, 4, 5, 6), (4, 3, 0, 1, 2)),
            ("a/depthwise_weights", (3, 4, 5, 1), (2, 3, 0, 1)),
            ("a/pointwise_weights", (1, 1, 5, 6), (3, 2, 0, 1)),
        ],
    )
    def test_kernels(self, name: str, shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
        target = {"b.weight": np.empty(shape).transpose(axes).shape}
        report = match({name: shape}, target, transposed=True)
        assert report.names == {name: "b.weight"}
        assert report.transposed == {"b.weight": axes}

    @pytest.mark.parametrize("name", ["a/embeddings", "a/gamma", "a/biases", "table"])
    def test_nothing_else(self, name: str) -> None:
        report = match({name: (5, 6)}, {name: (5, 6)}, transposed=True)
        assert report.names == {name: name}
        assert report.transposed == {}

    def test_only_when_asked_for(self) -> None:
        assert match({"a/kernel": (6, 6)}, {"a.weight": (6, 6)}).transposed == {}
        assert match({"a/kernel": (5, 6)}, {"a.weight": (6, 5)}).names == {}
        assert match({"a/kernel": (5, 6)}, {"a.weight": (5, 6)}, transposed=True).names == {}


@dataclass
class Variable:
    """A variable as in Keras."""

    name: str
    shape: tuple[int | None, ...]


class TestArguments:
    @pytest.mark.parametrize(
        "infos",
        [
            [Variable("a/kernel", (4,))],
            iter([Variable("a/kernel", (4,))]),
            {"a/kernel": np.zeros(4)},
            {"a/kernel": (4,)},
            {"a/kernel": [4]},
            select({"a/kernel": np.zeros(4)}),
        ],
    )
    def test_infos_arrays_or_shapes(self, infos) -> None:
        assert names_of(infos, {"b/kernel": (4,)}) == {"a/kernel": "b/kernel"}

    def test_a_mapping_with_info_is_not_read(self) -> None:
        with open_checkpoint(VGG.prefix) as ckpt:
            ckpt.read = None
            assert len(match(ckpt, ckpt).names) == 34

    def test_two_of_one_name(self) -> None:
        with pytest.raises(ValueError, match="two tensors are named 'kernel'"):
            match([Variable("kernel", (4,)), Variable("kernel", (5,))], {})

    def test_nothing(self) -> None:
        assert match({}, []) == MatchReport({}, {}, (), (), ())

    @pytest.mark.parametrize(
        "name", ["", "/", "//a//", "_1", ":0", "1" * 5000, "é/\udc80.w", "a\n"]
    )
    def test_any_name(self, name: str) -> None:
        assert names_of({name: BIAS}, {name: BIAS}) == {name: name}

    def test_the_report_is_frozen(self) -> None:
        with pytest.raises(FrozenInstanceError):
            match({}, {}).names = {}


@pytest.mark.exhaustive
@pytest.mark.parametrize("form", ["layer_{}/kernel", "{}/kernel", "layer_{0}x{1}/kernel"])
def test_thousands_of_one_shape(form: str) -> None:
    """Not every pair is compared, whether the names are one family or all differ."""
    words = ["".join(chr(97 + int(digit)) for digit in str(i)) for i in range(5000)]
    source = {"a/" + form.format(i, word): BIAS for i, word in enumerate(words)}
    target = {"b/" + form.format(i, word): BIAS for i, word in enumerate(words)}
    with counted_steps(limit=len(source) * len(target) // 10):
        report = match(source, target)
    assert len(report.names) in (0, 5000)
    assert len(report.names) + sum(len(item.sources) for item in report.ambiguous) == 5000
