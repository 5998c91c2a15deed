"""Protocol-buffer messages: their classes, their bytes, and their text form."""
