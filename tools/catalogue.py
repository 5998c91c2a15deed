"""Which case is made with which TensorFlow versions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from environments import ENVIRONMENTS

CASES = Path(__file__).resolve().parent / "cases"

ALL = tuple(ENVIRONMENTS)
GRAPH_MODE = ("0.12.1", "1.15.5")
KERAS_2 = ("2.4.4", "2.13.1")
EAGER = ("2.4.4", "2.13.1", "2.21.0")
NEWEST = ("2.21.0",)

# Topic (a file below cases/) -> case (a function in it, and a folder of fixtures) -> versions.
TOPICS: dict[str, dict[str, tuple[str, ...]]] = {
    "dtypes": {"dtypes": ALL},
    "strings": {"strings": ALL},
    "savers": {
        "vgg_16": GRAPH_MODE,
        "partitioned_variables": GRAPH_MODE,
        "sharded_saver": GRAPH_MODE,
    },
    "keras": {"keras_save_weights": KERAS_2, "keras_checkpoint": NEWEST},
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
        "tables_and_state": NEWEST,
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
}


@dataclass(frozen=True)
class Case:
    """One case made with one TensorFlow version."""

    version: str
    topic: str
    name: str

    @property
    def folder(self) -> str:
        """Where its files are, below `fixtures/`."""
        return f"tf-{self.version}/{self.name}"

    @property
    def generator(self) -> Path:
        return CASES / f"{self.topic}.py"


def cases() -> Iterator[Case]:
    """Every case, by version, the newest first."""
    for version in reversed(ALL):
        for topic, names in TOPICS.items():
            for name, versions in names.items():
                if version in versions:
                    yield Case(version, topic, name)
