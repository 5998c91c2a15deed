"""The V1 format: tables that contain the tensors themselves, in slices.

`contents` decodes the table of contents of each file, `record` decodes the values of one slice, and
`reader` assembles tensors from the slices in all files.
"""

from ckptparse.formats.saved_slices.reader import SavedSlicesReader

__all__ = ["SavedSlicesReader"]
