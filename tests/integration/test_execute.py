# SPDX-License-Identifier: Apache-2.0
"""POST /execute: the languages, their names, input, environment, directories and results."""

import base64
import hashlib
import os
import shutil
import threading

import pytest

from lib.expect import expect_error, expect_result

HAS = {
    "python": True,
    "bash": True,
    "javascript": shutil.which("node") is not None,
    "go": shutil.which("go") is not None,
}

needs_node = pytest.mark.skipif(not HAS["javascript"], reason="no node")
needs_go = pytest.mark.skipif(not HAS["go"], reason="no go")

PRINT = {
    "python": "print({})",
    "javascript": "console.log({})",
    "bash": "echo $(({}))",
    "go": 'package main\nimport "fmt"\nfunc main() {{ fmt.Println({}) }}',
}

NAMES = [
    *[(name, "python") for name in ("python", "python3", "py")],
    *[pytest.param(name, "javascript", marks=needs_node) for name in ("javascript", "js", "node", "nodejs")],
    *[(name, "bash") for name in ("bash", "sh", "shell")],
    *[pytest.param(name, "go", marks=needs_go) for name in ("go", "golang")],
]


@pytest.mark.smoke
@pytest.mark.parametrize("name, language", NAMES)
def test_languages_by_all_their_names(agent, name, language):
    result = expect_result(agent.execute(PRINT[language].format("6 * 7"), name))
    assert (result["stdout"], result["stderr"]) == ("42\n", "")
    assert result["language"] == language
    assert 0 < result["execution_time"] < 60


def test_python_is_the_default(agent):
    response = agent.http.post("/execute", json={"code": "import sys; print(sys.version_info[0])"})
    assert expect_result(response)["stdout"] == "3\n"


# name, language, code, stdout, what stderr contains, exit code
PROGRAMS = [
    ("hello", "python", 'print("Hello World")', "Hello World\n", "", 0),
    ("empty", "python", "", "", "", 0),
    ("an exception", "python", 'raise ValueError("boom")', "", "ValueError: boom", 1),
    ("a syntax error", "python", "def f(:", "", "SyntaxError", 1),
    ("sys.exit(3)", "python", "import sys; print(1); sys.exit(3)", "1\n", "", 3),
    ("only stderr", "python", "import sys; print('warn', file=sys.stderr)", "", "warn\n", 0),
    ("multiple lines", "python", "def f(x):\n    return x * 2\n\nprint(f(4))", "8\n", "", 0),
    ("unicode", "python", 'print("h\u00e9llo \u4e16\u754c \U0001f600")', "h\u00e9llo \u4e16\u754c \U0001f600\n", "", 0),
    ("windows line ends", "python", "print(1)\r\nprint(2)\r\n", "1\n2\n", "", 0),
    ("a guard", "python", 'if __name__ == "__main__":\n    print("main")', "main\n", "", 0),
    ("NUL in the source", "python", "print('a\0b')", "", "SyntaxError", 1),
    ("a module of the library", "python", "import json; print(json.dumps({'a': 1}))", '{"a": 1}\n', "", 0),
    ("multiprocessing", "python", (
        "from concurrent.futures import ProcessPoolExecutor\n"
        "def square(x):\n    return x * x\n"
        "if __name__ == '__main__':\n"
        "    with ProcessPoolExecutor(2) as pool:\n        print(list(pool.map(square, [1, 2, 3])))"
    ), "[1, 4, 9]\n", "", 0),
    ("pipes", "bash", "echo abc | tr a-c x-z", "xyz\n", "", 0),
    ("false", "bash", "false", "", "", 1),
    ("exit 42", "bash", "echo out; echo err >&2; exit 42", "out\n", "err\n", 42),
    ("set -e", "bash", "set -e\necho one\nfalse\necho two", "one\n", "", 1),
    ("arrays", "bash", "a=(x y z); echo ${a[1]}", "y\n", "", 0),
    ("an unknown command", "bash", "no-such-command-here", "", "not found", 127),
    ("a here document", "bash", "cat <<'EOF'\n$HOME `x`\nEOF\n", "$HOME `x`\n", "", 0),
    ("exec", "bash", "exec echo replaced", "replaced\n", "", 0),
]  # fmt: skip

