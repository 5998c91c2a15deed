"""Long runs of backslashes in text messages, which protobuf decodes in quadratic time."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
from google.protobuf import text_encoding
from google.protobuf.text_encoding import CUnescape

from ckptparse import CorruptCheckpointError
from ckptparse.formats.frozen_graph.text import text_to_binary
from ckptparse.messages.text_format import spread_backslashes
from ckptparse.metagraph import parse_saved_model
from ckptparse.paths.state_file import parse_state

RUN = "\\" * 64

NUM = 1 << 17


@pytest.mark.parametrize(
    "end",
    ["", "n", "x5", "x41", "\\x5", "\\x41", "u0041", "\\u0041", "1", "\\101", "\\n", '\\"', "\\\\"],
)
@pytest.mark.parametrize("start", ["", "a", "\\n", "\\x4", "\\101", "\\1", '\\"'])
def test_the_string_stays_the_same(start: str, end: str) -> None:
    text = start + RUN + end
    spread = spread_backslashes(text)
    assert RUN not in spread
    assert CUnescape(spread) == CUnescape(text)


@pytest.mark.parametrize("text", ["", "a", "\\", RUN[1:], "\\\\n", "\\134"])
def test_short_runs_are_left_alone(text: str) -> None:
    assert spread_backslashes(text) == text


def test_a_path_of_a_state_file() -> None:
    state = parse_state(b'model_checkpoint_path: "a%sn\\\\"' % RUN.encode())
    assert state.model_checkpoint_path == "a" + "\\" * 32 + "n\\"


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (lambda text: parse_state(text).model_checkpoint_path, 'model_checkpoint_path: "{}"'),
        (
            lambda text: parse_saved_model(text, text=True).tags[0],
            'meta_graphs {{ meta_info_def {{ tags: "{}" }} }}',
        ),
    ],
    ids=["state file", "graph"],
)
def test_protobuf_gets_no_long_run(
    parse: Callable[[bytes], str], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time is quadratic in the length of a run."""
    given: list[str] = []
    unescape = text_encoding.CUnescape

    def note(escaped: str) -> bytes:
        given.append(escaped)
        assert RUN not in escaped
        return unescape(escaped)

    monkeypatch.setattr(text_encoding, "CUnescape", note)
    assert parse(text.format("\\" * NUM).encode()) == "\\" * (NUM // 2)
    assert sum(map(len, given)) >= NUM


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_state, b'model_checkpoint_path: "a\\qb"'),
        (parse_state, b"\n" * (1 << 18) + b'model_checkpoint_path: "a\\qb" '),
        (
            lambda text: parse_saved_model(text, text=True),
            b'meta_graphs { meta_info_def { tags: "a\\qb" } }',
        ),
        (text_to_binary, b'node { name: "a\\qb" }'),
    ],
    ids=["state file", "long state file", "SavedModel", "frozen graph"],
)
def test_an_invalid_escape_where_warnings_are_errors(
    parse: Callable[[bytes], object], text: bytes
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(CorruptCheckpointError):
            parse(text)
