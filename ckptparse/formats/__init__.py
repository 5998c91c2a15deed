"""File formats: a package for each, with a class that implements the protocol `reader.Reader`."""
