"""Write elements of HTML and SVG.  Text is escaped unless it is `Markup`."""

from __future__ import annotations

from html import escape

from ckptparse.display.text import count, printable

_VOID = frozenset({"meta", "input", "path", "rect"})
"""Elements that have no content."""

_LONGEST = 300
"""The maximum number of letters of a name on the page."""


class Markup(str):
    """Text that is markup, and is not escaped again.  Only `element` and `join` make it."""

    __slots__ = ()


def element(tag: str, /, *content: str, **attributes: str | float | bool | None) -> Markup:
    """Return an element.

    Args:
        tag: its name.
        content: what is in it; a `str` that is not `Markup` is escaped.
        attributes: its attributes.  An underscore at the end is removed, any other is a hyphen;
            None and False leave an attribute out, True gives it no value.

    Examples:
        >>> from ckptparse.reporting.markup import element
        >>> element("td", element("b", "a<b"), class_="name", title='"')
        '<td class="name" title="&quot;"><b>a&lt;b</b></td>'
    """
    start = [tag]
    for key, value in attributes.items():
        key = key.rstrip("_").replace("_", "-")
        if value is True:
            start.append(key)
        elif value is not None and value is not False:
            text = f"{value:g}" if isinstance(value, float) else str(value)
            start.append(f'{key}="{escape_text(text)}"')
    opening = f"<{' '.join(start)}>"
    if tag in _VOID:
        return Markup(f"{opening[:-1]}/>")
    return Markup(f"{opening}{join(*content)}</{tag}>")


def join(*content: str) -> Markup:
    """Return texts and markup after each other as markup."""
    return Markup(
        "".join(part if isinstance(part, Markup) else escape_text(part) for part in content)
    )


def escape_text(text: str) -> str:
    """Return text for HTML: markup, control characters and bytes that are not UTF-8 are escaped."""
    return escape(printable(text))


def shorten(name: str, longest: int = _LONGEST) -> str:
    """Return a name, or the start and the end of a long one.

    Args:
        name: the name.
        longest: the maximum number of its letters that are kept.
    """
    if len(name) <= longest:
        return name or "(empty name)"
    end = longest // 3
    return f"{name[: longest - end]} ... {name[-end:]} ({count(len(name), 'letter')})"
