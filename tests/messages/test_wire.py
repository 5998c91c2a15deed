"""Fields of messages: every wire type, and every way to be cut or unknown."""

from __future__ import annotations

import pytest

from ckptparse.errors import CorruptCheckpointError
from ckptparse.messages.wire import Field, iterate_fields
from support.builders import bytes_field, fixed32_field, varint, varint_field


class TestWire:
    def test_every_wire_type(self) -> None:
        message = varint_field(1, 300) + bytes_field(2, b"ab") + fixed32_field(3, 7)
        message += varint(4 << 3 | 1) + bytes(8) + varint_field(2000, 1)
        fields = list(iterate_fields(message, 0, len(message)))
        assert [(field.number, field.wire_type) for field in fields] == [
            (1, 0),
            (2, 2),
            (3, 5),
            (4, 1),
            (2000, 0),
        ]
        assert fields[1] == Field(2, 2, 5, 7)

    @pytest.mark.parametrize("nbytes", range(1, 17))
    def test_a_message_cut_anywhere(self, nbytes: int) -> None:
        message = bytes_field(1, b"abcdefgh" * 2)
        assert len(message) == 18
        with pytest.raises(CorruptCheckpointError):
            list(iterate_fields(message, 0, nbytes))

    @pytest.mark.parametrize("tag", [3, 4, 6, 7, 0])
    def test_groups_unknown_types_and_field_0(self, tag: int) -> None:
        message = varint(8 + tag if tag else 0) + bytes(10)
        with pytest.raises(CorruptCheckpointError):
            list(iterate_fields(message, 0, len(message)))
