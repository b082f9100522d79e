# SPDX-License-Identifier: Apache-2.0
"""Makes a manual page: NAME=VALUE for @NAME@, and the program's own list of options for @OPTIONS@.

Arguments: template, page, vm-agent, NAME=VALUE…"""

import subprocess
import sys
from pathlib import Path


def main():
    template, page, binary, *values = sys.argv[1:]
    text = Path(template).read_text(encoding="utf-8")
    for value in values:
        name, _, value = value.partition("=")
        text = text.replace(f"@{name}@", value.replace("-", "\\-"))
    if "@OPTIONS@" in text:
        options = subprocess.run([binary, "config-man"], capture_output=True, text=True, check=True).stdout
        text = text.replace("@OPTIONS@\n", options)
    Path(page).write_text(text, encoding="utf-8")


main()
