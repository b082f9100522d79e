# SPDX-License-Identifier: Apache-2.0
"""What a line of text may not be: a licence missing on the first one, a function that has no safe use, a tab,
white space at the end, a line that is too long."""

import re
import sys

from source_tree import Tree, lines_of

LICENCE = "SPDX-License-Identifier: Apache-2.0"
FIRST_LINES = {
    ".c": f"/* {LICENCE} */",
    ".h": f"/* {LICENCE} */",
    ".py": f"# {LICENCE}",
    ".sh": f"# {LICENCE}",
    ".mjs": f"// {LICENCE}",
    ".js": f"// {LICENCE}",
}

FORBIDDEN = {
    "strcpy": "no bound",
    "strcat": "no bound",
    "sprintf": "no bound: snprintf",
    "vsprintf": "no bound: vsnprintf",
    "gets": "no bound",
    "atoi": "no errors: str_parse_u64",
    "atol": "no errors: str_parse_u64",
    "atof": "no errors",
    "strtok": "hidden state",
    "alloca": "no failure",
    "usleep": "blocks the loop, and is no way to wait",
    "sleep": "blocks the loop, and is no way to wait",
}
CALL = re.compile(r"(?<![\w.>])(" + "|".join(FORBIDDEN) + r")\s*\(")

COMMENT_OR_TEXT = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.DOTALL)

# Of code clang-format decides; this is for comments and strings. Tables may be as wide as they need.
MAX_WIDTH = 120


def blanked(text):
    """The text with comments and string literals replaced by spaces, line breaks kept."""
    return COMMENT_OR_TEXT.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)


def check_first_line(tree, path):
    lines = path.read_text(encoding="utf-8").splitlines()
    first = lines[1] if lines and lines[0].startswith("#!") and len(lines) > 1 else (lines or [""])[0]
    if first != FIRST_LINES[path.suffix]:
        tree.report(path, 1, f"the first line must be: {FIRST_LINES[path.suffix]}")


def check_functions(tree, path):
    for number, line in enumerate(blanked(path.read_text(encoding="utf-8")).splitlines(), start=1):
        for match in CALL.finditer(line):
            tree.report(path, number, f"{match.group(1)} is forbidden ({FORBIDDEN[match.group(1)]})")


def check_lines(tree, path):
    is_table = path.suffix == ".py"
    for number, line in lines_of(path):
        if "clang-format off" in line or "clang-format on" in line:
            is_table = "clang-format off" in line
        if "\t" in line:
            tree.report(path, number, "a tab")
        if line != line.rstrip():
            tree.report(path, number, "white space at the end")
        if len(line) > MAX_WIDTH and not is_table:
            tree.report(path, number, f"{len(line)} columns, more than {MAX_WIDTH}")


def main():
    tree = Tree(sys.argv[1])
    for path in tree.files(*FIRST_LINES):
        check_first_line(tree, path)
        check_lines(tree, path)
        if path.suffix in (".c", ".h"):
            check_functions(tree, path)
    tree.exit()


main()
