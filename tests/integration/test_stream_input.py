# SPDX-License-Identifier: Apache-2.0
"""The streaming endpoints: what clients send while a program runs."""

import base64
import hashlib
import signal
import threading

import pytest

from lib import procfs
from lib.stream import CODE, COMMANDS, Stream, expect_end, run
from lib.waiting import is_plain_build, wait_until


def test_input_and_its_end(agent):
    with Stream(agent, COMMANDS) as stream:
        stream.execute(command="cat")
        for piece in ("one ", "h\u00e9llo\0", ""):
            stream.send(type="input", data=piece)
        stream.send(type="input", data=base64.b64encode(bytes([0, 10, 65])).decode(), encoding="base64")
        stream.send(type="eof")
        stream.finish()
    assert stream.stdout == "one h\u00e9llo\0\0\nA"
    expect_end(stream)


def test_the_end_may_come_with_the_last_input(agent):
    with Stream(agent, COMMANDS) as stream:
        stream.execute(command="wc", args=["-c"])
        stream.send(type="input", data="12345", eof=True)
        stream.finish()
    assert stream.stdout == "5\n"


@pytest.mark.parametrize("size", range(7))
def test_base64(agent, size):
    data = bytes(range(65, 65 + size))
    with Stream(agent, COMMANDS) as stream:
        stream.execute(command="cat")
        stream.send(type="input", data=base64.b64encode(data).decode(), encoding="base64", eof=True)
        stream.finish()
    assert stream.stdout.encode() == data


@pytest.mark.parametrize("data", ["a", "YQ=", "Y===", "YQ==YQ==", "Y Q=", "\u00e9\u00e9", "YWJj\n", "-_-_"])
def test_what_is_no_base64(agent, data):
    with Stream(agent, COMMANDS) as stream:
        stream.execute(command="cat")
        stream.send(type="input", data=data, encoding="base64")
        error = stream.receive()
        assert (error["code"], error["details"]) == ("INVALID_REQUEST", {"field": "/data"})
        stream.send(type="input", data="fine", eof=True)
        stream.finish()
    assert stream.stdout == "fine"


def test_input_given_with_the_execution(agent):
    stream = run(agent, CODE, code="import sys; print(repr(sys.stdin.read()))", stdin="h\u00e9\n")
    assert stream.stdout == "'h\u00e9\\n'\n"
    stream = run(agent, CODE, code="import sys; print(repr(sys.stdin.read()))", stdin="")
    assert stream.stdout == "''\n"
    stream = run(agent, COMMANDS, command="cat", stdin="YWJj", stdin_encoding="base64")
    assert stream.stdout == "abc"
    with Stream(agent, COMMANDS) as stream:
        stream.execute(command="cat; exec sleep 1000", stdin="given")
        stream.read_until("given")
        stream.send(type="input", data="more")
        error = stream.receive()
        assert (error["type"], error["details"]) == ("error", {"field": "/data"})
        stream.send(type="kill")
        stream.finish()


def test_large_input_waits_for_the_program(agent):
    """Messages are not taken while the program does not read: nothing is refused, nothing is lost."""
    piece, n = "0123456789" * 100_000, 40
    agent_kib = procfs.status_kib(agent.pid, "VmRSS")
    with Stream(agent, COMMANDS) as stream:
        stream.execute(command="echo ready; while [ ! -e go ]; do sleep 0.01; done; sha256sum", workdir=".")
        stream.read_until("ready\n")

        def pour():
            for _ in range(n):
                stream.send(type="input", data=piece)
            stream.send(type="eof")

        thread = threading.Thread(target=pour)
        thread.start()
        thread.join(timeout=0.5)
        assert thread.is_alive(), "somebody has taken 40 MB"
        if is_plain_build():
            assert procfs.status_kib(agent.pid, "VmRSS") < agent_kib + 16 * 1024
        (agent.workspace / "go").touch()
        stream.finish()
        thread.join()
    expect_end(stream)
    assert stream.stdout.split()[1] == hashlib.sha256(piece.encode() * n).hexdigest()
    assert not stream.of("error")


def test_input_that_nobody_reads(agent):
    """One error, however much is poured in, and the program goes on."""
    with Stream(agent, COMMANDS) as stream:
        stream.execute(command="exec <&-; echo closed; exec sleep 1000")
        stream.read_until("closed\n")
        for _ in range(3):
            stream.send(type="input", data="x" * 100_000)
        stream.send(type="kill")
        stream.finish()
    errors = stream.of("error")
    assert len(errors) == 1 and errors[0]["details"] == {"field": "/data"}
    expect_end(stream, 137, "cancelled")


# Signals


@pytest.mark.parametrize("name", ["SIGINT", "INT", "int", "2"])
def test_interrupt(agent, name):
    with Stream(agent, CODE) as stream:
        stream.execute(code="import time\nprint('up')\ntry:\n  time.sleep(1000)\nexcept KeyboardInterrupt:\n  print('^C')")
        stream.read_until("up\n")
        stream.send(type="signal", signal=name)
        stream.finish()
    assert stream.stdout == "up\n^C\n"
    expect_end(stream)


def test_a_signal_that_ends_the_program(agent):
    with Stream(agent, COMMANDS) as stream:
        stream.execute(command="echo up; exec sleep 1000")
        stream.read_until("up\n")
        stream.send(type="signal", signal="SIGUSR1")
        stream.finish()
    assert expect_end(stream, 128 + signal.SIGUSR1, "signal")["signal"] == signal.SIGUSR1


@pytest.mark.parametrize("name", ["SIGNONE", "0", "65", "-2", "SIG", "99999999999999999999"])
def test_unknown_signals(agent, name):
    with Stream(agent, COMMANDS) as stream:
        stream.execute(command="echo up; cat")
        stream.read_until("up\n")
        stream.send(type="signal", signal=name)
        error = stream.receive()
        assert (error["type"], error["details"]) == ("error", {"field": "/signal"})
        assert name[:5] in error["message"]
        stream.send(type="eof")
        stream.finish()
    expect_end(stream)


def test_kill(agent):
    with Stream(agent, COMMANDS) as stream:
        stream.execute(command="echo up; sleep 1000 & sleep 1000")
        stream.read_until("up\n")
        stream.send(type="kill")
        stream.finish()
    expect_end(stream, 137, "cancelled")
    wait_until(lambda: not agent.survivors(), lambda: procfs.describe(agent.survivors()))
