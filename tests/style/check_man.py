# SPDX-License-Identifier: Apache-2.0
"""The manual pages can be read without complaints, and tell of all commands and options.
Arguments: source root, build root, vm-agent, groff."""

import re
import subprocess
import sys
from pathlib import Path

from source_tree import Tree

PAGES = {"8": "vm-agent.8", "5": "vm-agent.conf.5"}


def printed(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def rendered(tree, groff, page, source):
    """The page as text. What groff complains about is reported."""
    done = subprocess.run([groff, "-k", "-man", "-ww", "-Tutf8", "-P-cbou", str(page)], capture_output=True, text=True)
    for complaint in done.stderr.splitlines():
        tree.report(source, 1, complaint)
    return re.sub("[\N{HYPHEN}\N{MINUS SIGN}\N{SOFT HYPHEN}]", "-", done.stdout)


def main():
    tree = Tree(sys.argv[1])
    build, binary, groff = Path(sys.argv[2]) / "docs/man", sys.argv[3], sys.argv[4]
    text = {}
    for section, name in PAGES.items():
        source = tree.root / "docs/man" / f"{name}.in"
        text[section] = rendered(tree, groff, build / name, source)
        if missing := re.findall(r"@\w+@", text[section]):
            tree.report(source, 1, f"nothing was filled in for {missing}")

    usage = printed(binary, "--help")
    for command in re.findall(r"^  vm-agent ([a-z][\w-]*)", usage, re.M):
        if not re.search(rf"^       {command}(?: |$)", text["8"], re.M):
            tree.report(tree.root / "docs/man/vm-agent.8.in", 1, f"does not tell of the command {command}")
    for option in re.findall(r"^  --(?:\[no-\])?([\w-]+)", usage, re.M):
        page = "8" if option == "config" else "5"
        if not re.search(rf"^ +(?:--)?{option} ", text[page], re.M):
            tree.report(tree.root / f"docs/man/{PAGES[page]}.in", 1, f"does not tell of the option {option}")
    tree.exit()


main()
