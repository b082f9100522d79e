# SPDX-License-Identifier: Apache-2.0
"""Reads the collections of programs under integration/programs/javascript, and runs one in a directory of its own."""

import dataclasses
import json
import pathlib
import re

from lib.js_driver import environment

DIRECTORY = pathlib.Path(__file__).resolve().parents[1] / "integration/programs/javascript"
HEADER = re.compile(r"^//// (.*)\n((?://: .*\n)*)", re.MULTILINE)


@dataclasses.dataclass
class Program:
    name: str
    source: str
    options: dict

    @property
    def stdin(self):
        if "stdin_size" in self.options:
            return b"x" * self.options["stdin_size"]
        text = self.options.get("stdin")
        return None if text is None else text.encode()

    @property
    def env(self):
        merged = environment() | self.options["env"]
        return {name: value for name, value in merged.items() if value is not None}

    def bytes(self):
        """The source as it is to lie in a file."""
        source = self.source
        if self.options.get("chomp"):
            source = source.rstrip("\n")
        if self.options.get("crlf"):
            source = source.replace("\n", "\r\n")
        return source.encode()

    def lay_out(self, root):
        """Makes the files that it needs below `root`, and returns its working directory."""
        cwd = root / self.options.get("directory", ".")
        cwd.mkdir(parents=True)
        for name, content in self.options["files"].items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return cwd


def read_options(text):
    """Lines like `//: stdin "text"`, `//: env NAME "value"` and `//: file NAME "content"`, whose values are JSON. The
    content of a file may go on in further lines."""
    options = {"env": {}, "files": {}}
    for line in text.splitlines():
        _, key, rest = line.split(" ", 2)
        name, _, value = rest.partition(" ")
        if key == "file":
            options["files"][name] = options["files"].get(name, "") + json.loads(value)
        elif key == "env":
            options["env"][name] = json.loads(value)
        else:
            options[key] = json.loads(rest)
    return options


def read_programs():
    programs = []
    for path in sorted(DIRECTORY.glob("*.js")):
        parts = HEADER.split(path.read_text())[1:]
        for name, options, source in zip(parts[0::3], parts[1::3], parts[2::3], strict=True):
            programs.append(Program(f"{path.stem}: {name}", source, read_options(options)))
    return programs


def files_below(root):
    """What a program has left behind, as far as it can be compared."""
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None
        for path in sorted(root.rglob("*"))
        if path.name != "main.js"
    }
