# SPDX-License-Identifier: Apache-2.0
"""What the program prints of its tables is what the documentation says: options are listed, endpoints and error codes
are mentioned. Arguments: source root, the vm-agent binary."""

import difflib
import re
import subprocess
import sys

from source_tree import Tree

BEGIN, END = "<!-- begin options -->", "<!-- end options -->"


def printed(binary, command):
    return subprocess.run([binary, command], capture_output=True, text=True, check=True).stdout


def section(text):
    """(first line number, content) of what stands between the markers."""
    before, rest = text.split(BEGIN, 1)
    content, _ = rest.split(END, 1)
    return before.count("\n") + 2, content.strip("\n") + "\n"


def compare(tree, path, first_line, written, wanted, command):
    if written == wanted:
        return
    old, new = written.splitlines(), wanted.splitlines()
    differing = next((n for n, (a, b) in enumerate(zip(old, new)) if a != b), min(len(old), len(new)))
    tree.report(path, first_line + differing, f"differs from what `vm-agent {command}` prints:")
    print("\n".join(difflib.unified_diff(old, new, "written", "printed", lineterm="", n=1)))


def check_guide(tree, binary):
    """Whoever adds an endpoint, or a way to fail, tells users of it."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in (tree.root / "docs/guide").glob("*.md"))
    paths = {line.split()[1] for line in printed(binary, "routes").splitlines()}
    codes = re.findall(r'^ +X\(\w+, \d+, "(\w+)"\)', (tree.root / "agent/http/problem.h").read_text(), re.M)
    for path in sorted(paths):
        if not re.search(rf"{re.escape(path)}(?![\w/{{])", text):
            tree.report(tree.root / "docs/guide/requests.md", 1, f"no chapter of the guide mentions {path}")
    for code in codes:
        if f"`{code}`" not in text:
            tree.report(tree.root / "docs/guide/requests.md", 1, f"no chapter of the guide mentions {code}")


def main():
    tree = Tree(sys.argv[1])
    binary = sys.argv[2]
    check_guide(tree, binary)

    readme = tree.root / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        tree.report(readme, 1, f"needs one {BEGIN} and one {END}")
    else:
        first_line, written = section(text)
        wanted = printed(binary, "config-reference").strip("\n") + "\n"
        compare(tree, readme, first_line, written, wanted, "config-reference")

    example = tree.root / "systemd" / "agent.conf"
    written = example.read_text(encoding="utf-8") if example.is_file() else ""
    compare(tree, example, 1, written, printed(binary, "config-example"), "config-example")

    document = tree.root / "docs" / "openapi.json"
    written = document.read_text(encoding="utf-8") if document.is_file() else ""
    compare(tree, document, 1, written, printed(binary, "openapi"), "openapi")
    tree.exit()


main()
