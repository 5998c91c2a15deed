"""The cases of the fixtures, and the versions of TensorFlow and others that make each of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from environments import ENVIRONMENTS

CASES = Path(__file__).resolve().parent / "cases"

ALL = tuple(version for version in ENVIRONMENTS if version[0].isdigit())
GRAPH_MODE = ("0.12.1", "1.15.5")
KERAS_2 = ("2.4.4", "2.13.1")
EAGER = ("2.4.4", "2.13.1", "2.21.0")
ERAS = ("0.12.1", "1.15.5", "2.21.0")
NEWEST = ("2.21.0",)
LAST_AND_NEWEST = ("1.15.5", "2.21.0")
KERAS_FILES = ("keras-2.2.4", "2.13.1", "2.21.0")
NUMPY = ("numpy-1.16.6", "numpy-2.5.1")
SAFETENSORS = ("safetensors-0.8.0",)

# Topic (a file in cases/) -> case (a function in that file, and a folder of fixtures) -> versions.
TOPICS: dict[str, dict[str, tuple[str, ...]]] = {
    "dtypes": {"dtypes": ALL},
    "strings": {"strings": ALL},
    "savers": {
        "vgg_16": GRAPH_MODE,
        "partitioned_variables": GRAPH_MODE,
        "sharded_saver": GRAPH_MODE,
    },
    "keras": {"keras_save_weights": KERAS_2, "keras_checkpoint": NEWEST},
    "keras_files": {
        "keras_h5": KERAS_FILES,
        "keras_dtypes": NEWEST,
        "keras_layouts": NEWEST,
        "keras_long_names": ("keras-2.2.4",),
    },
    "slices": {
        "slices": NEWEST,
        "slices_dtypes": NEWEST,
        "slices_name_not_utf8": NEWEST,
        "slices_overlapping": NEWEST,
        "slices_missing": NEWEST,
    },
    "shards": {"max_shard_size": NEWEST, "sharded_variable": NEWEST},
    "names": {"names": NEWEST, "names_not_utf8": NEWEST, "many": NEWEST},
    "layouts": {"zero_elements_only": NEWEST, "misaligned": NEWEST, "single_scalar": NEWEST},
    "variants": {"variants": NEWEST, "iterator_state": NEWEST},
    "objects": {
        "nested_objects": EAGER,
        "root_module": NEWEST,
        "root_variable": NEWEST,
        "keras_adam": EAGER,
        "keras_adam_legacy": ("2.13.1",),
        "backbone_head": EAGER,
        "keras_subclassed": ("2.13.1", "2.21.0"),
        "tables_and_state": NEWEST,
    },
    "graphs": {"training_graph": ERAS},
    "networks": {
        "bert": ("1.15.5",),
        "slim_vgg_16": ("1.15.5",),
        "layers": ("2.13.1", "2.21.0"),
    },
    "casts": {"casts": NEWEST},
    "optimizers": {
        "optimizers_saver": ("1.15.5",),
        "optimizers_imitated": ("1.15.5",),
        "keras_optimizers_saver": ("2.4.4",),
        "keras_optimizers": ("2.4.4", "2.13.1", "2.21.0"),
    },
    "saved_models": {
        "saved_model_simple": ("1.15.5",),
        "saved_model_partitioned": ("1.15.5",),
        "saved_model_no_variables": ("1.15.5",),
        "saved_model_text": ("1.15.5",),
        "saved_model_two_tags": ("1.15.5",),
        "hub_module": ("1.15.5",),
        "saved_module": ("2.4.4", "2.21.0"),
        "saved_module_no_variables": NEWEST,
        "keras_saved_model": ("2.13.1",),
        "keras_export": NEWEST,
    },
    "frozen": {
        "frozen_conv_net": ("1.15.5",),
        "frozen_quantized": ("1.15.5",),
        "saved_model_frozen": ("1.15.5",),
        "frozen_functions": NEWEST,
        "saved_model_constants": NEWEST,
        "constants_dtypes": NEWEST,
    },
    "assignment": {"init_from_checkpoint": ("1.15.5",), "variables_to_restore": ("1.15.5",)},
    "v1": {
        "v1_dtypes": ERAS,
        "v1_strings": ERAS,
        "v1_vgg_16": GRAPH_MODE,
        "v1_sharded": ERAS,
        "v1_missing_shard": NEWEST,
        "v1_slices": ("0.12.1", "2.21.0"),
        "v1_slices_dtypes": NEWEST,
        "v1_hole": NEWEST,
        "v1_overlapping": NEWEST,
        "v1_repeated": NEWEST,
        "v1_many": ("1.15.5",),
        "v1_and_v2": ("0.12.1", "2.21.0"),
        "v1_names_not_utf8": NEWEST,
    },
    "crafted_v1": {
        "v1_no_versions": NEWEST,
        "v1_newer_version": NEWEST,
        "v1_snappy": NEWEST,
        "v1_snappy_index_block": NEWEST,
        "v1_blocks": NEWEST,
        "v1_restart_interval_1": NEWEST,
        "v1_unknown_fields": NEWEST,
        "v1_unpacked": NEWEST,
        "v1_wrong_counts": NEWEST,
    },
    "states": {
        "managed": ("2.4.4", "2.21.0"),
        "saver_directory": LAST_AND_NEWEST,
        "saver_directory_moved": LAST_AND_NEWEST,
        "saver_relative": ("1.15.5",),
        "saver_unicode": LAST_AND_NEWEST,
        "latest_filename": ("1.15.5",),
        "lost_latest": LAST_AND_NEWEST,
        "v1_state": LAST_AND_NEWEST,
        "state_texts": LAST_AND_NEWEST,
    },
    "state_writing": {"written_states": LAST_AND_NEWEST},
    "train": {
        "train_listing": NEWEST,
        "train_tensors": NEWEST,
        "train_paths": NEWEST,
        "train_damaged": LAST_AND_NEWEST,
        "train_iterator": LAST_AND_NEWEST,
    },
    "crafted": {
        "big_endian": NEWEST,
        "snappy_index": NEWEST,
        "snappy_index_block": NEWEST,
        "padded": NEWEST,
        "restart_interval_1": NEWEST,
        "restart_interval_1000": NEWEST,
        "header_only": NEWEST,
        "newer_version": NEWEST,
        "newer_version_bad_consumers": NEWEST,
        "unknown_fields": NEWEST,
    },
    "npz": {
        "npz_stored": NUMPY,
        "npz_compressed": NUMPY,
        "npz_names": NUMPY,
        "npz_empty": NUMPY,
    },
    "safetensors": {
        "safetensors_dtypes": SAFETENSORS,
        "safetensors_names": SAFETENSORS,
        "safetensors_header": SAFETENSORS,
        "safetensors_empty": SAFETENSORS,
    },
    "t5": {"t5": ("mesh-tensorflow-0.1.17",)},
    "archives": {"archives": NEWEST},
}


# These topics read fixtures of other topics, so their cases are made last.
READING = ("train", "archives")


@dataclass(frozen=True)
class Case:
    """One case with one version of a library."""

    version: str
    topic: str
    name: str

    @property
    def folder(self) -> str:
        """The folder of its files, below `fixtures/`."""
        return f"{ENVIRONMENTS[self.version].folder}/{self.name}"

    @property
    def generator(self) -> Path:
        """The file with its function."""
        return CASES / f"{self.topic}.py"


def cases() -> Iterator[Case]:
    """Yield every case, the newest TensorFlow version first."""
    for version in reversed(ENVIRONMENTS):
        for topic, names in TOPICS.items():
            for name, versions in names.items():
                if version in versions:
                    yield Case(version, topic, name)
