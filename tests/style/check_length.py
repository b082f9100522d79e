# SPDX-License-Identifier: Apache-2.0
"""A file of more than 500 lines usually holds two ideas. Exceptions are listed here, with their reason."""

import sys

from source_tree import Tree

LIMIT = 500

EXCEPTIONS = {
    # "folder/file.c": "why it is one idea nevertheless",
}


def main():
    tree = Tree(sys.argv[1])
    for path in tree.files(".c", ".h", ".py", ".mjs"):
        size = len(path.read_text(encoding="utf-8").splitlines())
        if size > LIMIT and tree.name(path) not in EXCEPTIONS:
            tree.report(path, size, f"{size} lines, more than {LIMIT}: split it, or give a reason in {sys.argv[0]}")
    for name in EXCEPTIONS:
        path = tree.root / name
        if not path.is_file() or len(path.read_text(encoding="utf-8").splitlines()) <= LIMIT:
            tree.report(path, 1, "needs no exception any more")
    tree.exit()


main()
