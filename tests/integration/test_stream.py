# SPDX-License-Identifier: Apache-2.0
"""GET /execute/stream and /commands/stream: what is asked for, what comes, and how it ends."""

import json
import shutil

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from lib import procfs
from lib.expect import TIMESTAMP
from lib.stream import CODE, COMMANDS, Stream, expect_end, expect_refusal, run
from lib.waiting import wait_until

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="no node")
needs_go = pytest.mark.skipif(shutil.which("go") is None, reason="no go")

LANGUAGES = {
    "python": "import sys\nprint(6 * 7)\nsys.stderr.write('err')",
    "javascript": "console.log(6 * 7); process.stderr.write('err')",
    "bash": "echo $((6 * 7)); printf err >&2",
    "go": 'package main\nimport ("fmt"; "os")\nfunc main() { fmt.Println(6 * 7); fmt.Fprint(os.Stderr, "err") }',
}


# What comes


@pytest.mark.smoke
@pytest.mark.parametrize(
    "language",
    ["python", pytest.param("javascript", marks=needs_node), "bash", pytest.param("go", marks=needs_go)],
)
def test_every_language(agent, language):
    stream = run(agent, CODE, code=LANGUAGES[language], language=language)
    result = expect_end(stream)
    assert (stream.stdout, stream.stderr) == ("42\n", "err")
    assert result["language"] == language
    assert (result["stdout_bytes"], result["stderr_bytes"]) == (3, 3)


@pytest.mark.parametrize("path", ["/stream", "/stream/ipython"])
def test_other_names(agent, path):
    assert run(agent, path, code="print(1)").stdout == "1\n"


@pytest.mark.parametrize("type", ["execute", "run"])
def test_both_types(agent, type):
    assert run(agent, CODE, type=type, code="print(1)").stdout == "1\n"
    assert run(agent, COMMANDS, type=type, command="echo 1").stdout == "1\n"


def test_commands(agent, tmp_path):
    stream = run(agent, COMMANDS, command="echo $A; pwd; exit 3", env={"A": "abc"}, workdir=str(tmp_path))
    assert stream.stdout == f"abc\n{tmp_path}\n"
    assert expect_end(stream, 3)["command"] == "echo $A; pwd; exit 3"
    stream = run(agent, COMMANDS, command="printf", args=["%s|", "a b", "$HOME", ""])
    assert stream.stdout == "a b|$HOME||"
    expect_end(stream)


def test_environment_and_directory(agent, tmp_path):
    code = "import os; print(os.environ['A'], os.getcwd())"
    assert run(agent, CODE, code=code, env={"A": 1}, workdir=str(tmp_path)).stdout == f"1 {tmp_path}\n"
    assert run(agent, CODE, code="import os; print(os.getcwd())").stdout == f"{agent.workspace}\n"


def test_the_features_and_the_token(agent):
    assert agent.anonymous.get("/health").json()["features"]["websocket_streaming"] is True
    with pytest.raises(InvalidStatus) as caught:
        Stream(agent, CODE, headers={})
    assert caught.value.response.status_code == 401


def test_frames_tell_where_they_are(agent):
    stream = run(agent, CODE, code="for i in range(2000): print(i)")
    position = 0
    for message in stream.of("stdout"):
        assert message["offset"] == position
        position += len(message["data"].encode())
        assert message["end"] == position
        assert TIMESTAMP.match(message["timestamp"])
    assert position == expect_end(stream)["stdout_bytes"] == len(stream.stdout)


def test_output_comes_while_the_program_runs(agent):
    """The program waits for an answer to what it printed."""
    with Stream(agent, CODE) as stream:
        stream.execute(code="print('name?', end='')\nprint('hello', input())\nprint('age?', end='')\nprint(input())")
        assert stream.receive()["data"] == "name?"
        stream.send(type="input", data="Ann\n")
        assert stream.read_until("hello Ann\nage?")
        stream.send(type="input", data="7\n")
        stream.finish()
    assert stream.stdout == "name?hello Ann\nage?7\n"
    expect_end(stream)


