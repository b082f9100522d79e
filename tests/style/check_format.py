# SPDX-License-Identifier: Apache-2.0
"""clang-format decides about the form of all C. Its verdict depends on its version, so only one counts."""

import re
import subprocess
import sys

from source_tree import SKIPPED_TEST, Tree

VERSION = 14


def version(program):
    text = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return int(re.search(r"version (\d+)", text).group(1))


def main():
    tree = Tree(sys.argv[1])
    program = sys.argv[2]
    found = version(program)
    if found != VERSION:
        print(f"{program} is version {found}; version {VERSION} decides")
        sys.exit(SKIPPED_TEST)
    files = [str(path) for path in tree.c_files()]
    done = subprocess.run(
        [program, "--dry-run", "-Werror", "--ferror-limit=1", *files], capture_output=True, text=True
    )
    for line in done.stderr.splitlines():
        match = re.match(r"(.+?):(\d+):\d+: error: (.*)", line)
        if match:
            tree.n_findings += 1
            print(f"{match.group(1).removeprefix(f'{tree.root}/')}:{match.group(2)}: not as clang-format has it")
    if done.returncode != 0 and not tree.n_findings:
        print(done.stderr)
        tree.n_findings += 1
    tree.exit()


main()