NODE_PROGRAMS = [
    ("hello", "javascript", 'console.log("Hello World")', "Hello World\n", "", 0),
    ("an exception", "javascript", 'throw new Error("boom")', "", "boom", 1),
    ("process.exit(5)", "javascript", "console.log(1); process.exit(5)", "1\n", "", 5),
    ("require", "javascript", "console.log(require('path').join('a', 'b'))", "a/b\n", "", 0),
    ("a promise", "javascript", "Promise.resolve(7).then(console.log)", "7\n", "", 0),
    ("a timer", "javascript", "setTimeout(() => console.log('late'), 20)", "late\n", "", 0),
    ("console.error", "javascript", "console.error('warn')", "", "warn\n", 0),
    ("a syntax error", "javascript", "let = ;", "", "SyntaxError", 1),
]

GO_PROGRAMS = [
    ("a file", "go", 'package main\n\nimport "fmt"\n\nfunc main() {\n\tfmt.Println("Hello World")\n}\n', "Hello World\n", "", 0),
    ("a snippet", "go", 'fmt.Println("bare")', "bare\n", "", 0),
    ("exit 3", "go", 'package main\nimport "os"\nfunc main() { os.Exit(3) }', "", "", 3),
    ("a compile error", "go", "package main\nfunc main() { undefined() }", "", "undefined", 1),
]  # fmt: skip


def programs():
    for marks, rows in ((), PROGRAMS), (needs_node, NODE_PROGRAMS), (needs_go, GO_PROGRAMS):
        for row in rows:
            yield pytest.param(*row, id=f"{row[1]}: {row[0]}", marks=marks)


@pytest.mark.parametrize("name, language, code, stdout, stderr, exit_code", list(programs()))
def test_programs(agent, name, language, code, stdout, stderr, exit_code):
    result = expect_result(agent.execute(code, language), exit_code)
    assert result["stdout"] == stdout
    assert stderr in result["stderr"]
    if not stderr and exit_code == 0:
        assert result["stderr"] == ""
    assert result["stdout_bytes"] == len(stdout.encode())
    assert not result["stdout_truncated"] and not result["stderr_truncated"]


@needs_node
def test_nul_in_javascript_text(agent):
    assert expect_result(agent.execute('console.log("a\0b".length)', "javascript"))["stdout"] == "3\n"


@pytest.mark.parametrize(
    "language, comment",
    [
        ("python", "#"),
        ("bash", "#"),
        pytest.param("javascript", "//", marks=needs_node),
        pytest.param("go", "//", marks=needs_go),
    ],
)
def test_long_code(agent, language, comment):
    code = f"{comment} {'x' * 100}\n" * 5000 + PRINT[language].format("6 * 7") + "\n"
    assert len(code) > 3 * 128 * 1024
    assert expect_result(agent.execute(code, language))["stdout"] == "42\n"


def test_many_arguments_worth_of_environment(agent):
    env = {f"VARIABLE_{n}": "x" * 1000 for n in range(500)}
    code = "import os; print(sum(name.startswith('VARIABLE_') for name in os.environ))"
    assert expect_result(agent.execute(code, env=env))["stdout"] == "500\n"


def test_environment_is_for_one_execution_only(agent):
    code = "import os; print(os.environ.get('TOKEN_OF_MINE', 'unset'))"
    assert expect_result(agent.execute(code, env={"TOKEN_OF_MINE": "1"}))["stdout"] == "1\n"
    assert expect_result(agent.execute(code))["stdout"] == "unset\n"


def test_environment_wins_over_the_agents_own(new_agent):
    agent = new_agent(environment={"FROM_THE_AGENT": "agent", "SHADOWED": "agent"})
    result = expect_result(agent.run("echo $FROM_THE_AGENT $SHADOWED", env={"SHADOWED": "request"}))
    assert result["stdout"] == "agent request\n"