@pytest.mark.parametrize(
    "language, code",
    [
        ("bash", "echo one; read x; echo $x"),
        pytest.param(
            "javascript",
            "console.log('one'); process.stdin.once('data', d => { process.stdout.write(d); process.exit() })",
            marks=needs_node,
        ),
        pytest.param(
            "go",
            'package main\nimport "fmt"\nfunc main() { var s string; fmt.Println("one"); fmt.Scanln(&s); fmt.Println(s) }',
            marks=needs_go,
        ),
    ],
)
def test_other_languages_are_not_buffered_either(agent, language, code):
    with Stream(agent, CODE) as stream:
        stream.execute(code=code, language=language)
        assert stream.receive()["data"] == "one\n"
        stream.send(type="input", data="two\n")
        stream.finish()
    assert stream.stdout == "one\ntwo\n"


def test_order_of_the_two_streams(agent):
    """Each piece waits until the one before has been seen."""
    with Stream(agent, COMMANDS) as stream:
        stream.execute(command="for i in 1 2 3 4 5; do echo out $i; read x; echo err $i >&2; read x; done")
        for i in range(1, 6):
            for type, data in (("stdout", f"out {i}\n"), ("stderr", f"err {i}\n")):
                message = stream.receive()
                assert (message["type"], message["data"]) == (type, data)
                stream.send(type="input", data="\n")
        stream.finish()
    expect_end(stream)


def test_alternating_output_of_a_program_that_is_faster(agent):
    code = "import os\nfor i in range(20000): os.write(1 + i % 2, b'%d\\n' % i)"
    stream = run(agent, CODE, code=code)
    expect_end(stream)
    assert stream.stdout == "".join(f"{i}\n" for i in range(0, 20000, 2))
    assert stream.stderr == "".join(f"{i}\n" for i in range(1, 20000, 2))


def test_characters_that_come_in_pieces(agent):
    """Also when the other stream speaks in between."""
    code = (
        "import os\n"
        "for b in 'h\u00e9\u4e16\U0001f600'.encode():\n"
        "  os.write(1, bytes([b])); os.write(2, b'.'); input()"
    )
    with Stream(agent, CODE) as stream:
        stream.execute(code=code)
        for dots in range(1, 11):
            stream.wait_for(lambda dots=dots: stream.stderr == "." * dots)
            stream.send(type="input", data="\n")
        stream.finish()
    assert stream.stdout == "h\u00e9\u4e16\U0001f600"
    assert [m["data"] for m in stream.of("stdout")] == list("h\u00e9\u4e16\U0001f600")


def test_output_that_is_no_text(agent):
    stream = run(agent, COMMANDS, command=r"printf 'a\377b\360\237'; printf '\342\202' >&2; printf 'c\303'")
    assert stream.stdout == "a\ufffdb\ufffdc\ufffd"
    assert stream.stderr == "\ufffd"
    assert expect_end(stream)["stdout_bytes"] == 7


def test_control_characters(agent):
    assert run(agent, CODE, code=r"print(''.join(map(chr, range(128))), end='')").stdout == "".join(
        map(chr, range(128))
    )


def test_large_code(agent):
    code = f"x = '{'y' * 3_000_000}'\nprint(len(x), input())"
    with Stream(agent, CODE) as stream:
        stream.execute(code=code)
        stream.send(type="input", data="early\n")  # while the code is being written
        stream.finish()
    assert stream.stdout == "3000000 early\n"


# How it ends


@pytest.mark.parametrize(
    "code, exit_code",
    [("raise ValueError('boom')", 1), ("import sys; sys.exit(3)", 3), ("def f(:", 1), ("", 0)],
)
def test_ends_of_programs(agent, code, exit_code):
    stream = run(agent, CODE, code=code)
    expect_end(stream, exit_code)
    assert ("boom" in stream.stderr) == ("boom" in code)


