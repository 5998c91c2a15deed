"""Make the page: a single file in HTML that loads nothing, and runs no script but its own."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Set
from importlib.resources import files

from ckptparse.analysis.statistics import Statistics
from ckptparse.display.text import count, format_nbytes, format_number, format_shape
from ckptparse.errors import UnreadableError
from ckptparse.reporting.description import last_part
from ckptparse.reporting.drawing import draw_histogram, draw_share, draw_treemap
from ckptparse.reporting.examination import MOST_HISTOGRAMS, Examination, Row
from ckptparse.reporting.markup import Markup, element, join, shorten
from ckptparse.reporting.scopes import Scope, build_scopes, walk
from ckptparse.reporting.treemap import arrange
from ckptparse.verification import Cause

MOST_ROWS = 5_000
"""The table has the largest tensors up to this number, unless another one is asked for."""

MOST_SCOPES = 1_000
"""The list of scopes has the largest ones up to this number."""

MOST_CAUSES = 50
MOST_NAMES = 10
"""Number of tensors that are named for each cause of damage."""

MOST_REMARKS = 200
"""Number of tensors that are listed as suspicious."""

MOST_OPEN = 20
"""Longer lists of tensors or scopes are folded."""

_WIDE, _NARROW = (1000.0, 460.0), (360.0, 420.0)
"""Sizes of the two treemaps, of which one is shown."""

_COLUMNS = (
    ("tensor", "text"),
    ("dtype", "text"),
    ("shape", ""),
    ("size", "number"),
    ("min", "number"),
    ("max", "number"),
    ("mean", "number"),
    ("std", "number"),
    ("zeros", "number"),
    ("NaN", "number"),
    ("inf", "number"),
    ("histogram", ""),
)
"""Titles of the columns, and how each is sorted."""

_REMARKS = ("all NaN", "NaN", "inf", "all equal", "all zero")
"""The remarks of `Statistics.remark`, the worst first."""


def render(found: Examination, version: str, most_rows: int = MOST_ROWS) -> Iterator[str]:
    """Yield the parts of the page.

    Args:
        found: what it shows.
        version: version of ckptparse.
        most_rows: the maximum number of tensors in the table.
    """
    style, script = _read_asset("page.css"), _read_asset("page.js")
    policy = "; ".join(
        (
            "default-src 'none'",
            f"style-src '{_hash(style)}'",
            f"script-src '{_hash(script)}'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    title = shorten(found.title, 100)
    yield '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
    yield element("meta", http_equiv="Content-Security-Policy", content=policy)
    yield "\n"
    yield element("meta", name="viewport", content="width=device-width, initial-scale=1")
    yield "\n"
    yield element("meta", name="color-scheme", content="light dark")
    yield f"\n{element('title', f'{title} - checkpoint report')}\n"
    yield f"<style>{style}</style>\n</head>\n<body>\n"
    yield element("header", element("h1", title), _render_verdict(found))
    yield "\n<main>\n"
    for section in (
        _render_damage(found),
        _render_summary(found),
        _render_remarks(found.rows),
        *_render_scopes(found.rows),
    ):
        yield section
        yield "\n"
    yield from _render_tensors(found.rows, most_rows)
    yield f"</main>\n{element('footer', f'Made by ckptparse {version}.')}\n"
    yield f"<script>{script}</script>\n</body>\n</html>\n"


def _read_asset(name: str) -> str:
    """Return a file of this package."""
    return files("ckptparse.reporting").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Return the hash with which the policy allows a style or a script."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def _render_section(title: str, *content: str, name: str) -> Markup:
    """Return a section with its title, or nothing if it is empty."""
    if not any(content):
        return Markup("")
    return element("section", element("h2", title), *content, id=name)


# Damage


def _render_verdict(found: Examination) -> Markup:
    """Return whether the checkpoint is intact."""
    report = found.report
    if report.damaged:
        return element("p", "Damaged: ", _count_damage(found), class_="verdict bad")
    if report.unchecked:
        text = (
            "No damage found. There is no checksum to compare for"
            f" {len(report.unchecked):,} of {count(report.num_tensors, 'tensor')}."
        )
        return element("p", text, class_="verdict unknown")
    text = f"Intact: all checksums were compared ({count(report.num_tensors, 'tensor')})."
    return element("p", text, class_="verdict good")


def _count_damage(found: Examination) -> str:
    """Return how much is damaged."""
    names = {damage.name for damage in found.report.damaged}
    is_hidden = None in names
    num_tensors = len(names - {None})
    if not found.rows and is_hidden:
        return "the checkpoint cannot be opened."
    text = f"{num_tensors:,} of {count(len(found.rows), 'tensor')}" if num_tensors else ""
    if is_hidden:
        text += ", and " if text else ""
        text += "the index, so that other tensors may be lost"
    return f"{text}."


def _render_damage(found: Examination) -> Markup:
    """Return the causes of damage."""
    causes = found.report.causes
    items = [_render_cause(cause, found.folder) for cause in causes[:MOST_CAUSES]]
    rest = _render_rest(len(causes) - MOST_CAUSES, "cause")
    if not items:
        return Markup("")
    return _render_section("Damage", element("ul", *items), rest, name="damage")


def _render_cause(cause: Cause, folder: str) -> Markup:
    """Return one cause: what is wrong, where, and which tensors are lost."""
    error = cause.error
    place = [last_part(error.file)[1]] if error.file else []
    if error.offset is not None:
        place.append(f"byte {error.offset:,}")
    rows = [("where", ", ".join(place))]
    if not isinstance(error, UnreadableError):  # its texts can be the target of a link
        rows.append(("expected", _remove_folder(error.expected or "", folder)))
        rows.append(("found", _remove_folder(error.found or "", folder)))
    if cause.names:
        names = [shorten(name) for name in cause.names[:MOST_NAMES]]
        more = len(cause.names) - MOST_NAMES
        lost = f"{count(len(cause.names), 'tensor')}, {format_nbytes(cause.nbytes)}: "
        lost += ", ".join(names) + (f", and {more:,} more" if more > 0 else "")
        rows.append(("lost", lost))
    message = _remove_folder(error.message, folder)
    pairs = _render_pairs(row for row in rows if row[1])
    return element("li", element("strong", message), pairs)


def _remove_folder(text: str, folder: str) -> str:
    """Return the text of an error without the folder, where it starts a path.

    A folder such as "a/" also occurs inside of names, which are kept.  The parameters of a URL are
    removed, too.
    """
    if not folder.strip("./"):
        return text
    start = rf"(?<![^\s'\"]){re.escape(folder)}"
    if "://" in folder:
        return re.sub(rf"{start}([^\s'\"?]*)(\?[^\s'\"]*)?", r"\1", text)
    return re.sub(start, "", text)


# Summary


def _render_summary(found: Examination) -> Markup:
    """Return what the checkpoint is, and what it has of each dtype and role."""
    total = found.total
    size = sum(row.size for row in found.rows)
    nbytes = sum(row.nbytes for row in found.rows)
    shown = f"{len(found.rows):,}"
    if found.num_all is not None and found.num_all != len(found.rows):
        shown += f" of {found.num_all:,}; the others were not selected"
    facts = [
        ("format", found.facts.format),
        ("tensors", shown),
        ("elements", f"{size:,}"),
        (
            "size",
            f"{format_nbytes(nbytes)} ({nbytes:,} bytes)" if nbytes >= 1024 else f"{nbytes} B",
        ),
        *found.facts.rows,
    ]
    if total.nan or total.inf:
        facts.append(("not finite", f"{total.nan:,} NaN, {total.inf:,} infinite"))
    dtypes = [(row.dtype or "unknown", row) for row in found.rows]
    roles = [(_ROLES.get(row.role or "", "unknown"), row) for row in found.rows]
    tables = [_render_groups("dtype", dtypes)] if dtypes else []
    if len({role for role, _ in roles}) > 1:
        tables.append(_render_groups("purpose", roles))
    return _render_section(
        "Summary", _render_pairs(facts), element("div", *tables, class_="groups"), name="summary"
    )


_ROLES = {"weight": "weights", "average": "moving averages", "state": "state of training"}


def _render_groups(title: str, members: list[tuple[str, Row]]) -> Markup:
    """Return a table of groups of tensors: number of tensors, bytes, share of all bytes."""
    numbers: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for key, row in members:
        numbers[key] += 1
        sizes[key] += row.nbytes
    whole = sum(sizes.values())
    keys = sorted(numbers, key=lambda key: (-sizes[key], key))
    head = element(
        "tr", *(element("th", text, scope="col") for text in (title, "tensors", "size", "share"))
    )
    rows = [
        element(
            "tr",
            element("th", key, scope="row"),
            element("td", f"{numbers[key]:,}"),
            element("td", format_nbytes(sizes[key])),
            element("td", draw_share(sizes[key], whole)),
        )
        for key in keys
    ]
    return element("table", element("thead", head), element("tbody", *rows), class_="small")


def _render_pairs(pairs: Iterable[tuple[str, str]]) -> Markup:
    """Return labels and texts as a list."""
    content = [join(element("dt", label), element("dd", text)) for label, text in pairs]
    return element("dl", *content)


# Suspicious tensors


def _render_remarks(rows: list[Row]) -> Markup:
    """Return the tensors with NaNs or infinite values, and those whose elements are all equal."""
    groups: dict[str, list[Row]] = {remark: [] for remark in _REMARKS}
    for row in rows:
        remark = _remark(row)
        if remark is not None:
            groups[remark].append(row)
    parts, left = [], MOST_REMARKS
    for remark, members in groups.items():
        if not members:
            continue
        members = sorted(members, key=lambda row: -row.nbytes)
        items = [_render_remark(row) for row in members[:left]]
        rest = _render_rest(len(members) - len(items), "tensor")
        left -= len(items)
        head = f"{_EXPLANATIONS[remark]}: {count(len(members), 'tensor')}"
        is_open = remark in ("all NaN", "NaN", "inf") and len(members) <= MOST_OPEN
        body = element("ul", *items) if items else ""
        parts.append(element("details", element("summary", head), body, rest, open=is_open))
    return _render_section("Suspicious values", *parts, name="suspicious")


_EXPLANATIONS = {
    "all NaN": "All elements are NaN",
    "NaN": "Some elements are NaN",
    "inf": "Some elements are infinite",
    "all equal": "All elements are equal",
    "all zero": "All elements are zero",
}


def _render_remark(row: Row) -> Markup:
    """Return one suspicious tensor."""
    found = row.statistics
    numbers = []
    if found is not None and found.nan:
        numbers.append(f"{found.nan:,} NaN")
    if found is not None and found.inf:
        numbers.append(f"{found.inf:,} infinite")
    if found is not None and not numbers:
        numbers.append(f"value {format_number(found.min)}")
    text = f" {', '.join(numbers)} of {count(row.size, 'element')}"
    return element("li", element("code", shorten(row.name)), text)


def _remark(row: Row) -> str | None:
    return None if row.statistics is None else row.statistics.remark


# Scopes


def _render_scopes(rows: list[Row]) -> Iterator[Markup]:
    """Yield the treemap, and the scopes as a tree."""
    root = build_scopes(rows)
    if not root.nbytes:
        return
    wide, narrow = arrange(root, *_WIDE), arrange(root, *_NARROW)
    hint = element(
        "p",
        "Areas are in proportion to bytes. Click a rectangle to find its tensors in the table.",
        class_="note scripted",
    )
    if any(tile.scope is not None and not tile.has_header for tile in wide):
        maps = draw_treemap(wide, *_WIDE, "wide"), draw_treemap(narrow, *_NARROW, "narrow")
        yield _render_section("Map", *maps, hint, name="map")
    if not root.scopes:
        return
    scopes = sorted(walk(root), key=lambda found: (-found[1].nbytes, found[0]))
    shown = {id(scope) for _, scope in scopes[:MOST_SCOPES]}
    yield _render_section("Scopes", _render_children(root, root.nbytes, shown), name="scopes")


def _render_children(scope: Scope, whole: int, shown: Set[int]) -> Markup:
    """Return the scopes in a scope as a list.

    Args:
        scope: the scope.
        whole: number of bytes of all tensors.
        shown: ids of the scopes that are shown; with a scope, those that it is in.
    """
    items = []
    num_hidden = 0
    for child in scope.scopes:
        if id(child) not in shown:
            num_hidden += 1
            continue
        damaged = f", {child.num_damaged:,} damaged" if child.num_damaged else ""
        line = join(
            element("code", shorten(child.label), data_find=f"{shorten(child.name)}/"),
            element(
                "span",
                f"{format_nbytes(child.nbytes)}, {count(child.num_tensors, 'tensor')}{damaged} ",
                draw_share(child.nbytes, whole),
                class_="numbers",
            ),
        )
        inner = _render_children(child, whole, shown)
        if inner:
            is_open = child.nbytes > whole / 2 and len(child.scopes) <= MOST_OPEN
            line = element("details", element("summary", line), inner, open=is_open)
        else:
            line = element("div", line, class_="leaf")
        items.append(element("li", line))
    if num_hidden:
        items.append(element("li", f"{count(num_hidden, 'smaller scope')}", class_="note leaf"))
    return element("ul", *items, class_="tree") if items else Markup("")


def _render_rest(number: int, noun: str) -> Markup:
    """Return how many are not shown; nothing if all are."""
    if number <= 0:
        return Markup("")
    return element("p", f"{count(number, noun)} more {'is' if number == 1 else 'are'} not shown.")


# Tensors


def _render_tensors(rows: list[Row], most_rows: int) -> Iterator[str]:
    """Yield the table of tensors, which has the damaged ones and the largest ones."""
    if not rows:
        return
    shown = rows
    if len(rows) > most_rows:
        order = sorted(
            range(len(rows)), key=lambda i: (rows[i].state != "damaged", -rows[i].nbytes)
        )
        shown = [rows[i] for i in sorted(order[:most_rows])]
    notes = []
    if len(shown) < len(rows):
        notes.append(
            f"The table has the {len(shown):,} largest of {len(rows):,} tensors; the sections above"
            " are about all of them. ckptparse report makes pages with more tensors (--rows), or"
            " with those of a scope (--include)."
        )
    num_histograms = sum(row.histogram is not None for row in shown)
    if num_histograms == MOST_HISTOGRAMS:
        notes.append(f"The {MOST_HISTOGRAMS:,} largest tensors have histograms.")
    yield '<section id="tensors">'
    yield element("h2", "Tensors")
    yield element("p", " ".join(notes), class_="note") if notes else ""
    yield element(
        "p",
        element("label", "Search ", element("input", type="search", id="search")),
        " ",
        element("span", count(len(shown), "tensor"), id="found", role="status"),
        class_="tools scripted",
    )
    yield '<div class="table"><table id="table">'
    yield element("caption", "The tensors with the statistics of their finite elements")
    head = (element("th", title, scope="col", data_sort=how or None) for title, how in _COLUMNS)
    yield element("thead", element("tr", *head))
    yield "\n<tbody>\n"
    for row in shown:
        yield _render_row(row)
        yield "\n"
    yield "</tbody></table></div></section>\n"


def _render_row(row: Row) -> Markup:
    """Return one tensor."""
    name: list[str] = [shorten(row.name)]
    if row.full_name is not None:
        name.append(element("small", shorten(row.full_name)))
    remark = "damaged" if row.state == "damaged" else _remark(row)
    if remark is not None:
        name.append(element("b", remark))
    found = row.statistics
    return element(
        "tr",
        element("th", *name, scope="row"),
        element("td", row.dtype),
        element("td", "" if row.shape is None else _format_shape(row.shape)),
        element("td", format_nbytes(row.nbytes), data_n=row.nbytes),
        *(element("td", text) for text in _format_numbers(found)),
        element("td", _draw_histogram(row)),
    )


def _draw_histogram(row: Row) -> str:
    """Return the histogram, unless all elements are in one bin."""
    has_shape = row.histogram is not None and len(row.histogram.counts) > 1
    return draw_histogram(row.histogram) if row.histogram is not None and has_shape else ""


def _format_numbers(found: Statistics | None) -> tuple[str, ...]:
    """Return the texts of min, max, mean, std, zeros, NaN, inf."""
    if found is None:
        return ("",) * 7
    numbers = map(format_number, (found.min, found.max, found.mean, found.std))
    counts = (f"{number:,}" if number else "" for number in (found.zeros, found.nan, found.inf))
    return *numbers, *counts


def _format_shape(shape: tuple[int, ...]) -> str:
    """Return a shape, cut if it has very many dimensions."""
    return shorten(format_shape(shape), 100)
