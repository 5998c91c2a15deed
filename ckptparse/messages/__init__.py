"""Protocol-buffer messages: their classes, their binary form and their text form."""
