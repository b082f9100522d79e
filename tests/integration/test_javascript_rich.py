# SPDX-License-Identifier: Apache-2.0
"""The value of the last expression of JavaScript programs, and what display() sends."""

import base64
import errno
import os
import shutil

import pytest

from lib.js_driver import RICH_FD, Child, DRIVER, Waiting, environment, run_cold

pytestmark = [
    pytest.mark.plain_build,
    pytest.mark.skipif(shutil.which("node") is None, reason="no node"),
]

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

# Source and the value that is shown: None for none.
LAST = [
    ("1 + 1", "2"),
    ("'text'", "'text'"),
    ("undefined", None),
    ("null", "null"),
    ("", None),
    ("// comment", None),
    ("5;", "5"),
    ("5; // five", "5"),
    ("5 // see http://x/y", "5"),
    ("5 /* five */", "5"),
    ("5; /* a */ // b", "5"),
    ("'http://x'", "'http://x'"),
    ("const a = 4; a * 2", "8"),
    ("const a = 4; a * 2; // eight;", "8"),
    ("let a = 4\na", "4"),
    ("let a = 4 // http://x\na", "4"),
    ("let a = 'http://x'\na", "'http://x'"),
    ("let a = 'http://x' // b // c\na", "'http://x'"),
    ("let a = 1 /* // */\na", "1"),
    ("// first\n\n3", "3"),
    ("/* first\n*/\n3", "3"),
    ("#!/usr/bin/env node\n3", None),
    ("#!/usr/bin/env node\nlet a = 3\na", "3"),
    ("#!/usr/bin/env node\nconst a = await 3\na", "3"),
    ("[1, 2]", "[ 1, 2 ]"),
    ("({ a: 1 })", "{ a: 1 }"),
    ("const a = 1;\n({ a })", "{ a: 1 }"),
    ("const a = 1;\n[a]", "[ 1 ]"),
    ("const a = [7]\n[0]", None),
    ("const a = [7]\n[0];\na", "7"),
    ("const f = (x) => x\n(5)", None),
    ("const f = (x) => x;\n(5)", "5"),
    ("const f = (x) => x // ;\n(5)", None),
    ("const f = function () {}\n(5)", None),
    ("const a = 1\n+ 2", None),
    ("const a = 1\n- 2\na", "-1"),
    ("let a = 1\n++a", "2"),
    ("const t = (x) => x\n`a`", None),
    ("const t = 1;\n`a\nb`", "'a\\nb'"),
    ("`a\n5\nb`", "'a\\n5\\nb'"),
    ("const a = 2, g = 1\n/2/g", None),
    ("const a = 2;\n/2/g.test('2')", "true"),
    ("Math.max(\n  1,\n  2\n)", "2"),
    ("[1, 2]\n  .map((x) => x * 2)\n  .join()", "'2,4'"),
    ("const a = 1;\n[1, 2]\n  .map((x) => x * 2)\n  .join()", "'2,4'"),
    ("const o = {\n  a: 1,\n}\no", "{ a: 1 }"),
    ("if (true)\n  5", None),
    ("if (true) { 5 }", None),
    ("if (false) 1\nelse\n  5", None),
    ("for (const x of [1])\n  x", None),
    ("label:\n5", None),
    ("do 5\nwhile (false)", None),
    ("while (false);\n5", "5"),
    ("function f() {}", None),
    ("class A {}", None),
    ("async function f() {}", None),
    ("function f() { return 1; }\nf()", "1"),
    ("let x = 1;\nx = 5", "5"),
    ("1, 2", None),
    ("const a = 1, b = 2\na, b", None),
    ("(1, 2)", "2"),
    ("true ? 1 : 2", "1"),
    ("const a = true ?\n  1 : 2", None),
    ("const a = 1 +\n2", None),
    ("let\nx", None),
    ("return 1\n5", None),
    ("typeof 1", "'number'"),
    ("void 0", None),
    ("!0", "true"),
    ("-1", "-1"),
    ("() => 1", "[Function (anonymous)]"),
    ("async () => 1", "[AsyncFunction (anonymous)]"),
    ("new Map([[1, 2]])", "Map(1) { 1 => 2 }"),
    ("Promise.resolve(1)", "Promise { 1 }"),
    ("'use strict'\n5", "5"),
    ("'use strict';\n(function () { return this; })()", None),
    ("'use strict'; [(function () { return this; })()]", "[ undefined ]"),
    ("console.log(1)", None),
    ("throw new Error('x')\n5", None),
    ("process.exit(0)\n5", None),
    ("é = 5\né", "5"),
    ("'\u2028'", "'\u2028'"),
    ("5\r\n", "5"),
    ("let a = 4 // x\r\na\r\n", "4"),
    ("a = 1;;;\n5;;", "5"),
    ("this === module.exports", "true"),
    ("__last = 1; 5", None),
    ("1n", "1n"),
    ("await 5", "5"),
    ("await null\n7", "7"),
    ("import fs from 'fs'\ntypeof fs", "'object'"),
    ("import { join } from 'path'\njoin('a', 'b')", "'a/b'"),
    ("import {\n  join,\n} from 'path';\n\njoin('a', 'b')", "'a/b'"),
    ("import 'fs'\nexport const a = 1\nexport default class {}\na", "1"),
    ("import 'fs'\nexport default 5", None),
    ("import 'fs'\nexport { x as y }\nconst x = 1\nx", "1"),
    ("typeof import.meta.url", "'string'"),
    ("const x = await Promise.resolve([1])\nx", "[ 1 ]"),
    ("import('fs')", "Promise { <pending> }"),
    ("import * as fs from 'fs'\nimport{sep}from'path'\nsep", "'/'"),
    ("5\n" + "// filler\n" * 30000, None),
    # What takes long to look at is not looked at.
    ("5" + ";" * 200000, None),
    ("\n" * 200000 + "(5)", "5"),
    ("import 'fs'\nvar " + " " * 200000 + "a\na", None),
]

