"""The V1 format: tables that hold the tensors themselves, in slices.

`contents` decodes the table of contents, `record` finds and decodes the values of one slice,
`reader` puts slices and files together.
"""

from ckptparse.formats.saved_slices.reader import SavedSlicesReader

__all__ = ["SavedSlicesReader"]
