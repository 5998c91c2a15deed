"""Render a checkpoint as HTML for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ckptparse.display.text import count, format_nbytes, format_shape, printable
from ckptparse.tensors.info import TensorInfo

MOST_ROWS = 20
"""The maximum number of tensors in a table."""


def render_html(title: str, infos: Sequence[TensorInfo], num_tensors: int) -> str:
    """Return a table of tensors as HTML.

    Args:
        title: title of the table, such as the checkpoint's path; it is escaped.
        infos: metadata of the first tensors; at most `MOST_ROWS` are shown.
        num_tensors: number of all tensors.
    """
    rows = "".join(_render_row(info) for info in infos[:MOST_ROWS])
    more = num_tensors - len(infos[:MOST_ROWS])
    rest = f"<p>and {count(more, 'tensor')} more</p>" if more else ""
    return (
        f"<p><b>{escape(printable(title))}</b>, {count(num_tensors, 'tensor')}</p>"
        "<table><tr><th>name</th><th>dtype</th><th>shape</th><th>size</th></tr>"
        f"{rows}</table>{rest}"
    )


def _render_row(info: TensorInfo) -> str:
    """Return the row of one tensor."""
    cells = (
        printable(info.name),
        info.tensorflow_dtype,
        format_shape(info.shape),
        format_nbytes(info.nbytes),
    )
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
