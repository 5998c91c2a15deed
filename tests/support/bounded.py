"""Do everything with one input in a separate process, within limits, and count the work.

``python -m support.bounded PATH GROUP`` prints JSON, for each action: how it ended, "done" or the
name of an error of the tree; its steps (`counted_steps`); how many bytes of fresh memory it
touched, so that each copy of something large counts; and by how many bytes the address space grew.
None of these depends on how fast or how busy the machine is.

The address space is limited by the system: memory beyond the limit is a MemoryError, which is no
error of the tree.  An action that takes more steps than the limit is ended.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from itertools import islice
from types import ModuleType

from google.protobuf import text_format  # noqa: F401  # imports that are otherwise lazy are made before the limits are set

from ckptparse import Checkpoint, CheckpointError, open_checkpoint
from ckptparse.commands import graph, ls, tree
from ckptparse.messages.pool import load
from ckptparse.metagraph import find_graph_file, read_graph_file
from ckptparse.objectgraph import ObjectGraph
from ckptparse.sources import LocalFiles
from support.counting import counted_steps

LIMIT_NBYTES = (100 if sys.version_info >= (3, 11) else 150) * 1_000_000
"""Objects of Python 3.10 are larger by half."""

LIMIT_STEPS = 60_000_000
"""For each action.  The worst takes half of it; what is quadratic in the tensors, slices, nodes or
tokens of a megabyte takes hundreds of millions."""

PROTOS = (
    "tensor_bundle.proto",
    "saved_slices.proto",
    "trackable_object_graph.proto",
    "meta_graph.proto",
    "checkpoint_state.proto",
)


def of_checkpoint(use: Callable[[Checkpoint], object], **options: bool) -> Callable[[str], None]:
    def action(path: str) -> None:
        with open_checkpoint(path, **options) as ckpt:
            use(ckpt)

    return action


def of_graph(use: Callable[[ObjectGraph], object]) -> Callable[[str], None]:
    return of_checkpoint(lambda ckpt: use(ckpt.object_graph))


def command(module: ModuleType, *arguments: str) -> Callable[[str], None]:
    def action(path: str) -> None:
        parser = argparse.ArgumentParser()
        module.add_arguments(parser)
        module.run(parser.parse_args([*arguments, "--", path]))

    return action


def read_all(ckpt: Checkpoint) -> None:
    for _ in ckpt.values():
        pass


def read_some(ckpt: Checkpoint) -> None:
    """Read tensors one by one, as a program does whose own loop nothing bounds."""
    raise_last(lambda name: ckpt[name], islice(ckpt, 100))


def look_up_often(ckpt: Checkpoint) -> None:
    for _ in range(100):
        ckpt.get("layer/weights")


def verify_all(ckpt: Checkpoint) -> None:
    for damage in ckpt.verify().damaged[:1]:
        raise damage.error


def raise_last(call: Callable[[str], object], names: Iterable[str]) -> None:
    last = None
    for name in names:
        try:
            call(name)
        except CheckpointError as error:
            last = error
    if last is not None:
        raise last


NODE_PROPERTIES = (
    "children",
    "attributes",
    "variable",
    "slot_variables",
    "slots",
    "registered_saver",
    "has_checkpoint_values",
)


def use_nodes(objects: ObjectGraph) -> None:
    for node in islice(objects.nodes(), 10_000):
        for name in NODE_PROPERTIES:
            getattr(node, name)


def use_attributes(objects: ObjectGraph) -> None:
    for node in islice(objects.nodes(), 10_000):
        [attribute.keys for attribute in node.attributes]


def use_last_node(objects: ObjectGraph) -> None:
    node = objects.node(objects.num_nodes - 1)
    str(node.path), repr(node), node.slots


def use_graph_file(path: str) -> None:
    files = LocalFiles(mmap=True)
    found = find_graph_file(files, path)
    assert found is not None
    read_graph_file(files, found).variables_to_restore()


ACTIONS: dict[str, dict[str, Callable[[str], object]]] = {
    "tensors": {
        "names": of_checkpoint(list),
        "infos": of_checkpoint(Checkpoint.infos),
        "read all": of_checkpoint(read_all),
        "read some": of_checkpoint(read_some),
        "verify": of_checkpoint(verify_all),
        "miss": of_checkpoint(lambda ckpt: ckpt["layer/weights"]),
        "look up": of_checkpoint(look_up_often),
        "ls": command(ls),
        "ls --json": command(ls, "--json"),
        "tree": command(tree),
    },
    "objects": {
        "list": of_graph(list),
        "nodes": of_graph(use_nodes),
        "attributes": of_graph(use_attributes),
        "last node": of_graph(use_last_node),
        "full names": of_graph(lambda objects: objects.full_names),
        "weights": of_graph(lambda objects: list(objects.model_weights())),
        "subtree": of_graph(lambda objects: list(objects.subtree(""))),
        "miss": of_graph(lambda objects: objects["model/layer/kernel"]),
        "tree": command(tree),
        "tree --json": command(tree, "--json"),
    },
    "graph": {
        "read": use_graph_file,
        "graph": command(graph),
        "graph --json": command(graph, "--json"),
    },
    "graph as text": {"read": use_graph_file},
    "state": {"open": of_checkpoint(list)},
}


def address_space(field: str) -> int:
    """VmSize or VmPeak, in bytes."""
    with open("/proc/self/status") as status:
        (line,) = (line for line in status if line.startswith(field))
    return int(line.split()[1]) << 10


def touched() -> int:
    """Bytes of fresh memory that this process has touched so far.

    A buffer that is freed and allocated again counts again, because `MALLOC_MMAP_THRESHOLD_` in the
    environment makes the C library map each large one anew.
    """
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt * resource.getpagesize()


@dataclass
class Outcome:
    """How an action ended, and what it cost."""

    end: str
    steps: int = 0
    touched_nbytes: int = 0
    peak_nbytes: int = 0


def act(action: Callable[[str], object], path: str) -> Outcome:
    """Run an action in a fork, so that what another action left in the heap does not count."""
    receiver, sender = os.pipe()
    if not os.fork():
        outcome = Outcome("done")
        before, base = touched(), address_space("VmSize")
        try:
            with counted_steps(LIMIT_STEPS) as steps:
                action(path)
        except CheckpointError as error:
            outcome.end = type(error).__name__
        except BaseException as error:  # the parent has to hear of it
            outcome.end = f"{type(error).__name__}: {error}"
        outcome.steps = steps()
        outcome.touched_nbytes = touched() - before
        outcome.peak_nbytes = address_space("VmPeak") - base
        os.write(sender, json.dumps(asdict(outcome)).encode())
        os._exit(0)
    os.close(sender)
    os.wait()
    with open(receiver) as answer:
        said = answer.read()
    return Outcome(**json.loads(said)) if said else Outcome("killed")


def main() -> None:
    path, group = sys.argv[1:]
    list(map(load, PROTOS))
    limit = address_space("VmSize") + LIMIT_NBYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        outcomes = {name: asdict(act(action, path)) for name, action in ACTIONS[group].items()}
    json.dump(outcomes, sys.stdout)


if __name__ == "__main__":
    main()
