# SPDX-License-Identifier: Apache-2.0
"""GET /execute/processes/{id}/attach: a background job's output, input, signals and window over a WebSocket."""

import base64
import hashlib
import os
import random
import signal
import socket
import threading
import time

import pytest
from websockets.exceptions import InvalidStatus

from lib.job_output import Attached, writer
from lib.jobs import job_of, kill, start_code, start_id, wait_for, wait_for_end
from lib.raw import RawConnection
from lib.waiting import time_factor, wait_until
from lib.ws_raw import agent_token, handshake

KIB = 1024
MIB = 1024 * KIB


def refused(agent, identifier, **query):
    with pytest.raises(InvalidStatus) as caught:
        Attached(agent, identifier, **query)
    return caught.value.response


@pytest.mark.smoke
def test_a_conversation(agent):
    identifier = start_id(agent, "echo ready; while read line; do echo got $line; done; exit 5", tty=True)
    wait_for(agent, identifier)
    with Attached(agent, identifier) as client:
        job = job_of(agent, identifier)
        assert client.hello["process_id"] == identifier == job["process_id"]
        assert client.hello["execution_id"] == job["execution_id"]
        assert (client.hello["status"], client.hello["pid"], client.hello["tty"]) == ("running", job["pid"], True)
        assert client.hello["offset"] == {"stdout": 0, "stderr": 0}
        client.read_until("ready\r\n")
        client.send("input", data="one\n")
        client.read_until("got one\r\n")
        client.send("input", data=base64.b64encode(b"two\n").decode(), encoding="base64")
        client.read_until("got two\r\n")
        client.send("ping")
        client.wait_for(lambda: client.of("pong"))
        client.send("eof")
        exit = client.finish_well()
    assert (exit["exit_code"], exit["status"], exit["reason"]) == (5, "failed", "exit")
    assert client.messages[-1]["success"] is False
    assert client.messages[-1]["execution_id"] == client.hello["execution_id"]


def test_without_a_terminal(agent):
    identifier = start_code(agent, "import sys; print('out'); print('err', file=sys.stderr)")["process_id"]
    with Attached(agent, identifier) as client:
        assert client.hello["tty"] is False
        assert client.finish_well()["status"] == "completed"
    assert client.data == {"stdout": "out\n", "stderr": "err\n"}
    assert client.messages[-1]["success"] is True


def test_of_a_job_that_has_ended(agent):
    code, expected = writer(61)
    identifier = start_code(agent, code)["process_id"]
    wait_for_end(agent, identifier)
    with Attached(agent, identifier) as client:
        assert client.hello["status"] == "completed"
        assert client.hello["end"] == {stream: len(data) for stream, data in expected.items()}
        client.finish_well()
    assert {stream: text.encode() for stream, text in client.data.items()} == expected


def test_reattaching_at_random_moments(agent):
    code, expected = writer(62, size=60_000, pause=0.004)
    identifier = start_code(agent, code)["process_id"]
    generator = random.Random(63)
    data, offsets, n_clients = {"stdout": "", "stderr": ""}, {"stdout": 0, "stderr": 0}, 0
    is_over = False
    while not is_over:
        with Attached(agent, identifier, offset=f"{offsets['stdout']},{offsets['stderr']}") as client:
            assert client.hello["offset"] == offsets
            for _ in range(generator.randint(1, 6)):
                is_over = client.receive()["type"] == "exit"
                if is_over:
                    break
        assert "\ufffd" not in client.data["stdout"] + client.data["stderr"]
        data = {stream: data[stream] + client.data[stream] for stream in data}
        offsets = client.offsets
        n_clients += 1
    assert {stream: text.encode() for stream, text in data.items()} == expected
    assert n_clients > 5


def test_an_offset_of_stdout_alone(agent):
    identifier = start_id(agent, "printf 0123456789; printf err >&2")
    wait_for_end(agent, identifier)
    with Attached(agent, identifier, offset=7) as client:
        client.finish_well()
    assert client.data == {"stdout": "789", "stderr": "err"}


def test_characters_are_not_cut(agent):
    code = "import os, time\nfor b in '\u20ac\U0001f600'.encode() * 5: os.write(1, bytes([b])); time.sleep(0.02)\n"
    identifier = start_code(agent, code + "os.write(1, b'\\xf0\\x9f')")["process_id"]
    with Attached(agent, identifier) as client:
        client.finish_well()
    assert client.data["stdout"] == "\u20ac\U0001f600" * 5 + "\ufffd"
    assert len(client.of("stdout")) > 5


def test_two_clients(agent):
    """Both see everything; what one types is for the one program."""
    identifier = start_id(agent, "while read line; do echo got $line; done", tty=True)
    wait_for(agent, identifier)
    with Attached(agent, identifier) as first, Attached(agent, identifier) as second:
        first.send("input", data="one\n")
        second.read_until("got one")
        second.send("input", data="two\n")
        first.read_until("got two")
        second.send("eof")
        first.finish_well()
        second.finish_well()
    assert first.data == second.data


