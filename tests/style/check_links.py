# SPDX-License-Identifier: Apache-2.0
"""What the documents refer to exists: files and headings that links name, sources and names of the program that stand
in backticks. Argument: source root."""

import re
import sys

from source_tree import Tree, lines_of

LINK = re.compile(r"\]\(([^()\s]+)\)")
CODE = re.compile(r"`([^`]*)`")
HEADING = re.compile(r"#{1,6} (.*)")

# "agent/loop/job.h", "http/request.c", "agent/http/"; what has other characters is a pattern, or no path.
PATH = re.compile(r"(?:[\w.-]+/)*[\w-]+\.(?:c|h|py|mjs|cjs|in|service|socket)|(?:[\w-]+/)+")
TOP = ("agent", "console", "docs", "handlers", "proc", "systemd", "tests")
NOT_OURS = {"sitecustomize.py", "numpy.py", "json.py"}  # files of users and libraries
LIBRARIES = {f"{name}.h" for name in "archive curl ini jwt libwebsockets lzma microhttpd pcre2 uv".split()}
MADE = "build"  # directories that commands make begin with it

# "request_gone", "process_start()": wherever they come from, the sources know them.
SDKS = {"run_code_async"}  # of what the SDKs have, what no test has to name
METRIC = "vm_agent_"  # begins the names of metrics, which stand in their table without it
NAME = re.compile(r"([a-z][a-z0-9]*(?:_[a-z0-9]+)+)(?:\(\))?")


def documents(tree):
    return sorted([*tree.root.glob("*.md"), *(tree.root / "docs").rglob("*.md")])


def prose(path):
    """(number, line) of all lines that are not in a fenced block."""
    is_code = False
    for number, line in lines_of(path):
        if line.startswith("```"):
            is_code = not is_code
        elif not is_code:
            yield number, line


def anchors(path):
    """The names under which forges make a document's headings known."""
    found = {}
    for _, line in prose(path):
        if match := HEADING.match(line):
            text = re.sub(r"\]\([^)]*\)", "", match.group(1)).lower()
            name = re.sub(r"[^\w\- ]", "", text).strip().replace(" ", "-")
            found[name] = found.get(name, 0) + 1
    return {name if n == 0 else f"{name}-{n}" for name, count in found.items() for n in range(count)}


def check_link(tree, path, number, target):
    if re.match(r"[a-z]+:", target):
        return
    file, _, anchor = target.partition("#")
    to = (path.parent / file).resolve() if file else path
    if not to.exists():
        tree.report(path, number, f"there is no {file}")
    elif anchor and to.suffix == ".md" and anchor not in anchors(to):
        tree.report(path, number, f"{file or 'this document'} has no heading #{anchor}")


def source_paths(tree):
    return [
        path
        for top in TOP
        for path in [tree.root / top, *(tree.root / top).rglob("*")]
        if not {"node_modules", "__pycache__"} & set(path.parts)
    ]


def names_in(paths):
    """All words of the sources that could be names."""
    found = set()
    for path in paths:
        if path.suffix in (".c", ".h", ".py", ".mjs", ".cjs", ".js", ".build", ".in"):
            found.update(re.findall(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)+", path.read_text(encoding="utf-8")))
    return found


def check_code(tree, path, number, text, known, names):
    if PATH.fullmatch(text) and text not in NOT_OURS | LIBRARIES and not text.startswith(MADE):
        if not any(name == text or name.endswith("/" + text) for name in known):
            tree.report(path, number, f"there is no {text}")
    elif match := NAME.fullmatch(text):
        name = match.group(1)
        if not {name, name.removeprefix(METRIC)} & (names | SDKS):
            tree.report(path, number, f"nothing is called {name}")


def main():
    tree = Tree(sys.argv[1])
    paths = source_paths(tree)
    known = {tree.name(path) + ("/" if path.is_dir() else "") for path in paths}
    names = names_in(path for path in paths if path.is_file())
    for path in documents(tree):
        for number, line in prose(path):
            for match in LINK.finditer(CODE.sub("", line)):
                check_link(tree, path, number, match.group(1))
            for match in CODE.finditer(line):
                check_code(tree, path, number, match.group(1), known, names)
    tree.exit()


main()