def test_a_timeout_is_a_result(agent):
    stream = run(agent, CODE, code="import sys, time\nprint('a')\nsys.stderr.write('b')\ntime.sleep(1000)", timeout=0.5)
    result = expect_end(stream, 124, "timeout")
    assert (stream.stdout, stream.stderr) == ("a\n", "b\nvm-agent: timed out after 0.5 s\n")
    assert (result["stdout_bytes"], result["stderr_bytes"]) == (2, 1)
    stream = run(agent, COMMANDS, command="exec sleep 1000", timeout=0.1)
    assert stream.stderr == "vm-agent: timed out after 0.1 s\n"


def test_a_program_that_leaves_another_behind(agent):
    stream = run(agent, COMMANDS, command="sleep 1000 & echo started; echo $! > pid")
    assert stream.stdout == "started\n"
    expect_end(stream)
    pid = int((agent.workspace / "pid").read_text())
    assert procfs.is_running(pid)
    agent.run(f"kill {pid}")


# endpoint, message, code, field
REFUSED_BY_THE_RUN = [
    (CODE, {"code": "1", "workdir": "/no/such/dir"}, "WORKDIR_NOT_FOUND", "/workdir"),
    (CODE, {"code": "1", "env": {"PATH": "/nowhere"}}, "RUNTIME_NOT_AVAILABLE", "/language"),
    (CODE, {"code": "1", "encoding": "base64"}, "INVALID_REQUEST", "/encoding"),
    (CODE, {"code": "1", "stdin": "?", "stdin_encoding": "base64"}, "INVALID_REQUEST", "/stdin"),
    (COMMANDS, {"command": "no-such-program", "args": []}, "COMMAND_NOT_FOUND", "/command"),
    (COMMANDS, {"command": "/etc/passwd", "args": []}, "COMMAND_NOT_EXECUTABLE", "/command"),
    (COMMANDS, {"command": "true", "args": ["x" * 100_000] * 30}, "INVALID_REQUEST", "/args"),
]


@pytest.mark.parametrize("path, fields, code, field", REFUSED_BY_THE_RUN)
def test_what_cannot_be_started(agent, path, fields, code, field):
    expect_refusal(run(agent, path, **fields), code, field)


REFUSED_MESSAGES = [
    (CODE, {"type": "execute"}, "MISSING_PARAMETER", "/code"),
    (CODE, {"type": "execute", "code": 1}, "INVALID_REQUEST", "/code"),
    (CODE, {"type": "execute", "code": "1", "language": "cobol"}, "INVALID_REQUEST", "/language"),
    (CODE, {"type": "execute", "code": "1", "timeout": "soon"}, "INVALID_REQUEST", "/timeout"),
    (CODE, {"type": "execute", "code": "1", "env": {"A B": "1"}}, "INVALID_REQUEST", "/env/A B"),
    (CODE, {"type": "execute", "command": "ls"}, "MISSING_PARAMETER", "/code"),
    (COMMANDS, {"type": "run"}, "MISSING_PARAMETER", "/command"),
    (COMMANDS, {"type": "run", "command": "ls", "args": "-l"}, "INVALID_REQUEST", "/args"),
    (CODE, {"type": "dance"}, "INVALID_REQUEST", "/type"),
    (CODE, {"code": "print(1)"}, "MISSING_PARAMETER", "/type"),
    (CODE, {"type": "input", "data": 5}, "INVALID_REQUEST", "/data"),
    (CODE, "{", "INVALID_JSON", None),
    (CODE, "[]", "INVALID_JSON", None),
    (CODE, "x" * 100_000, "INVALID_JSON", None),
]


@pytest.mark.parametrize("path, message, code, field", REFUSED_MESSAGES)
def test_messages_that_start_nothing(agent, path, message, code, field):
    """Clients wait for "complete", whatever they have sent."""
    with Stream(agent, path) as stream:
        stream.send_text(message if isinstance(message, str) else json.dumps(message))
        stream.finish()
    expect_refusal(stream, code, field)


