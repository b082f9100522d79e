# SPDX-License-Identifier: Apache-2.0
"""What the style checks share: the files to look at, and how a finding is reported.

Each check takes the source root as its first argument, prints `path:line: message` per finding and exits with
1 if there is any."""

import sys
from pathlib import Path

FOLDERS = ("agent", "handlers", "proc", "tests")
SKIPPED_TEST = 77  # what meson takes for "skipped"


class Tree:
    def __init__(self, root):
        self.root = Path(root).resolve()
        self.n_findings = 0

    def files(self, *suffixes, folders=FOLDERS):
        found = []
        for folder in folders:
            for path in (self.root / folder).rglob("*"):
                if path.suffix in suffixes and path.is_file() and "node_modules" not in path.parts:
                    found.append(path)
        return sorted(found)

    def c_files(self, folders=FOLDERS):
        return self.files(".c", ".h", folders=folders)

    def name(self, path):
        return path.relative_to(self.root).as_posix()

    def report(self, path, line, message):
        self.n_findings += 1
        print(f"{self.name(path)}:{line}: {message}")

    def exit(self):
        sys.exit(1 if self.n_findings else 0)


def lines_of(path):
    """(number, text) of every line."""
    return enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