def test_the_agents_own_settings_never_reach_a_child(new_agent):
    agent = new_agent(
        environment={
            "VM_AGENT_LOG_LEVEL": "info",
            "VM_AGENT_JWT_AUDIENCE": "",
            "NOTIFY_SOCKET": "/nonexistent",
            "CREDENTIALS_DIRECTORY": "/nonexistent",
            "WATCHDOG_USEC": "0",
        }
    )
    lines = expect_result(agent.run("env"))["stdout"].splitlines()
    names = {line.split("=", 1)[0] for line in lines}
    secrets = {name for name in names if name.startswith("VM_AGENT_")} - {"VM_AGENT_EXECUTION_ID", "VM_AGENT_INSTANCE"}
    assert not secrets
    assert not names & {"NOTIFY_SOCKET", "CREDENTIALS_DIRECTORY", "LISTEN_FDS", "LISTEN_PID", "WATCHDOG_USEC"}


def test_a_sane_base_environment(new_agent):
    bare = {"PATH": "/usr/bin:/bin", "HOME": "", "USER": "", "LOGNAME": "", "SHELL": ""}
    agent = new_agent(environment=bare)
    code = "import os; print(all(os.environ.get(n) for n in ('PATH', 'HOME', 'USER', 'LOGNAME', 'SHELL')))"
    assert expect_result(agent.execute(code, env={}))["stdout"] == "True\n"


def test_python_does_not_buffer(agent):
    result = agent.execute("import time\nprint('first')\ntime.sleep(100)", timeout=1)
    assert expect_result(result, 124, "timeout")["stdout"] == "first\n"


@pytest.mark.parametrize("field", ["workdir", "working_dir"])
@pytest.mark.parametrize(
    "language, code",
    [
        ("python", "import os; print(os.getcwd())"),
        ("bash", "pwd"),
        pytest.param("javascript", "console.log(process.cwd())", marks=needs_node),
        pytest.param("go", 'import "os"\nd, _ := os.Getwd()\nfmt.Println(d)', marks=needs_go),
    ],
)
def test_the_directory(agent, tmp_path, field, language, code):
    assert expect_result(agent.execute(code, language, **{field: str(tmp_path)}))["stdout"] == f"{tmp_path}\n"


def test_the_workspace_is_the_default_directory(agent):
    assert expect_result(agent.execute("pwd", "bash"))["stdout"] == f"{agent.workspace}\n"


def test_workdir_wins_over_its_alias(agent, tmp_path):
    response = agent.execute("pwd", "bash", workdir=str(tmp_path), working_dir="/")
    assert expect_result(response)["stdout"] == f"{tmp_path}\n"


def test_a_relative_directory_is_below_the_workspace(agent):
    (agent.workspace / "below").mkdir()
    assert expect_result(agent.execute("pwd", "bash", workdir="below"))["stdout"] == f"{agent.workspace}/below\n"


def test_files_beside_the_code_can_be_imported(agent):
    (agent.workspace / "my_module.py").write_text("ANSWER = 42\n")
    assert expect_result(agent.execute("import my_module; print(my_module.ANSWER)"))["stdout"] == "42\n"


def test_no_traces_are_left(agent):
    run = agent.directory / "run"
    before = sorted(os.listdir(agent.workspace))
    for language in (name for name, is_there in HAS.items() if is_there and name != "go"):
        expect_result(agent.execute(PRINT[language].format("1"), language))
    agent.wait_until_idle()
    left = [path for path in run.rglob("*") if path.is_file() and path.suffix in (".py", ".sh", ".js", ".mjs", ".cjs")]
    assert not left
    assert sorted(os.listdir(agent.workspace)) == before


# name, stdin field, encoding, what arrives
STDIN = [
    ("none", None, None, b""),
    ("empty", "", None, b""),
    ("text", "line one\nline two\n", None, b"line one\nline two\n"),
    ("unicode", "h\u00e9 \U0001f600", None, "h\u00e9 \U0001f600".encode()),
    ("NUL", "a\0b", None, b"a\0b"),
    ("more than a pipe holds", "x" * 1000000, None, b"x" * 1000000),
    ("base64", base64.b64encode(bytes(range(256))).decode(), "base64", bytes(range(256))),
    ("base64 of nothing", "", "base64", b""),
]


@pytest.mark.parametrize("name, text, encoding, wanted", [pytest.param(*row, id=row[0]) for row in STDIN])
def test_stdin(agent, name, text, encoding, wanted):
    code = "import sys, hashlib; d = sys.stdin.buffer.read(); print(len(d), hashlib.sha256(d).hexdigest())"
    fields = {"stdin": text, "stdin_encoding": encoding}
    fields = {key: value for key, value in fields.items() if value is not None}
    answer = f"{len(wanted)} {hashlib.sha256(wanted).hexdigest()}\n"
    assert expect_result(agent.execute(code, **fields))["stdout"] == answer
    response = agent.run("sha256sum | cut -d' ' -f1", **fields)
    assert expect_result(response)["stdout"] == hashlib.sha256(wanted).hexdigest() + "\n"


