# SPDX-License-Identifier: Apache-2.0
"""systemd understands the unit files. Arguments: source root, build root, systemd-analyze.

The units name the installed program, which a build machine does not have: they are verified in a copy that
names programs that exist."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from source_tree import Tree


def main():
    tree = Tree(sys.argv[1])
    build, analyze = Path(sys.argv[2]), sys.argv[3]
    units = sorted([*build.glob("systemd/*.service"), *build.glob("systemd/*.socket")])
    units += [
        path
        for suffix in ("service", "socket")
        for path in sorted(tree.root.glob(f"systemd/*.{suffix}"))
        if path.name not in {unit.name for unit in units}
    ]
    if {unit.suffix for unit in units} != {".service", ".socket"}:
        print(f"{tree.root}/systemd:1: no service or no socket among {[unit.name for unit in units]}")
        sys.exit(1)

    with tempfile.TemporaryDirectory() as directory:
        copies = []
        for unit in units:
            text = re.sub(r"(?m)^(Exec\w+=[-@:+!|]*)\S+", r"\1/bin/true", unit.read_text())
            copy = Path(directory) / unit.name
            copy.write_text(text)
            copies.append(str(copy))
        done = subprocess.run(
            [analyze, "verify", "--man=no", "--recursive-errors=no", *copies], capture_output=True, text=True
        )
    complaints = (done.stdout + done.stderr).replace(f"{directory}/", "systemd/").strip()
    if done.returncode != 0 or complaints:
        print(complaints)
        sys.exit(1)


main()
