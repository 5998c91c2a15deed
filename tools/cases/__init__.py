"""The cases: each function writes one checkpoint into the working directory and has it recorded."""
