"""Write JSON that is short, readable, and suitable for a diff."""

import json


def write(path, document, depth=2):
    """Write a dict.

    depth: the number of levels, counted from this dict, whose entries each have their own line.
    """
    with open(path, "w") as stream:
        stream.write(text_of(document, depth, "") + "\n")


def text_of(value, depth, indent):
    """Return the text of a value whose entries are indented by one more blank than `indent`."""
    if not value or not depth or not isinstance(value, (dict, list)):
        return json.dumps(value)
    inner = indent + " "
    if isinstance(value, list):
        lines = [text_of(item, depth - 1, inner) for item in value]
    else:
        lines = [f"{json.dumps(key)}: {text_of(value[key], depth - 1, inner)}" for key in value]
    start, end = "[]" if isinstance(value, list) else "{}"
    return start + "\n" + inner + (",\n" + inner).join(lines) + "\n" + indent + end