@pytest.mark.parametrize("type", ["input", "eof", "signal", "kill"])
def test_messages_before_the_execution(agent, type):
    with Stream(agent, CODE) as stream:
        stream.send(type=type, data="x", signal="INT")
        stream.finish()
    expect_refusal(stream, "INVALID_REQUEST", "/type")


def test_messages_after_the_end(agent):
    """The execution is over while its output is still on its way."""
    with Stream(agent, COMMANDS) as stream:
        stream.execute(command="yes | head -c 3000000; touch written", workdir=str(agent.workspace))
        wait_until((agent.workspace / "written").exists, "the last thing that it does")
        wait_until(lambda: agent.gauges()["processes_running"] == 0, "the end of the program")
        for type in ("input", "signal", "kill", "execute"):
            stream.send(type=type, data="x", signal="INT", command="echo second")
        stream.finish()
    assert len(stream.stdout) == 3_000_000 and "second" not in stream.stdout
    expect_end(stream)


@pytest.mark.parametrize("message", ["{", '{"type":"dance"}', '{"type":"input","data":1}'])
def test_bad_messages_while_it_runs(agent, message):
    with Stream(agent, COMMANDS) as stream:
        stream.execute(command="echo up; cat")
        stream.read_until("up\n")
        stream.send_text(message)
        assert stream.receive()["type"] == "error"
        stream.send(type="input", data="still here", eof=True)
        stream.finish()
    assert stream.stdout == "up\nstill here"
    expect_end(stream)


def test_a_second_execution_is_refused_and_the_first_goes_on(agent):
    with Stream(agent, CODE) as stream:
        stream.execute(code="print('up'); print(input())")
        stream.read_until("up\n")
        stream.execute(code="print('second')")
        error = stream.receive()
        assert (error["type"], error["details"]) == ("error", {"field": "/type"})
        stream.send(type="input", data="first\n")
        stream.finish()
    assert stream.stdout == "up\nfirst\n"
    expect_end(stream)


def test_pings_are_answered_before_and_while_it_runs(agent):
    with Stream(agent, CODE) as stream:
        stream.send(type="ping")
        assert stream.receive()["type"] == "pong"
        stream.execute(code="print('up'); input()")
        stream.read_until("up\n")
        stream.send(type="ping")
        assert stream.receive()["type"] == "pong"
        assert stream.socket.ping().wait(10)
        stream.send(type="eof")
        stream.finish()


def test_the_limit_on_processes(new_agent):
    agent = new_agent(max_processes=1)
    with Stream(agent, CODE) as first:
        first.execute(code="print('up'); input()")
        first.read_until("up\n")
        expect_refusal(run(agent, CODE, code="print(1)"), "RATE_LIMIT_EXCEEDED")
        first.send(type="eof")
        first.finish()
    expect_end(first, 1)


def test_the_limit_on_connections(new_agent):
    agent = new_agent(max_websockets=1)
    with Stream(agent, CODE):
        with pytest.raises(InvalidStatus) as caught:
            Stream(agent, CODE)
        assert caught.value.response.status_code == 429
    agent.wait_until_idle()


def test_the_connection_is_closed_at_the_end(agent):
    """By the server, if the client does not."""
    with Stream(agent, CODE) as stream:
        stream.execute(code="print(1)")
        stream.finish()
        with pytest.raises(ConnectionClosed) as caught:
            stream.socket.recv(timeout=10)
        assert caught.value.rcvd.code == 1000


def test_executions_are_counted(new_agent):
    agent = new_agent()
    run(agent, CODE, code="print(1)")
    run(agent, CODE, code="1/0")
    run(agent, CODE, code="1", workdir="/no/such/dir")
    snapshot = agent.http.get("/metrics/snapshot").json()
    assert snapshot["total_executions"] == 3
    agent.wait_until_idle()