def test_resize(agent):
    command = "trap 'stty size' WINCH; stty size; while :; do sleep 0.05; done"
    identifier = start_id(agent, command, tty=True, cols=100, rows=30)
    wait_for(agent, identifier)
    with Attached(agent, identifier) as client:
        client.read_until("30 100")
        client.send("resize", cols=120, rows=40)
        client.read_until("40 120")
        client.send("resize", cols=0, rows=40)
        assert client.error()["details"]["field"] == "/cols"
        client.send("kill", grace=0)
        client.finish_well()


def test_signal(agent):
    identifier = start_id(agent, "trap 'echo caught; exit 9' USR1; echo ready; while :; do sleep 0.05; done")
    with Attached(agent, identifier) as client:
        client.read_until("ready")
        client.send("signal", signal="SIGNOTHING")
        error = client.error()
        assert (error["code"], error["details"]["field"]) == ("INVALID_REQUEST", "/signal")
        client.send("signal", signal="USR1")
        assert client.finish_well()["exit_code"] == 9
    assert "caught" in client.data["stdout"]


@pytest.mark.parametrize("fields", [{}, {"grace": 0}])
def test_kill(agent, fields):
    identifier = start_id(agent, "echo ready; sleep 100")
    with Attached(agent, identifier) as client:
        client.read_until("ready")
        client.send("kill", **fields)
        exit = client.finish_well()
    assert (exit["status"], exit["reason"]) == ("killed", "killed")
    assert exit["signal"] in (signal.SIGTERM, signal.SIGKILL)
    assert job_of(agent, identifier)["status"] == "killed"


def test_what_is_wrong_with_a_message(agent):
    identifier = start_id(agent, "echo ready; sleep 100")
    with Attached(agent, identifier) as client:
        client.read_until("ready")
        for message, field in [
            ({"type": "nothing"}, "/type"),
            ({"type": "input", "data": 5}, "/data"),
            ({"type": "input", "data": "x===", "encoding": "base64"}, "/data"),
            ({"type": "input", "data": "x", "encoding": "latin"}, "/encoding"),
            ({"type": "signal"}, "/signal"),
            ({"type": "resize", "cols": 80, "rows": 24}, "/type"),
        ]:
            client.send(**message)
            error = client.error()
            assert error["details"]["field"] == field and error["message"] == error["error"] != ""
        client.send("kill", grace=0)
        client.finish_well()


def test_before_the_start(new_agent):
    agent = new_agent(max_processes=1)
    first = start_id(agent, "read line", tty=True)
    wait_for(agent, first)
    second = start_id(agent, "echo hello; read line; echo $line", tty=True)
    third = start_id(agent, "echo never")
    with Attached(agent, second) as client, Attached(agent, third) as doomed:
        assert (client.hello["status"], client.hello["pid"]) == ("queued", None)
        client.send("input", data="x\n")
        error = client.error()
        assert (error["code"], error["message"]) == ("INVALID_REQUEST", "type: the process has not been started yet")
        doomed.send("kill")
        assert doomed.finish_well()["status"] == "killed"
        kill(agent, first)
        client.wait_for(lambda: client.of("started"))
        assert client.of("started")[0]["status"] == "running"
        client.read_until("hello")
        client.send("input", data="typed\n")
        assert client.finish_well()["status"] == "completed"
    assert client.data["stdout"].count("typed") == 2


def test_input_back_pressure(agent):
    """A program that does not read stops its client from sending, not the agent; nothing is lost."""
    # In raw mode a terminal lets every byte pass.
    command = "stty raw -echo; echo ready; head -c 2000000 | sha256sum"
    identifier = start_id(agent, command, tty=True)
    data = "".join(random.Random(71).choices("abcdefgh\n", k=2_000_000))
    with Attached(agent, identifier) as client:
        client.read_until("ready")

        def send():
            for i in range(0, len(data), 50_000):
                client.send("input", data=data[i : i + 50_000])

        sender = threading.Thread(target=send)
        sender.start()
        client.finish_well()
        sender.join(20 * time_factor())
    assert hashlib.sha256(data.encode()).hexdigest() in client.data["stdout"]


def test_output_that_is_lost_is_told(new_agent):
    agent = new_agent(job_log_size="64K")
    identifier = start_id(agent, "seq -w 0 99999")
    wait_for_end(agent, identifier)
    with Attached(agent, identifier) as client:
        client.finish_well()
    (gap,) = client.of("gap")
    expected = "".join(f"{i:05}\n" for i in range(100_000))
    assert (gap["stream"], gap["from"]) == ("stdout", 0)
    assert gap["lost"] + len(client.data["stdout"]) == len(expected)
    assert expected.endswith(client.data["stdout"])


