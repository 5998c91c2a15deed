"""The rows, one file for each kind of work.

To add a row, write a file with a function that returns a `Row`, and call it in `all_rows`.
`growth` uses some of these functions with several sizes.
"""

from __future__ import annotations

from benchmarks.data import (
    Equal,
    Layers,
    Partitioned,
    SmallTensors,
    V1Floats,
    V1Integers,
    Vocabulary,
)
from benchmarks.row import Row
from benchmarks.rows.containers import containers
from benchmarks.rows.converting import convert_memory, convert_time
from benchmarks.rows.diff import diff_memory, diff_time
from benchmarks.rows.first_tensor import first_tensor
from benchmarks.rows.listing import listing
from benchmarks.rows.lookup import lookup
from benchmarks.rows.memory import memory
from benchmarks.rows.read_all import CHECKSUMS, MEMMAP, RIVALS, read_all
from benchmarks.rows.small_gets import small_gets
from benchmarks.rows.stats import stats_time
from benchmarks.rows.train import train_loop, train_maps, train_variables
from benchmarks.rows.verify import verify_memory, verify_time
from benchmarks.rows.writing import average_time, cast_memory, save, save_memory


def all_rows(scale: float) -> dict[str, Row]:
    """Return all rows by name.

    `scale` multiplies the numbers of tensors and bytes.  The names always have the full size.
    """

    def scaled(size: int) -> int:
        return max(round(size * scale), 10)

    plain = (*CHECKSUMS, *MEMMAP)
    rows = [
        first_tensor("first_tensor", scaled(2_000_000_000)),
        lookup("lookup_1000", scaled(1_000)),
        lookup("lookup_1000000", scaled(1_000_000)),
        read_all("read_2gb", Layers(scaled(2_000_000_000)), RIVALS, plain),
        memory("memory_2gb", scaled(2_000_000_000)),
        verify_memory("verify_10gb", scaled(10_000_000_000)),
        verify_time("verify_10gb_time", scaled(10_000_000_000)),
        listing("list_100000", scaled(100_000)),
        listing("list_1000000", scaled(1_000_000)),
        train_maps("train_maps_1000", scaled(1_000)),
        train_maps("train_maps_100000", scaled(100_000)),
        train_maps("train_maps_1000000", scaled(1_000_000)),
        train_variables("train_variables_1000", scaled(1_000)),
        train_variables("train_variables_100000", scaled(100_000)),
        train_loop("train_loop_1000", scaled(1_000)),
        train_loop("train_loop_100000", scaled(100_000)),
        small_gets("small_gets", scaled(1_000)),
        small_gets("small_gets_100000", scaled(100_000)),
        read_all("partitioned", Partitioned(scaled(400_000_000)), floors=plain),
        read_all("strings", Vocabulary(scaled(1_000_000)), floors=CHECKSUMS),
        read_all("v1_floats", V1Floats(scaled(400_000_000)), floors=plain),
        read_all("v1_integers", V1Integers(scaled(96_000_000)), floors=CHECKSUMS),
        save("save_2gb", Equal(scaled(2_000_000_000))),
        save("save_2gb_synced", Equal(scaled(2_000_000_000)), sync=True),
        save("save_100000", SmallTensors(scaled(100_000))),
        save_memory("save_10gb_memory", scaled(10_000_000_000)),
        cast_memory("cast_2gb_memory", Equal(scaled(2_000_000_000))),
        average_time("average_5", Equal(scaled(400_000_000))),
        *containers(scaled),
        convert_time("convert_2gb", Equal(scaled(2_000_000_000))),
        convert_memory("convert_10gb_memory", scaled(10_000_000_000)),
        diff_time("diff_2gb", Equal(scaled(2_000_000_000)), changed=True),
        diff_time("diff_2gb_equal", Equal(scaled(2_000_000_000)), changed=False),
        diff_memory("diff_2gb_memory", Equal(scaled(2_000_000_000))),
        stats_time("stats_2gb", Equal(scaled(2_000_000_000))),
    ]
    return {row.name: row for row in rows}
