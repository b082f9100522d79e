# SPDX-License-Identifier: Apache-2.0
"""Every header compiles alone, so that the order of includes never matters.

Arguments: source root, build root, compiler and its flags."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from source_tree import Tree


def main():
    tree = Tree(sys.argv[1])
    build, compiler = sys.argv[2], sys.argv[3:]
    flags = ["-std=gnu17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wno-missing-field-initializers"]
    flags += ["-Wno-override-init", "-Werror"]
    command = [*compiler, *flags, f"-I{tree.root}", f"-I{build}", "-fsyntax-only", "-x", "c", "-"]

    def compile_alone(path):
        source = f'#include "{tree.name(path)}"\n#include "{tree.name(path)}"\n'
        return path, subprocess.run(command, input=source, capture_output=True, text=True)

    headers = tree.files(".h")
    with ThreadPoolExecutor(2) as pool:
        for path, done in pool.map(compile_alone, headers):
            if done.returncode != 0:
                tree.report(path, 1, f"does not compile alone:\n{done.stderr}")
    tree.exit()


main()
