"""The colours of the page: text has the contrast that WCAG 2 asks for at level AA."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

STYLE = files("ckptparse.reporting").joinpath("page.css").read_text(encoding="utf-8")
LIGHT, DARK = (
    dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6});", block))
    for block in re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
)
PAIRS = [
    *((text, page) for text in ("text", "quiet", "accent", "bad") for page in ("page", "card")),
    *((kind, f"{kind}-page") for kind in ("good", "bad", "unknown")),
    *(("text", f"c{i}") for i in range(8)),
]


def luminance(color: str) -> float:
    """Relative luminance, as WCAG 2 defines it."""
    digits = color[1:] if len(color) == 7 else "".join(2 * digit for digit in color[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("colors", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "page"), PAIRS)
def test_contrast(text: str, page: str, colors: dict[str, str]) -> None:
    darker, lighter = sorted([luminance(colors[text]), luminance(colors[page])])
    assert (lighter + 0.05) / (darker + 0.05) >= 4.5


def test_both_schemes_have_the_same_colours() -> None:
    assert LIGHT.keys() == DARK.keys()
    assert set(re.findall(r"var\(--([\w-]+)\)", STYLE)) <= LIGHT.keys()


def test_nothing_is_loaded() -> None:
    assert "url(" not in STYLE
    assert "@import" not in STYLE
