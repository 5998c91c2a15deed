"""Which files this reader may read.

A file says which producer wrote it, which consumers are too old for it, and which must not read it
for some other reason.

Source: tensorflow/core/framework/versions.cc, ``CheckVersions``; the numbers are those of
tensorflow/core/util/tensor_bundle/tensor_bundle.h and core/public/version.h.
"""

from __future__ import annotations

from typing import Any

from ckptparse.errors import CorruptCheckpointError, UnsupportedError

READER_VERSION = 1
"""What this reader is, for V1 and for V2."""

MAX_NBYTES = 1 << 20
"""What a version, or a header with one, takes at most; they are some ten bytes."""


def require_short(what: str, serialized: bytes | memoryview) -> None:
    """Check that a version, or a header with one, is one before it is parsed.

    Raises:
        CorruptCheckpointError: it is longer than any.
    """
    if len(serialized) > MAX_NBYTES:
        raise CorruptCheckpointError(
            what, expected=f"at most {MAX_NBYTES} bytes", found=len(serialized)
        )


def require_version(version: Any) -> None:
    """Check a VersionDef; one without fields is that of files before 2016-04, and fine.

    Raises:
        CorruptCheckpointError: a producer that cannot be.
        UnsupportedError: the file asks for a newer reader, or names this one as unfit.
    """
    if version.producer < 0:
        raise CorruptCheckpointError(
            "invalid producer version", expected="0 or more", found=version.producer
        )
    if version.min_consumer > READER_VERSION:
        raise UnsupportedError(
            "this file was written for a newer reader",
            expected=f"a file for readers of version {READER_VERSION}",
            found=f"one for version {version.min_consumer} or later",
        )
    if READER_VERSION in version.bad_consumers:
        raise UnsupportedError(
            "the writer of this file says that this reader must not read it",
            expected=f"a file for readers of version {READER_VERSION}",
            found=f"bad_consumers {list(version.bad_consumers)}",
        )
