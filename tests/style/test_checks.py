# SPDX-License-Identifier: Apache-2.0
"""The checks can fail: each is run over a small tree with one fault of every kind, and must name its line."""

import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
LICENCE = "/* SPDX-License-Identifier: Apache-2.0 */\n"

# check, path, content, the finding's line (0: the content is fine)
FAULTS = [
    ("check_includes", "agent/base/fine.c", LICENCE + '#include "agent/base/fine.h"\n\n#include <errno.h>\n', 0),
    ("check_includes", "proc/fine.c", LICENCE + '#include <errno.h>\n\n#include <uv.h>\n\n#include "agent/base/fine.h"\n', 0),
    ("check_includes", "handlers/uv.c", LICENCE + "#include <uv.h>\n", 2),
    ("check_includes", "handlers/mhd.c", LICENCE + "#include <microhttpd.h>\n", 2),
    ("check_includes", "agent/app.c", LICENCE + "#include <jwt.h>\n", 2),
    ("check_includes", "agent/base/up.c", LICENCE + '#include "agent/json/up.h"\n', 2),
    ("check_includes", "proc/sideways.c", LICENCE + '#include "agent/http/up.h"\n', 2),
    ("check_includes", "handlers/neighbour.c", LICENCE + '#include "handlers/other.h"\n', 2),
    ("check_includes", "proc/short.c", LICENCE + '#include "short.h"\n', 2),
    ("check_includes", "proc/missing.c", LICENCE + '#include "proc/missing.h"\n', 2),
    ("check_includes", "proc/order.c", LICENCE + "#include <uv.h>\n\n#include <errno.h>\n", 4),
    ("check_includes", "proc/alphabet.c", LICENCE + "#include <string.h>\n#include <errno.h>\n", 3),
    ("check_includes", "agent/json/up.c", LICENCE + '#include <errno.h>\n\n#include "agent/json/up.h"\n', 2),
    ("check_includes", "agent/json/log.c", LICENCE + '#include "agent/json/up.h"\n\n#define LOG_MODULE "x"\n#include "agent/base/fine.h"\n', 0),
    ("check_includes", "agent/config_more.c", LICENCE + "#include <ini.h>\n", 2),
    ("check_text", "agent/fine.c", LICENCE + "\n/* strcpy( is only named here. */\nint f(void)\n{\n        return snprintf(0, 0, \"atoi(\");\n}\n", 0),
    ("check_text", "agent/no_licence.c", "int x;\n", 1),
    ("check_text", "agent/strcpy.c", LICENCE + "\nvoid f(char *a)\n{\n        strcpy(a, a);\n}\n", 5),
    ("check_text", "agent/sleep.c", LICENCE + "\nvoid f(void)\n{\n        usleep(5);\n}\n", 5),
    ("check_text", "agent/tab.c", LICENCE + "\tint x;\n", 2),
    ("check_text", "agent/end.c", LICENCE + "int x; \n", 2),
    ("check_text", "agent/wide.c", LICENCE + f"int {'x' * 130};\n", 2),
    ("check_length", "agent/fine.c", LICENCE + "int x;\n" * 499, 0),
    ("check_length", "agent/long.c", LICENCE + "int x;\n" * 500, 501),
    ("check_headers", "agent/fine.h", LICENCE + "#pragma once\n#include <stdint.h>\nuint8_t f(void);\n", 0),
    ("check_headers", "agent/alone.h", LICENCE + "#pragma once\nuint8_t f(void);\n", 1),
    ("check_headers", "agent/twice.h", LICENCE + "struct x {\n        int y;\n};\n", 1),
    ("check_links", "fine.md", "# A `b` c\n[x](#a-b-c), `fine.h`, [y](docs/fine.md#there)\n", 0),
    ("check_links", "file.md", "\n[x](gone.md)\n", 2),
    ("check_links", "heading.md", "\n[x](docs/fine.md#gone)\n", 2),
    ("check_links", "source.md", "```\n`gone.c`\n```\n`agent/gone.c`\n", 4),
    ("check_links", "name.md", "`fine_name` `gone_name()`\n", 1),
    ("check_limits", "docs/guide/limits.md", "| `LIMIT_X` | 2 KiB | x |\n", 0),
    ("check_limits", "docs/guide/limits.md", "\n| `LIMIT_X` | 3 KiB | x |\n", 2),
    ("check_limits", "docs/guide/limits.md", "\n", 1),
]  # fmt: skip

EXTRA_ARGUMENTS = {"check_headers": ["/nonexistent", *sys.argv[1:]]}

HEADERS = ("agent/base/fine.h", "agent/json/up.h", "agent/http/up.h", "handlers/other.h", "proc/short.h")
OTHERS = {
    "check_includes": {header: LICENCE for header in HEADERS},
    "check_links": {"docs/fine.md": "## There\n", "agent/fine.h": "int fine_name;\n"},
    "check_limits": {"agent/base/limits.h": "#define LIMIT_X (2 * KIB) /* of x */\n"},
}


def main():
    failures = []
    for check, name, content, line in FAULTS:
        with tempfile.TemporaryDirectory() as directory:
            root = Path(directory)
            for other, text in OTHERS.get(check, {}).items():
                (root / other).parent.mkdir(parents=True, exist_ok=True)
                (root / other).write_text(text)
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(content)
            done = subprocess.run(
                [sys.executable, str(HERE / f"{check}.py"), directory, *EXTRA_ARGUMENTS.get(check, [])],
                capture_output=True,
                text=True,
            )
        findings = done.stdout.strip()
        wanted = f"{name}:{line}: " if line else ""
        is_right = findings.startswith(wanted) and bool(findings) == bool(line)
        if not is_right or done.returncode != (1 if line else 0) or done.stderr:
            failures.append(f"{check}, {name}: wanted '{wanted}', got {done.returncode}: {findings}{done.stderr}")
    print("\n".join(failures))
    sys.exit(1 if failures else 0)


main()
