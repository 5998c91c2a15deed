"""Text messages in one long line, which protobuf parses in quadratic time."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import text_format

from ckptparse import CheckpointNotFoundError, CorruptCheckpointError
from ckptparse.messages.pool import load
from ckptparse.messages.text_format import break_lines, require_sparse
from ckptparse.metagraph import parse_saved_model
from support.repository import FIXTURES

TEXTS = {
    "fields": "meta_graphs { meta_info_def { tags: \"a b\" tags: 'c,d' } } ",
    "no spaces": 'meta_graphs{meta_info_def{tags:"a"tags:"b{}",tags:"c";}}',
    "lists": 'meta_graphs: [{meta_info_def: {tags: ["a", "b"]}}, {}] ',
    "angles": "meta_graphs < meta_info_def < tags: 'x' > > ",
    "joined strings": 'meta_graphs { meta_info_def { tags: "a" "b" \'c\' } } ',
    "escapes": r'meta_graphs { meta_info_def { tags: "\"{\\" tags: "\'" tags: "\303\251" } } ',
}


def parsed(text: str) -> object:
    message = load("meta_graph.proto")["SavedModel"]()
    return text_format.Parse(text, message).SerializeToString(deterministic=True)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that protobuf is given to parse."""
    texts: list[str] = []
    parse = text_format.Parse

    def note(text: str, *arguments: object, **options: object) -> object:
        texts.append(text)
        return parse(text, *arguments, **options)

    monkeypatch.setattr(text_format, "Parse", note)
    return texts


@pytest.mark.parametrize("text", TEXTS.values(), ids=list(TEXTS))
def test_the_message_stays_the_same(text: str) -> None:
    text *= 200
    broken = break_lines(text)
    assert max(map(len, broken.split("\n"))) < 100
    assert parsed(broken) == parsed(text)


def test_comments_stay_comments() -> None:
    text = "# " + "a, b { " * 1_000 + '\nmeta_graphs { meta_info_def { tags: "a" } } # c {\n'
    assert parsed(break_lines(text)) == parsed(text)


@pytest.mark.parametrize("text", ["", "a: 1\n" * 5_000, "\n" * 5_000], ids=["none", "a", "empty"])
def test_short_lines_are_left_alone(text: str) -> None:
    assert break_lines(text) == text


@pytest.mark.parametrize(
    "text",
    ['tags: "' + '\\"' * 5_000, "'" * 5_001, "'\\\"" * 30_000, "{" * 5_000],
    ids=["an open string", "quotes", "escaped quotes", "braces"],
)
def test_what_is_no_message_is_none_afterwards(text: str) -> None:
    with pytest.raises((text_format.ParseError, RecursionError)):
        parsed(break_lines(text))


def test_a_graph_in_one_line() -> None:
    text = TEXTS["fields"] * 500
    graph = parse_saved_model(text.encode(), text=True)
    assert graph.tags == ("a b", "c,d")
    assert len(graph.all_tags) == 500


@pytest.mark.parametrize(
    "text",
    [
        "a:1         " * 10_000,
        "a:[" + "1,      " * 15_000 + "1]",
        "a:'b'       " * 10_000,
    ],
    ids=["fields", "a list", "strings"],
)
def test_protobuf_gets_no_long_line(text: str, given: list[str]) -> None:
    """Its time is the number of tokens in a line times the length of the line."""
    with pytest.raises((CheckpointNotFoundError, CorruptCheckpointError)):
        parse_saved_model(text.encode(), text=True)
    assert len(given) == 1
    assert len(given[0]) >= len(text) > 80_000
    assert max(map(len, given[0].split("\n"))) <= 4096


def test_text_that_is_denser_than_any_writer_makes_it() -> None:
    def parse(text: str) -> None:
        parse_saved_model(text.encode(), text=True)

    for text in ("a:1 " * 250_000, "a:[" + "1," * 450_000 + "1]", "#\n" * 480_000):
        with pytest.raises(CorruptCheckpointError, match=r"at most \d+ tokens in \d+ letters"):
            parse(text)
    with pytest.raises(CheckpointNotFoundError):  # parsed, and no graph
        parse("a:1 " * 3_000)


@pytest.mark.parametrize(
    "path",
    sorted(FIXTURES.glob("*/*/saved_model/saved_model.pb")),
    ids=lambda path: "/".join(path.parts[-4:-2]),
)
def test_what_writers_make_is_far_less_dense(path: Path) -> None:
    message = load("meta_graph.proto")["SavedModel"].FromString(path.read_bytes())
    text = text_format.MessageToString(message, as_one_line=True)
    repeated = text * (1 + 1_000_000 // len(text))
    require_sparse(repeated)


ESCAPED = [r"\303\251", r"\x41", r"\x4", r"\n", r"\1", r"\12", r"\u00e9", r"\U0001f600", r"\""]


@pytest.mark.parametrize("escaped", ESCAPED)
@pytest.mark.parametrize("before", range(12))
def test_long_strings_are_cut_between_escapes(escaped: str, before: int) -> None:
    strings = ["x" * before + f"{escaped}0f é" * 1200, f"{escaped}" * 3000 + "b"]
    text = "".join(f'tags: "{string}"\n' for string in strings)
    text = "meta_graphs { meta_info_def {\n" + text + "} }"
    broken = break_lines(text)
    assert max(map(len, broken.split("\n"))) < 11_000
    assert parsed(broken) == parsed(text)


@pytest.mark.parametrize("ending", ["", "\\", '\\"', '" "'])
def test_long_strings_that_are_not_closed_are_not_cut(ending: str) -> None:
    text = 'meta_graphs { meta_info_def { tags: "' + r"\303" * 2000 + ending
    with pytest.raises(text_format.ParseError):
        parsed(text)
    with pytest.raises(text_format.ParseError):
        parsed(break_lines(text))
