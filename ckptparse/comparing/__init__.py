"""Compare two checkpoints or mappings, tensor by tensor."""

from ckptparse.comparing.difference import diff
from ckptparse.comparing.report import DiffReport, FormDifference, ScopeSummary, ValueDifference

__all__ = ["DiffReport", "FormDifference", "ScopeSummary", "ValueDifference", "diff"]
