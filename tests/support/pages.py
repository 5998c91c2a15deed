"""Pages in HTML, parsed strictly."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "input", "path", "rect"}


@dataclass
class Node:
    """An element."""

    tag: str
    attributes: dict[str, str | None]
    children: list[Node | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text in it."""
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    def all(self, tag: str = "", **attributes: str) -> list[Node]:
        """The elements in it of a tag, with these attributes."""
        found = []
        for child in self.children:
            if isinstance(child, str):
                continue
            has_all = all(
                child.attributes.get(key.rstrip("_")) == value for key, value in attributes.items()
            )
            if tag in ("", child.tag) and has_all:
                found.append(child)
            found += child.all(tag, **attributes)
        return found

    def one(self, tag: str = "", **attributes: str) -> Node:
        """The only such element."""
        (node,) = self.all(tag, **attributes)
        return node


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Node("", {})
        self.path = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), (tag, attrs)
        node = Node(tag, dict(attrs))
        self.path[-1].children.append(node)
        if tag not in VOID:
            self.path.append(node)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.path.pop().tag == tag

    def handle_data(self, data: str) -> None:
        self.path[-1].children.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)


def parse_page(text: str) -> Node:
    """The root of a page, every element of which must be closed."""
    parser = _Parser()
    parser.feed(text)
    parser.close()
    assert parser.path == [parser.root]
    return parser.root
