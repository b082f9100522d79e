# SPDX-License-Identifier: Apache-2.0
"""The guide's tables say of each fixed limit what limits.h says. Argument: source root."""

import re
import sys

from source_tree import Tree, lines_of

HEADER, DOCUMENT = "agent/base/limits.h", "docs/guide/limits.md"
DEFINE = re.compile(r"^#define ((?:LIMIT|MIN)_\w+)\s+(.+)$", re.M)
ROW = re.compile(r"\| `(\w+)` \| ([^|]+) \|")
UNITS = {"KIB": "1024", "MIB": "1048576", "GIB": "1073741824"}


def number_of(text):
    """'(64 * KIB)' and '64 KiB' as a number; milliseconds and seconds count as they are."""
    text = text.replace("(uint64_t)", "").replace(",", "").replace("\N{MINUS SIGN}", "-")
    text = re.sub(r"(\d) (?=[KMG]iB)", r"\1 * ", text)
    text = re.sub(r"\b[KMG]iB\b", lambda match: match.group().upper(), text)
    text = re.sub(r" (?:ms|s)$", "", text)
    text = re.sub("|".join(UNITS), lambda match: UNITS[match.group()], text)
    if not re.fullmatch(r"[\d\s()*+-]+", text):
        raise ValueError(text)
    return eval(text)


def defined(path):
    text = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL).replace("\\\n", " ")
    return {match.group(1): number_of(match.group(2).strip()) for match in DEFINE.finditer(text)}


def main():
    tree = Tree(sys.argv[1])
    document = tree.root / DOCUMENT
    limits = defined(tree.root / HEADER)
    seen = set()
    for number, line in lines_of(document):
        if match := ROW.match(line):
            name, text = match.groups()
            seen.add(name)
            if name not in limits:
                tree.report(document, number, f"{HEADER} has no {name}")
            # Memory that a request may ask for is told in its own unit.
            elif number_of(text.removesuffix(" MiB") if "_MEMORY_MB_" in name else text) != limits[name]:
                tree.report(document, number, f"{name} is {limits[name]}, not {text}")
    for name in limits.keys() - seen:
        tree.report(document, 1, f"has no row for {name}")
    tree.exit()


main()
