"""Write a page in HTML that shows what is in a checkpoint.

`examination` reads the checkpoint, in one pass.  `scopes`, `treemap` and `drawing` arrange and
draw, `page` writes the sections, and `markup` escapes; none of these reads a file.  `report` writes
the page to a file.
"""
