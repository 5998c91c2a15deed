"""Long runs of backslashes in messages as text, which protobuf decodes in quadratic time."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf.text_encoding import CUnescape

from children import output_of
from ckptparse.messages import spread_backslashes
from ckptparse.state import parse_state

RUN = "\\" * 64

NUM = 1 << 17
SECONDS = 30
"""For what takes a fraction of a second; minutes, if each backslash meets all behind it."""


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
    ("name", "text"),
    [
        ("checkpoint", 'model_checkpoint_path: "{}"'),
        ("saved_model.pbtxt", 'meta_graphs {{ meta_info_def {{ tags: "{}" }} }}'),
    ],
)
def test_many_of_them_take_no_time_to_speak_of(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text.format("\\" * NUM))
    code = f"""
        import signal, sys
        from pathlib import Path
        from ckptparse.metagraph import parse_saved_model
        from ckptparse.state import parse_state
        signal.alarm({SECONDS})
        contents = Path(sys.argv[1]).read_bytes()
        if sys.argv[1].endswith("pbtxt"):
            (text,) = parse_saved_model(contents, text=True).tags
        else:
            text = parse_state(contents).model_checkpoint_path
        print(len(text), *map(ord, set(text)))
    """
    (said,) = output_of(code, tmp_path / name)
    assert said == f"{NUM // 2} {ord(RUN[0])}"
