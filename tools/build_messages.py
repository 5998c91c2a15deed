"""Compile protos/*.proto into ckptparse/messages/compiled.py.

    python tools/build_messages.py          write the file
    python tools/build_messages.py --check  exit 1 if the file does not match the protos

Needs grpcio-tools, which contains protoc.  Users of the package do not need it, because the
compiled file is committed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import textwrap
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
TARGET = ROOT / "ckptparse" / "messages" / "compiled.py"

HEAD = '''\
"""The compiled protos: made by tools/build_messages.py from protos/, not to be edited.

Each value is a serialized FileDescriptorProto.  A file is listed after those that it imports.
"""

FILES = {
'''


def compile_protos() -> dict[str, bytes]:
    """Return name -> serialized FileDescriptorProto of each file, imported files first."""
    names = sorted(path.name for path in PROTOS.glob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "set.binpb"
        arguments = ["protoc", f"-I{PROTOS}", f"--descriptor_set_out={target}", "--include_imports"]
        if protoc.main([*arguments, *names]):
            sys.exit("protoc failed")
        descriptor_set = FileDescriptorSet.FromString(target.read_bytes())
    files = {}
    for file in descriptor_set.file:
        for message in file.message_type:
            clear_json_names(message)
        files[file.name] = file.SerializeToString(deterministic=True)
    return files


def clear_json_names(message) -> None:
    """Remove the JSON names, which ckptparse never uses and which depend on protoc's version."""
    for field in message.field:
        field.ClearField("json_name")
    for nested in message.nested_type:
        clear_json_names(nested)


def render(files: dict[str, bytes]) -> str:
    """Return the text of `compiled.py`."""
    lines = []
    for name, serialized in files.items():
        pieces = [serialized[i : i + 24].hex() for i in range(0, len(serialized), 24)]
        body = textwrap.indent("\n".join(f'"{piece}"' for piece in pieces), " " * 8)
        lines.append(f'    "{name}": bytes.fromhex(\n{body}\n    ),\n')
    return HEAD + "".join(lines) + "}\n"


def main() -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    text = render(compile_protos())
    if not arguments.check:
        TARGET.write_text(text)
    elif TARGET.read_text() != text:
        print(f"{TARGET.relative_to(ROOT)} is not what protos/ says: run tools/build_messages.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
