# SPDX-License-Identifier: Apache-2.0
"""Who may include whom. The tables below are the architecture's map of edges; nothing else may hold them.

A file may include its own folder, and what its row names; it may use the libraries that its row names."""

import re
import sys

from source_tree import Tree, lines_of

BASE = "agent/base/"
EVERYTHING = ("agent/", "handlers/", "proc/")

FOR_HANDLERS = (
    BASE,
    "agent/app.h",
    "agent/config.h",
    "agent/host/host.h",
    "agent/http/accept.h",
    "agent/http/problem.h",
    "agent/http/request.h",
    "agent/http/route_doc.h",
    "agent/http/sse.h",
    "agent/http/stream.h",
    "agent/json/",
    "agent/loop/timer.h",
    "agent/metrics",
    "agent/webhook/webhook.h",
    "agent/ws/channel",
    "agent/ws/ws.h",
    "handlers/features.h",
    "handlers/workdir.h",
    "proc/",
)

# What the JWT check and the options consist of: modules of several files in the folder agent/.
AUTH = ("agent/auth",)
CONFIG = ("agent/config",)

# The rows are tried in order: the first with a fitting prefix is a file's row.
#   (prefixes of the file, prefixes of what it may include, libraries)
ROWS = [
    # level 0
    ("agent/base/", (), ()),
    # level 1
    ("agent/json/", (BASE,), ("jansson", "nettle")),
    ("agent/loop/", (BASE,), ("uv",)),
    (AUTH, (BASE, *AUTH), ("jwt", "jansson", "nettle")),
    (CONFIG, (BASE, *CONFIG, "agent/listen.h"), ("ini",)),
    ("agent/listen", (BASE,), ()),
    ("agent/metrics", (BASE,), ()),
    ("agent/systemd", (BASE,), ()),
    ("agent/access_log", (BASE,), ()),
    # level 2
    ("agent/files/", (BASE,), ()),
    ("agent/webhook/", (BASE, "agent/loop/"), ("curl", "uv", "jansson", "nettle")),
    ("agent/watch/", (BASE, "agent/loop/"), ("uv",)),
    ("agent/host/", (BASE, "agent/loop/"), ("uv",)),
    ("proc/shim", (), ()),
    ("proc/", (BASE, "agent/json/", "agent/loop/"), ("uv", "jansson", "nettle")),
    (
        "agent/http/",
        (BASE, "agent/json/", "agent/loop/", "agent/auth.h", "agent/metrics", "agent/access_log.h"),
        ("microhttpd", "uv", "jansson", "nettle"),
    ),
    # level 3
    (
        "agent/ws/",
        (BASE, "agent/json/", "agent/loop/", "agent/metrics.h", "agent/http/request.h", "agent/http/router.h",
         "agent/http/problem.h", "agent/http/upgrade.h"),
        ("libwebsockets", "uv", "jansson"),
    ),
    ("agent/health", (BASE, "agent/loop/", "agent/systemd.h", "proc/"), ()),
    # level 4. What the first two print about the agent lives in lower levels.
    ("handlers/info", (*FOR_HANDLERS, "agent/http/router.h"), ("jansson",)),
    (
        "handlers/metrics/",
        (*FOR_HANDLERS, "agent/http/router.h", "agent/loop/job.h", "agent/loop/lag.h", "agent/watch/watch.h",
         "handlers/terminal/terminals.h",
         "handlers/cache/results.h"),
        ("jansson",),
    ),
    # As /env shows them, variables are shown elsewhere.
    ("handlers/system/", (*FOR_HANDLERS, "handlers/env.h"), ("jansson",)),
    # The page that browsers get at / instead of JSON.
    (
        "handlers/health",
        (*FOR_HANDLERS, "handlers/health.h", "handlers/console/console.h", "agent/health.h", "agent/loop/lag.h"),
        ("jansson",),
    ),
    # Jobs run what executions run, later; and what is on the disk is read by worker threads.
    ("handlers/jobs/", (*FOR_HANDLERS, "handlers/execution/", "handlers/processes.h", "agent/loop/job.h"), ("jansson",)),
    # Worker threads do what there is to do with files.
    (
        "handlers/files/",
        (*FOR_HANDLERS, "agent/files/", "agent/watch/", "agent/loop/job.h", "agent/loop/feed.h",
         "agent/http/body.h", "agent/http/file.h",
         "agent/http/header_value.h", "agent/http/multipart.h", "agent/http/range.h"),
        ("jansson", "pcre2", "archive", "lzma"),
    ),
    # What is kept is freed by a worker.
    ("handlers/cache/", (*FOR_HANDLERS, "agent/loop/job.h"), ("jansson",)),
    # Results are kept; what they depend on is read by a worker.
    (
        "handlers/execution/",
        (*FOR_HANDLERS, "agent/files/", "agent/http/router.h", "agent/loop/job.h", "handlers/cache/results.h"),
        ("jansson",),
    ),
    ("handlers/", FOR_HANDLERS, ("jansson",)),
    # level 5
    ("agent/", EVERYTHING, ("uv", "jansson")),
    ("tests/", (*EVERYTHING, "tests/"), ("uv", "jansson", "microhttpd", "jwt", "ini", "nettle", "curl", "cmocka")),
]  # fmt: skip