def test_a_flood(new_agent):
    """Everything arrives when the log is large enough; frames stay small enough for all clients."""
    agent = new_agent(job_log_size="64M")
    size = 20_000_000
    identifier = start_id(agent, f"yes | head -c {size}")
    with Attached(agent, identifier) as client:
        client.finish_well()
    assert client.data["stdout"] == "y\n" * (size // 2)


def test_refused_as_plain_http(agent):
    identifier = start_id(agent, "printf 0123456789")
    wait_for_end(agent, identifier)
    response = refused(agent, identifier, offset=11)
    assert response.status_code == 400 and b"beyond the end of stdout, which has 10 bytes" in response.body
    assert refused(agent, identifier, offset="x").status_code == 400
    assert refused(agent, "proc_000000000000000000000000").status_code == 404
    assert agent.anonymous.get(f"/execute/processes/{identifier}/attach").status_code == 401
    response = agent.http.get(f"/execute/processes/{identifier}/attach")
    assert response.status_code == 426


def test_too_many_websockets(new_agent):
    agent = new_agent(max_websockets=1)
    identifier = start_id(agent, "read line", tty=True)
    wait_for(agent, identifier)
    with Attached(agent, identifier):
        assert refused(agent, identifier).status_code == 429


def test_clients_that_leave(agent):
    identifier = start_id(agent, "yes | head -c 100M; read line", tty=True)
    generator = random.Random(81)
    for _ in range(20):
        with Attached(agent, identifier) as client:
            for _ in range(generator.randint(0, 3)):
                client.receive()
    assert job_of(agent, identifier)["status"] == "running"
    kill(agent, identifier, grace=0)
    wait_for_end(agent, identifier)
    agent.wait_until_idle()


def test_clients_that_leave_before_the_answer(agent):
    """While a worker looks at the logs, for instance."""
    identifier = start_id(agent, "echo hello; read line", tty=True)
    wait_for(agent, identifier)
    request = handshake(f"/execute/processes/{identifier}/attach", token=agent_token(agent))
    generator = random.Random(82)
    for _ in range(400):
        connection = RawConnection(agent.port)
        connection.send(request)
        spin_until = time.monotonic() + generator.random() * 0.002
        while time.monotonic() < spin_until:
            pass
        connection.reset()
    assert agent.is_alive()
    with Attached(agent, identifier) as client:
        client.read_until("hello")
        client.send("kill", grace=0)
        client.finish()
    agent.wait_until_idle()


def test_much_input_in_base64_keeps_its_place(agent):
    """It is decoded aside; what the client sends behind it has to wait."""
    pieces = [random.Random(seed).randbytes(size) for seed, size in enumerate([500_000, 3, 2_000_000, 70_000, 1])]
    code = "import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())"
    identifier = start_code(agent, code)["process_id"]
    wait_for(agent, identifier)
    expected = hashlib.sha256()
    with Attached(agent, identifier) as client:
        for i, piece in enumerate(pieces):
            client.send("input", data=base64.b64encode(piece).decode(), encoding="base64")
            client.send("input", data=f"text {i}")
            expected.update(piece + f"text {i}".encode())
        client.send("input", data="*" * 200_000, encoding="base64", eof=True)
        assert client.error()["details"]["field"] == "/data"
        client.send("input", data=base64.b64encode(pieces[0]).decode(), encoding="base64", eof=True)
        client.finish_well()
    expected.update(pieces[0])
    assert client.data["stdout"] == expected.hexdigest() + "\n"


def test_a_client_that_leaves_its_input(agent):
    """While a worker has it."""
    identifier = start_code(agent, "import sys; sys.stdin.read()")["process_id"]
    wait_for(agent, identifier)
    for _ in range(20):
        with Attached(agent, identifier) as client:
            client.send("input", data=base64.b64encode(bytes(1_000_000)).decode(), encoding="base64")
            client.socket.socket.shutdown(socket.SHUT_RDWR)
    kill(agent, identifier, grace=0)
    wait_for_end(agent, identifier)
    agent.wait_until_idle()


def test_the_agent_stops(new_agent):
    """The client is told to come back, and the job goes on."""
    agent = new_agent()
    identifier = start_id(agent, "echo one; read line", tty=True)
    with Attached(agent, identifier) as client:
        client.read_until("one")
        agent.signal(signal.SIGTERM)
        assert client.finish() == 1001
    assert not client.of("exit")
    agent.wait_for_exit()
    keepers = agent.keepers()
    assert len(keepers) == 1
    os.kill(keepers[0], signal.SIGTERM)
    wait_until(lambda: not agent.survivors(), "the end of the job")
