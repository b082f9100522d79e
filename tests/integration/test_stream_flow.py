# SPDX-License-Identifier: Apache-2.0
"""The streaming endpoints under load, with slow clients, and with clients that leave."""

import hashlib
import json
import signal
import socket

import pytest

from lib import procfs
from lib.stream import CODE, COMMANDS, Stream, expect_end, run
from lib.waiting import wait_until

MIB = 1024 * 1024


def written(path):
    """What a program has noted about its progress."""
    return int(path.read_text() or 0) if path.exists() else 0


def wait_until_it_stands_still(read, what):
    """Until several looks in a row see the same progress, and some."""
    seen = []

    def is_still():
        seen.append(read())
        return len(seen) > 20 and seen[-1] > 0 and len(set(seen[-20:])) == 1

    wait_until(is_still, what, timeout=20, interval=0.05)
    return seen[-1]


def test_a_flood_arrives_byte_by_byte(agent):
    """The client library refuses frames over 1 MiB."""
    size = 50_000_000
    digest, received, sizes = hashlib.sha256(), 0, []
    with Stream(agent, COMMANDS) as stream:
        stream.execute(command=f"yes | head -c {size}")
        while True:
            text = stream.socket.recv(timeout=stream.timeout)
            sizes.append(len(text))
            message = json.loads(text)
            if message["type"] != "stdout":
                break
            assert message["offset"] == received
            digest.update(message["data"].encode())
            received += len(message["data"])
        stream.messages = [message]
        stream.finish()
    assert max(sizes) <= 512 * 1024
    assert received == size
    assert digest.hexdigest() == hashlib.sha256(b"y\n" * (size // 2)).hexdigest()
    assert expect_end(stream)["stdout_bytes"] == size


def test_a_flood_on_both_streams(agent):
    code = (
        "import os\n"
        "for i in range(40000): os.write(1, b'%064d\\n' % i); os.write(2, b'%033d\\n' % i)"
    )
    stream = run(agent, CODE, code=code)
    expect_end(stream)
    assert stream.stdout == "".join(f"{i:064}\n" for i in range(40000))
    assert stream.stderr == "".join(f"{i:033}\n" for i in range(40000))


# Writes 64 KiB at a time and notes how many bytes it got rid of.
WRITER = """
import os, sys
total = 0
note = os.open("progress", os.O_CREAT | os.O_WRONLY)
for i in range({n}):
    os.write(1 + i % {streams}, (b"%015d\\n" % i) * 4096)
    total += 65536
    os.pwrite(note, b"%d" % total, 0)
"""


@pytest.mark.plain_build
@pytest.mark.parametrize("streams", [1, 2])
def test_a_client_that_does_not_read(new_agent, streams):
    """The program stops, memory stays where it is, and everything arrives when the client reads on."""
    agent = new_agent()
    run(agent, CODE, code="print(1)")
    idle = procfs.status_kib(agent.pid, "VmRSS")
    n = 640  # 40 MiB
    progress = agent.workspace / "progress"
    small = socket.create_connection(("127.0.0.1", agent.port))
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    # The library reads ahead; with this it stops after a few messages.
    with Stream(agent, CODE, sock=small, max_queue=2) as stream:
        stream.execute(code=WRITER.format(n=n, streams=streams), workdir=str(agent.workspace))
        stopped_at = wait_until_it_stands_still(lambda: written(progress), "the writer waits")
        assert stopped_at < 16 * MIB
        assert procfs.status_kib(agent.pid, "VmRSS") < idle + 4096
        stream.finish()
    result = expect_end(stream)
    assert result["stdout_bytes"] + result["stderr_bytes"] == n * 65536
    for i, text in enumerate([stream.stdout, stream.stderr][:streams]):
        assert text == "".join(f"{k:015}\n" * 4096 for k in range(i, n, streams))
    agent.wait_until_idle()


def test_what_is_in_the_pipes_at_the_end_is_not_lost(agent):
    """The program ends while its client does not read: what it wrote is in rings and pipes."""
    small = socket.create_connection(("127.0.0.1", agent.port))
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    done = agent.workspace / "done"
    with Stream(agent, CODE, sock=small, max_queue=1) as stream:
        code = (
            "import os\n"
            "for i in range(9): os.write(1, b'o' * 65536); os.write(2, b'e' * 65536)\n"
            "open('done', 'w')"
        )
        stream.execute(code=code, workdir=str(agent.workspace))
        wait_until(done.exists, "the end of the program")
        stream.finish()
    expect_end(stream)
    assert stream.stdout == "o" * 9 * 65536 and stream.stderr == "e" * 9 * 65536


def test_a_client_that_never_reads_does_not_stop_the_deadline(agent):
    with Stream(agent, COMMANDS, max_queue=1) as stream:
        stream.execute(command="yes", timeout=1)
        wait_until(lambda: agent.gauges()["processes_running"] == 1, "start")
        wait_until(lambda: agent.gauges()["processes_running"] == 0, "end", timeout=10)
        stream.finish()
    expect_end(stream, 124, "timeout")
    assert stream.stderr == "vm-agent: timed out after 1 s\n"


# Leaving

TREE = "sleep 1001 & (setsid sleep 1002 &) ; trap '' TERM; echo up; while :; do sleep 1003; done"


@pytest.mark.parametrize("how", ["close", "reset", "half"])
def test_a_client_that_leaves_takes_the_whole_tree_along(agent, how):
    with Stream(agent, COMMANDS) as stream:
        stream.execute(command=TREE, kill_grace=0)
        stream.read_until("up\n")
        wait_until(lambda: len(agent.survivors()) >= 4, "the tree")
        if how == "reset":
            stream.socket.socket.shutdown(socket.SHUT_RDWR)
        elif how == "half":
            stream.socket.socket.shutdown(socket.SHUT_WR)
        else:
            stream.socket.close()
        wait_until(lambda: not agent.survivors(), lambda: procfs.describe(agent.survivors()))
    agent.wait_until_idle()


def test_a_client_that_leaves_in_a_flood(agent):
    small = socket.create_connection(("127.0.0.1", agent.port))
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    with Stream(agent, COMMANDS, sock=small, max_queue=1) as stream:
        stream.execute(command="yes")
        assert stream.receive()["type"] == "stdout"
        small.shutdown(socket.SHUT_RDWR)
        wait_until(lambda: not agent.survivors(), lambda: procfs.describe(agent.survivors()))
    agent.wait_until_idle()


def test_a_client_that_leaves_while_its_code_is_being_written(agent):
    for _ in range(10):
        with Stream(agent, CODE) as stream:
            stream.execute(code=f"x = '{'y' * 3_000_000}'\nimport time\ntime.sleep(1000)")
            stream.socket.socket.shutdown(socket.SHUT_RDWR)
    wait_until(lambda: not agent.survivors(), lambda: procfs.describe(agent.survivors()))
    agent.wait_until_idle()


def test_a_client_that_leaves_while_its_input_waits(agent):
    with Stream(agent, COMMANDS) as stream:
        stream.execute(command="echo up; exec sleep 1000")
        stream.read_until("up\n")
        stream.send(type="input", data="x" * MIB)
        stream.socket.socket.shutdown(socket.SHUT_RDWR)
        wait_until(lambda: not agent.survivors(), lambda: procfs.describe(agent.survivors()))
    agent.wait_until_idle()


# The agent's end


def test_shutdown_closes_connections_that_run_nothing(new_agent):
    agent = new_agent()
    with Stream(agent, CODE) as stream:
        agent.signal(signal.SIGTERM)
        assert next(iter(stream.socket), None) is None
        agent.wait_for_exit()
        assert stream.socket.close_code == 1001


def test_shutdown_lets_what_runs_end(new_agent):
    agent = new_agent(shutdown_grace="20s")
    with Stream(agent, CODE) as stream:
        stream.execute(code="print('up'); print(input())")
        stream.read_until("up\n")
        agent.signal(signal.SIGTERM)
        wait_until(lambda: "stopping" in agent.log(), "the signal")
        stream.send(type="input", data="late\n")
        stream.finish()
        assert stream.stdout == "up\nlate\n"
    expect_end(stream)
    agent.wait_for_exit()


def test_shutdown_after_the_grace_period_is_told(new_agent):
    agent = new_agent(shutdown_grace="300ms")
    with Stream(agent, COMMANDS) as stream:
        stream.execute(command="echo up; sleep 1000")
        stream.read_until("up\n")
        agent.signal(signal.SIGTERM)
        stream.finish()
    expect_end(stream, 137, "cancelled")
    agent.wait_for_exit()