BATCH = 16


def write(tmp_path, source):
    script = tmp_path / "script"
    script.write_bytes(source.encode())
    (tmp_path / "work").mkdir(exist_ok=True)
    return script, tmp_path / "work"


def run(tmp_path, source, **more):
    return run_cold(*write(tmp_path, source), **more)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Each program of LAST, started like any other by several waiting drivers at a time."""
    root = tmp_path_factory.mktemp("last")
    outcomes = []
    for first in range(0, len(LAST), BATCH):
        drivers = []
        for i, (source, _) in enumerate(LAST[first : first + BATCH], first):
            script = root / f"{i}.script"
            script.write_bytes(source.encode())
            drivers.append(Waiting())
            drivers[-1].give(script, root)
        outcomes += [driver.finish() for driver in drivers]
    return outcomes


@pytest.mark.parametrize("index", range(len(LAST)), ids=[repr(source[:40]) for source, _ in LAST])
def test_last_value(results, index):
    assert results[index].result == LAST[index][1], results[index]


@pytest.mark.parametrize(
    "source, line, column, excerpt",
    [
        ("const a = 1;\n  // two\n  null.x // three\n", 3, 8, "  null.x // three\n       ^"),
        ("null.x", 1, 6, "null.x\n     ^"),
        ("const a = 1\n\nawait null.x", 3, 12, "await null.x\n           ^"),
        ("[1]\n  .map((x) =>\n    x.y.z)", 3, 9, "    x.y.z)\n        ^"),
    ],
)
def test_errors_keep_their_place(tmp_path, source, line, column, excerpt):
    outcome = run(tmp_path, source)
    assert outcome.status == 1
    stderr = outcome.stderr.decode()
    assert f"main.js:{line}\n{excerpt}\n" in stderr
    assert f"main.js:{line}:{column}" in stderr
    assert outcome.rich == []


def test_display(tmp_path):
    outcome = run(
        tmp_path,
        f"""
        const png = Buffer.from('{base64.b64encode(PNG).decode()}', 'base64');
        display('text/html', '<b>ä</b>', {{ width: 5 }});
        display('image/png', png);
        display('image/jpeg', new Uint8Array([1, 2, 3]).buffer);
        display('image/gif', 'AAAA\\nBBBB');
        display('image/svg+xml', '<svg/>');
        display('text/markdown', Buffer.from('# x'));
        display('application/json', {{ a: [1, null] }});
        display('application/vnd.vegalite.v5+json', []);
        display(png); display(new Uint8Array(png)); display('text'); display({{ a: 1 }}); display([1]); display(null);
        display({{ [Symbol.for('Jupyter.display')]: () => ({{ 'text/html': '<i>', 'text/plain': 'i' }}) }});
        """,
    )
    assert outcome.status == 0, outcome.stderr
    assert all(line["timestamp"].endswith("Z") for line in outcome.rich)
    assert outcome.rich[0]["metadata"] == {"width": 5}
    encoded = base64.b64encode(PNG).decode()
    assert [(line["type"], line["format"], line["data"]) for line in outcome.rich] == [
        ("text/html", "html", "<b>ä</b>"),
        ("image/png", "base64", encoded),
        ("image/jpeg", "base64", "AQID"),
        ("image/gif", "base64", "AAAABBBB"),
        ("image/svg+xml", "text", "<svg/>"),
        ("text/markdown", "text", "# x"),
        ("application/json", "json", {"a": [1, None]}),
        ("application/vnd.vegalite.v5+json", "json", []),
        ("image/png", "base64", encoded),
        ("image/png", "base64", encoded),
        ("text/plain", "text", "text"),
        ("application/json", "json", {"a": 1}),
        ("application/json", "json", [1]),
        ("application/json", "json", None),
        ("text/html", "html", "<i>"),
        ("text/plain", "text", "i"),
    ]


def test_wrong_arguments_of_display(tmp_path):
    """Each throws a TypeError that says what to do."""
    wrong = [
        ("display()", "nothing to show"),
        ("display(undefined)", "nothing to show"),
        ("display('html', '<b>')", 'must be a MIME type such as "text/html", not "html"'),
        ("display(5, 'x')", "must be a MIME type"),
        ("display('text/html', 5)", "data of text/html must be a string, not number"),
        ("display('image/png', {})", "must be a Buffer, a Uint8Array or a string in base64, not an object of Object"),
        ("display('image/png', 'no base64!')", "must be a Buffer, a Uint8Array or a string in base64"),
        ("display('application/json', 1n)", "cannot be written as JSON"),
        ("display('application/json', undefined)", "it is undefined"),
        ("display('text/html', 'x', 5)", "metadata must be an object"),
        ("display(Buffer.from([1]))", 'display("image/jpeg", data)'),
        ("const a = []; a[0] = a; display(a)", "cannot be written as JSON"),
    ]
    calls = "".join(
        f"try {{ (() => {{ {code} }})(); console.log('no error') }} catch (e) {{ console.log(e.name, e.message) }}\n"
        for code, _ in wrong
    )
    outcome = run(tmp_path, calls)
    lines = outcome.stdout.decode().splitlines()
    assert len(lines) == len(wrong)
    for line, (code, text) in zip(lines, wrong, strict=True):
        assert line.startswith("TypeError display: ") and text in line, code
    assert outcome.rich == []


@pytest.mark.parametrize(
    "source, shown, dropped",
    [
        ("for (let i = 0; i < 105; i++) display('text/plain', String(i));", 100, 5),
        ("const s = 'x'.repeat(7 << 20); for (let i = 0; i < 3; i++) display('text/plain', s); display('y')", 3, 1),
        ("display('text/plain', 'x'.repeat((8 << 20) + 1)); display('y')", 1, 1),
        ("({ [Symbol.for('nodejs.util.inspect.custom')]: () => 'x'.repeat(9 << 20) })", 0, 1),
    ],
)
def test_bounds(tmp_path, source, shown, dropped):
    rich = run(tmp_path, source).rich
    assert [line for line in rich if "type" not in line] == [{"dropped": dropped}]
    assert rich[-1] == {"dropped": dropped}
    assert len(rich) == shown + 1


def test_display_at_any_time(tmp_path):
    outcome = run(
        tmp_path,
        """
        process.on('exit', () => display('exit'));
        setTimeout(() => { display('timer'); process.exit(3); }, 1);
        require('fs').writeSync = () => { throw new Error('not this one'); };
        display('now'); process.nextTick(display, 'tick');
        """,
    )
    assert [line["data"] for line in outcome.rich if "data" in line] == ["now", "tick", "timer", "exit"]
    assert outcome.status == 3


def test_rich_forms_of_the_last_value(tmp_path):
    encoded = base64.b64encode(PNG).decode()
    rich = run(tmp_path, f"Buffer.from('{encoded}', 'base64')").rich
    assert rich[0]["type"] == "image/png" and rich[0]["data"] == encoded
    assert rich[1]["result"].startswith("<Buffer 89 50 4e 47")

    rich = run(tmp_path, "({ [Symbol.for('Jupyter.display')]: () => ({ 'text/html': '<b>' }) })").rich
    assert [line.get("type") for line in rich] == ["text/html", None]


def test_only_when_asked_for(tmp_path):
    outcome = run(tmp_path, "console.log(typeof display, typeof __last);\n5", rich=False)
    assert outcome.stdout == b"undefined undefined\n"


def test_nobody_reads(tmp_path):
    """A pipe whose other end is closed is no reason for a program to fail."""
    script, cwd = write(tmp_path, "display('x'); display('y'); console.log('done');\n5")
    child = Child(["node", str(DRIVER), f"--rich={RICH_FD}", str(script)], cwd, environment(), None, True)
    os.close(child.outputs.pop(RICH_FD))
    outcome = child.finish()
    assert (outcome.stdout, outcome.stderr, outcome.status) == (b"done\n", b"", 0)


def test_descriptors_are_for_the_driver_alone(tmp_path):
    """Neither children nor workers get them, and the job socket is closed."""
    script, cwd = write(
        tmp_path,
        """
        const list = 'for f in 4 5; do [ -e /proc/self/fd/$f ] && echo $f; done; true';
        console.log([require('child_process').execSync(list).toString()]);
        console.log(require('fs').existsSync('/proc/self/fd/5'));
        new (require('worker_threads').Worker)('console.log(typeof display)', { eval: true });
        """,
    )
    driver = Waiting()
    driver.give(script, cwd)
    assert driver.finish().stdout.decode().split() == ["[", "''", "]", "false", "undefined"]


def test_directory_that_cannot_be_entered(tmp_path):
    script, cwd = write(tmp_path, "console.log(1)")
    driver = Waiting()
    driver.give(script, cwd / "missing")
    assert driver.failure() == (1, errno.ENOENT)
    assert driver.finish().status == 126


def test_no_job(tmp_path):
    """The agent does not need the process any more, or has died."""
    driver = Waiting()
    driver.job.close()
    outcome = driver.finish()
    assert (outcome.stdout, outcome.stderr, outcome.status) == (b"", b"", 0)


def test_large_job(tmp_path):
    script, cwd = write(tmp_path, "console.log(process.env.LARGE.length, process.env.BYTES, 'LEFT_OVER' in process.env)")
    driver = Waiting()
    driver.give(script, cwd, env=environment(LARGE="x" * 60000, BYTES="ä=b"))
    assert driver.finish().stdout.decode() == "60000 ä=b false\n"
