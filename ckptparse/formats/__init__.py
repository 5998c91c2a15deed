"""One package or module per file format; each implements `formats.reader.Reader`."""