# Header of a library → the name that the rows use.
LIBRARIES = {
    "microhttpd.h": "microhttpd",
    "jansson.h": "jansson",
    "jwt.h": "jwt",
    "uv.h": "uv",
    "libwebsockets.h": "libwebsockets",
    "ini.h": "ini",
    "curl/curl.h": "curl",
    "pcre2.h": "pcre2",
    "archive.h": "archive",
    "archive_entry.h": "archive",
    "lzma.h": "lzma",
    "cmocka.h": "cmocka",
}

# Libraries with one owner. The owner is a file or a folder; tests are free.
OWNERS = {
    "microhttpd": "agent/http/", "jwt": "agent/auth.c", "ini": "agent/config_file.c", "curl": "agent/webhook/",
    "pcre2": "handlers/files/pattern.c", "archive": "handlers/files/",
    "lzma": "handlers/files/unpack_filter.c",
}  # fmt: skip

# Made by meson, below the build root.
GENERATED = {"build_config.h", "handlers/console/embedded_files.h"}

OWN, SYSTEM, LIBRARY, OURS = range(4)

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')


def row_of(name):
    return next((row for row in ROWS if name.startswith(row[0])), None)


def own_folder(name):
    return name.rsplit("/", 1)[0] + "/"


def may_include(name, included, allowed):
    # In the folder agent/ itself, files are neighbours of their own header only.
    folder = own_folder(name)
    if folder != "agent/" and folder != "handlers/" and included.startswith(folder):
        return True
    if stem(included) == stem(name):
        return True
    return included.startswith(allowed)


def stem(name):
    return name.rsplit(".", 1)[0]


def check_include(tree, path, number, quoted, system):
    name = tree.name(path)
    _, allowed, libraries = row_of(name)

    if system is not None:
        library = "nettle" if system.startswith("nettle/") else LIBRARIES.get(system)
        if library is None:
            return
        if library not in libraries:
            tree.report(path, number, f"{system} does not belong here")
        elif library in OWNERS and not name.startswith((OWNERS[library], "tests/")):
            tree.report(path, number, f"{system} belongs to {OWNERS[library]} alone")
        return

    if quoted in GENERATED:
        return
    if quoted in LIBRARIES:
        tree.report(path, number, f"write <{quoted}> for a library")
    elif "/" not in quoted:
        tree.report(path, number, f'write the folder too: "{own_folder(name)}{quoted}"')
    elif not (tree.root / quoted).is_file():
        tree.report(path, number, f'no file "{quoted}" below the source root')
    elif not may_include(name, quoted, allowed):
        tree.report(path, number, f'{name} must not include "{quoted}"')


def check_order(tree, path, includes):
    """Own header first, then system, then libraries, then ours; alphabetical within each group.

    The own header is the header of the same name, or of the module that the file is a part of, or of what a
    test tests: whatever comes first. `includes` has (group, text, line number)."""
    for (group, text, _), (next_group, next_text, number) in zip(includes, includes[1:]):
        if next_group < group:
            tree.report(path, number, "order of includes: own header, system, libraries, ours")
            return
        if next_group == group and next_text < text:
            tree.report(path, number, f'includes are alphabetical: "{next_text}" comes before "{text}"')

    own = path.with_suffix(".h")
    if path.suffix == ".c" and own.is_file() and includes:
        _, first, number = includes[0]
        if first not in (tree.name(own), f"{stem(tree.name(path))}_private.h"):
            tree.report(path, number, f'"{tree.name(own)}" comes first')


def group_of(quoted, system, is_first):
    if system is not None:
        return LIBRARY if system in LIBRARIES or system.startswith("nettle/") else SYSTEM
    return OWN if is_first else OURS


def check_file(tree, path):
    if row_of(tree.name(path)) is None:
        tree.report(path, 1, "no row of check_includes.py covers this file")
        return
    includes = []
    previous = ""
    for number, line in lines_of(path):
        match = INCLUDE.match(line)
        if match:
            quoted, system = match.groups()
            check_include(tree, path, number, quoted, system)
            # The log's header comes after the module's name for it, wherever that is defined.
            if not previous.startswith("#define LOG_MODULE"):
                includes.append((group_of(quoted, system, not includes), quoted or system, number))
        previous = line
    # cmocka wants its own choice of system headers before it, so tests order ours alone.
    if tree.name(path).startswith("tests/unit/"):
        includes = [include for include in includes if include[0] in (OWN, OURS)]
    check_order(tree, path, includes)


def main():
    tree = Tree(sys.argv[1])
    for path in tree.c_files():
        check_file(tree, path)
    tree.exit()


main()
