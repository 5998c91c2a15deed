"""The options that say where and how tensors are saved; and the saving, with its report."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from ckptparse.commands.arguments import add_json
from ckptparse.commands.choosing import add_choice, as_usage_errors, choose_from
from ckptparse.commands.output import align, print_json
from ckptparse.commands.progress import ProgressBar
from ckptparse.commands.usage import UsageError
from ckptparse.display.text import count, format_nbytes, format_shape, parse_nbytes, printable
from ckptparse.tensors.info import TensorInfo
from ckptparse.weights.choice import Choice


def add_writing(parser: argparse.ArgumentParser) -> None:
    """Add the options, those of `add_choice` among them."""
    add_choice(parser)
    group = parser.add_argument_group("how they are saved")
    group.add_argument(
        "--to",
        metavar="FORMAT",
        choices=["checkpoint", "safetensors", "npz", "npy", "pt", "h5"],
        help="format: checkpoint, safetensors, npz, npy, pt or h5 (default: that of the suffix"
        " .safetensors, .npz, .npy, .pt or .h5, or else checkpoint)",
    )
    group.add_argument(
        "--layout",
        choices=["torch"],
        help="torch: give kernels the order of axes of PyTorch, and list those that change",
    )
    group.add_argument(
        "--shard-size",
        metavar="SIZE",
        type=_parse_size,
        help="several files of at most this size: 2GB, 500MiB",
    )
    group.add_argument("--overwrite", action="store_true", help="replace what is there")
    group.add_argument(
        "--dry-run", action="store_true", help="print what would be saved, and save nothing"
    )
    add_json(parser)


def write(
    arguments: argparse.Namespace,
    tensors: Mapping[str, Any],
    destination: str,
) -> int:
    """Save the chosen tensors, or print the plan; returns the exit status.

    Args:
        arguments: the arguments.
        tensors: the tensors to choose from.
        destination: path to save to.

    Raises:
        UsageError: an option is wrong.
        CheckpointError: reading or saving failed.
    """
    from ckptparse.converting import describe_source, read_contents, require_destination, save
    from ckptparse.exports.formats import find_format, has_metadata, require_options
    from ckptparse.exports.safetensors import plan

    if not destination:
        raise UsageError("the path to save to is empty")
    with as_usage_errors():
        format = find_format(destination, arguments.to)
    choice = choose_from(arguments, tensors, arguments.layout, object_graph=format == "checkpoint")
    infos = choice.tensors.infos()
    if arguments.dry_run:
        note = format  # the errors that saving would raise are raised here, too
        if format != "checkpoint":
            with as_usage_errors():
                require_options(format, arguments.shard_size, None)
            contents = read_contents(destination, choice.tensors, format)
            if format == "safetensors":
                num_files = len(plan(contents, destination, arguments.shard_size))
                note += f", {count(num_files, 'file')}"
        require_destination(destination, choice.tensors, format, overwrite=arguments.overwrite)
        _print_plan(arguments, choice, infos, destination, format, note)
        return 0
    metadata = None
    if has_metadata(format):
        metadata = describe_source(tensors, format, arguments.layout)
    with ProgressBar() as bar, as_usage_errors():
        save(
            destination,
            choice.tensors,
            format=format,
            shard_nbytes=arguments.shard_size,
            metadata=metadata,
            overwrite=arguments.overwrite,
            progress=bar.progress,
        )
    if arguments.json:
        _print_json(choice, infos, destination, format, saved=True)
        return 0
    for line in _change_lines(choice, infos):
        print(line)
    _print_unchanged(arguments, choice)
    print(f"{_total(infos)}: saved in {printable(destination)}")
    return 0


def _print_plan(
    arguments: argparse.Namespace,
    choice: Choice,
    infos: list[TensorInfo],
    destination: str,
    format: str,
    note: str,
) -> None:
    """Print what would be saved."""
    if arguments.json:
        _print_json(choice, infos, destination, format, saved=False)
        return

    def to_cells(info: TensorInfo) -> tuple[str, ...]:
        return info.tensorflow_dtype, format_shape(info.shape), format_nbytes(info.nbytes)

    def to_text(info: TensorInfo) -> str:
        old = choice.sources[info.name]
        text = printable(old)
        if info.name != old:
            text += f" -> {printable(info.name)}"
        if info.name in choice.changes:
            text += f"  (axes {','.join(map(str, choice.changes[info.name].axes))})"
        return text

    for line in align(infos, to_cells, to_text, right=[2]):
        print(line)
    _print_unchanged(arguments, choice)
    print(f"{_total(infos)}: would be saved in {printable(destination)} ({note})")


def _print_unchanged(arguments: argparse.Namespace, choice: Choice) -> None:
    """Print that a layout changed nothing."""
    if arguments.layout is not None and not choice.changes:
        print(f"--layout {arguments.layout}: no axes changed, no tensor has the name of a kernel")


def _change_lines(choice: Choice, infos: list[TensorInfo]) -> list[str]:
    """Return a line for each tensor whose axes changed."""
    rows = [(info, choice.changes[info.name]) for info in infos if info.name in choice.changes]
    return list(
        align(
            rows,
            lambda row: (
                "axes " + ",".join(map(str, row[1].axes)),
                format_shape(row[1].shape),
            ),
            lambda row: printable(row[0].name),
        )
    )


def _print_json(
    choice: Choice, infos: list[TensorInfo], destination: str, format: str, *, saved: bool
) -> None:
    """Print what was saved, or would be, as JSON."""
    print_json(
        {
            "destination": destination,
            "format": format,
            "saved": saved,
            "num_tensors": len(infos),
            "size": sum(info.size for info in infos),
            "nbytes": sum(info.nbytes for info in infos),
            "tensors": (
                {
                    "source": choice.sources[info.name],
                    "name": info.name,
                    "dtype": info.tensorflow_dtype,
                    "shape": info.shape,
                    "nbytes": info.nbytes,
                    "axes": choice.changes[info.name].axes if info.name in choice.changes else None,
                }
                for info in infos
            ),
        }
    )


def _total(infos: list[TensorInfo]) -> str:
    """Return the number and size of tensors as text."""
    size, nbytes = sum(info.size for info in infos), sum(info.nbytes for info in infos)
    return f"{count(len(infos), 'tensor')}, {count(size, 'element')}, {format_nbytes(nbytes)}"


def _parse_size(text: str) -> int:
    """Return the number of bytes of a size, for argparse."""
    try:
        return parse_nbytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