def test_unread_stdin_harms_nobody(agent):
    assert expect_result(agent.run("echo ignored", stdin="x" * 1000000))["stdout"] == "ignored\n"


def test_base64_gives_the_exact_bytes(agent):
    code = "import sys; sys.stdout.buffer.write(bytes(range(256))); sys.stderr.buffer.write(b'\\xff\\0')"
    result = expect_result(agent.execute(code, encoding="base64"))
    assert result["encoding"] == "base64"
    assert base64.b64decode(result["stdout"], validate=True) == bytes(range(256))
    assert base64.b64decode(result["stderr"], validate=True) == b"\xff\0"


def test_signals(agent):
    result = expect_result(agent.execute("import os; os.kill(os.getpid(), 9)"), 128 + 9, "signal")
    assert result["success"] is False
    expect_result(agent.execute("kill -TERM $$", "bash"), 128 + 15, "signal")


def test_fractions_of_seconds_are_timeouts_too(agent):
    expect_result(agent.execute("import time; time.sleep(100)", timeout=0.2), 124, "timeout")


def test_a_very_long_timeout_is_no_error(agent):
    expect_result(agent.execute("print(1)", timeout=10**9))


@pytest.mark.parametrize("language", ["javascript", "go", "python"])
def test_a_missing_interpreter_is_named(new_agent, tmp_path, language):
    if language == "go" and os.path.exists("/usr/local/go/bin/go"):
        pytest.skip("go is found outside of PATH")
    (tmp_path / "sh").symlink_to("/bin/sh")
    agent = new_agent(environment={"PATH": str(tmp_path)})
    response = agent.execute("1", language)
    document = expect_error(response, 400, "RUNTIME_NOT_AVAILABLE", "/language")
    assert {"javascript": "node", "go": "go", "python": "python3"}[language] in document["message"]
    features = agent.anonymous.get("/health").json()["features"]
    assert language not in features["languages"]


def test_executions_run_in_parallel(agent):
    """Two programs that wait for each other finish only when both run at once."""
    code = (
        "import pathlib, time\n"
        "pathlib.Path('{0}').touch()\n"
        "while not pathlib.Path('{1}').exists():\n    time.sleep(0.005)\n"
        "print('met')"
    )
    results = {}

    def run(mine, other):
        results[mine] = agent.execute(code.format(mine, other), timeout=30)

    threads = [threading.Thread(target=run, args=pair) for pair in (("ping", "pong"), ("pong", "ping"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [expect_result(results[name])["stdout"] for name in ("ping", "pong")] == ["met\n", "met\n"]


def test_no_descriptors_are_inherited(agent):
    code = "import os; print(sorted(int(fd) for fd in os.listdir('/proc/self/fd')))"
    # 3 is the directory being listed, and 4 the driver's, which no other program gets.
    assert expect_result(agent.execute(code))["stdout"] == "[0, 1, 2, 3, 4]\n"
    code = "import subprocess; subprocess.run(['ls', '/proc/self/fd'], close_fds=False)"
    assert expect_result(agent.execute(code))["stdout"].split() == ["0", "1", "2", "3"]
    assert expect_result(agent.run("ls", args=["/proc/self/fd"]))["stdout"].split() == ["0", "1", "2", "3"]


def test_signals_are_at_their_defaults(agent):
    """No blocked and no ignored signals are inherited; SIGPIPE above all."""
    result = expect_result(agent.run("grep", args=["-E", "^Sig(Blk|Ign)", "/proc/self/status"]))
    masks = {line.split()[0]: int(line.split()[1], 16) for line in result["stdout"].splitlines()}
    assert masks == {"SigBlk:": 0, "SigIgn:": 0}


def test_own_session_and_group(agent):
    code = "import os; print(os.getsid(0) == os.getpid() == os.getpgid(0))"
    assert expect_result(agent.execute(code))["stdout"] == "True\n"
