# SPDX-License-Identifier: Apache-2.0
"""Clients that vanish at every point of a connection, that neither read nor speak, and the agent's end with all of
them there. What must be true afterwards: nothing is left, and what was there meanwhile was bounded."""

import random
import signal
import time
from urllib.parse import quote

import pytest

from lib import procfs
from lib.raw import ConnectionEnded, RawConnection
from lib.waiting import time_factor, wait_until
from lib.ws_raw import (  # noqa: F401 (plain_home is for all tests here)
    BINARY,
    CLOSE,
    PING,
    TEXT,
    RawWebSocket,
    Terminal,
    agent_token,
    frame_bytes,
    handshake,
    plain_home,
    shut_write,
)

MIB = 1 << 20
FLOOD = "/terminal?command=" + quote("head -c 3000000 /dev/zero | base64 -w 76; yes")


def wait_until_gone(agent):
    """Until no connection, no terminal and no process is left."""
    last = {}

    def is_gone():
        last.update(agent.gauges())
        return last["websockets"] == last["terminals"] == last["processes_running"] == 0

    wait_until(is_gone, lambda: f"an empty agent, still has {last}", timeout=15)
    wait_until(lambda: not agent.survivors(), lambda: procfs.describe(agent.survivors()))


# Vanishing

ENDS = {
    "close": lambda ws: ws.close(),
    "reset": lambda ws: ws.reset(),
    "half close": lambda ws: ws.half_close(),
}


@pytest.fixture(params=ENDS)
def vanish(request):
    return ENDS[request.param]


@pytest.mark.smoke
def test_mid_handshake(agent, vanish):
    request = handshake("/terminal", token=agent_token(agent))
    for size in (1, 20, 60, len(request) - 2):
        with RawConnection(agent.port) as connection:
            connection.send(request[:size])
            vanish(connection)
    wait_until_gone(agent)


@pytest.mark.smoke
def test_behind_the_handshake(agent, vanish):
    """The whole request, but not a byte of the answer is looked at."""
    for extra in (b"", frame_bytes(TEXT, '{"type":"input","data":"sleep 1000\\n"}'), b"\x81"):
        with RawConnection(agent.port) as connection:
            connection.send(handshake("/terminal", token=agent_token(agent)) + extra)
            vanish(connection)
    wait_until_gone(agent)


@pytest.mark.smoke
def test_when_it_is_open(agent, vanish):
    with Terminal(agent) as ws:
        vanish(ws.connection)
        wait_until_gone(agent)


def test_mid_frame(agent, vanish):
    frame = frame_bytes(TEXT, '{"type":"input","data":"' + "x" * 1000 + '"}')
    for size in (1, 2, 5, 8, 500, len(frame) - 1):
        with Terminal(agent) as ws:
            ws.send_bytes(frame[:size])
            vanish(ws.connection)
            wait_until_gone(agent)


def test_between_fragments(agent, vanish):
    with Terminal(agent) as ws:
        ws.send_frame(TEXT, '{"type":', fin=False)
        vanish(ws.connection)
        wait_until_gone(agent)


def test_mid_burst(agent, vanish):
    for size in (0, 1, 300_000):
        with Terminal(agent, FLOOD, receive_buffer=16384) as ws:
            while len(ws.output) < size:
                ws.read_output()
            vanish(ws.connection)
            wait_until_gone(agent)


def test_mid_message_of_a_worker(agent, vanish):
    """Large messages are parsed off the loop: the answer comes to nobody."""
    for _ in range(5):
        with Terminal(agent, "/terminal?command=cat%20%3E%20/dev/null") as ws:
            ws.send(type="resize", cols=80, rows=24, more=["x" * 100] * 10000)
            vanish(ws.connection)
    wait_until_gone(agent)


def test_with_a_program_that_ignores_everything(agent, vanish):
    """Whatever it has arranged for: it, its children and those that left its session die with the connection."""
    program = "trap '' HUP TERM INT QUIT; setsid sleep 1000 & nohup sleep 1000 & (sleep 1000 &); echo ready; sleep 1000"
    with Terminal(agent, "/terminal?shell=bash&command=" + quote(program)) as ws:
        ws.read_until("ready")
        wait_until(lambda: len(agent.survivors()) >= 4, "all of them")
        vanish(ws.connection)
        wait_until_gone(agent)


def test_after_half_a_close(agent):
    """The other side's close was answered, but it stays connected: not for ever."""
    with Terminal(agent) as ws:
        ws.send_frame(CLOSE, b"\x03\xe8")
        wait_until_gone(agent)
    with Terminal(agent) as ws:
        shut_write(ws)
        ws.read_close()
    wait_until_gone(agent)


def test_no_growth(agent):
    """Connections that come and go, decently or not, in any order, with and without something going on."""
    dice = random.Random(7)
    paths = ["/terminal", "/terminal?command=cat", "/terminal?command=yes", "/terminal?command=true"]

    def one():
        ws = Terminal(agent, dice.choice(paths))
        for _ in range(dice.randrange(3)):
            ws.type("x\n") if dice.random() < 0.7 else ws.send_frame(PING, b"x")
        ws.is_mid_frame = dice.random() < 0.3
        if ws.is_mid_frame:
            ws.connection.try_send(b"\x81\xfe\x01")
        return ws

    def end(ws):
        if dice.random() < 0.5:
            ws.cut()
            return
        ws.connection.try_send(frame_bytes(CLOSE, b"\x03\xe8"))
        if not ws.is_mid_frame and dice.random() < 0.5:
            ws.read_close()
        ws.connection.close()

    def many(n):
        alive = []
        for _ in range(n):
            alive.append(one())
            dice.shuffle(alive)
            while len(alive) > 8:
                end(alive.pop())
        for ws in alive:
            end(ws)
        wait_until_gone(agent)
        # Empty control groups are kept for the next processes, as many as there were at once.
        fds = sorted(path for path in procfs.open_fds(agent.pid).values() if "/cgroup/" not in path)
        return agent.gauges(), fds

    before, fds_before = many(60)
    after, fds_after = many(300)
    assert len(fds_after) == len(fds_before), (fds_before, fds_after)
    assert after["open_fds"] < before["open_fds"] + 16
    assert after["terminals"] == 0 and after["websockets"] == 0
    if time_factor() == 1:
        assert after["resident_bytes"] < before["resident_bytes"] + MIB
    wait_until(lambda: not agent.children(), lambda: f"no zombies: {agent.children()}")


# Silence


def test_dead_peers_are_dropped(new_agent):
    agent = new_agent(websocket_silence="600ms")
    silent, busy, waiting = Terminal(agent), Terminal(agent), Terminal(agent)
    silent.answers_pings = False
    deadline = time.monotonic() + 2 * time_factor()
    is_ended = False
    while time.monotonic() < deadline or not is_ended:
        assert time.monotonic() < deadline + 20 * time_factor()
        busy.send(type="ping")
        busy.read_type("pong")
        try:
            if not is_ended:
                silent.read_frame(0.05)
        except ConnectionEnded:
            is_ended = True
        except AssertionError:
            pass  # nothing came
        try:
            waiting.read_other_than_pings(0.05)  # answers them, and that is all it does
        except AssertionError:
            pass
    assert waiting.pings >= 3
    wait_until(lambda: agent.gauges()["websockets"] == 2, "one is gone")
    assert waiting.run("echo alive") == "alive\n"
    for ws in (busy, waiting):
        ws.close()
    silent.connection.close()


def test_silence_is_not_counted_while_we_do_not_listen(new_agent):
    """A client whose input nobody reads is not read either. That is no silence of its own."""
    agent = new_agent(websocket_silence="500ms")
    with Terminal(agent, "/terminal?command=" + quote("stty -icanon -echo; echo ready; sleep 3; wc -c")) as ws:
        ws.read_until("ready")
        for _ in range(4):
            ws.send_frame(BINARY, b"x" * 250_000)
        ws.send_frame(BINARY, b"\n")
        ws.send(type="ping")
        started = time.monotonic()
        while time.monotonic() < started + 2:
            try:
                ws.read_other_than_pings(0.1)
            except AssertionError:
                pass  # nothing came
        assert agent.gauges()["websockets"] == 1
        ws.cut()
        wait_until_gone(agent)


# Back-pressure


def resident_bytes(agent):
    return procfs.status_kib(agent.pid, "VmRSS") * 1024


@pytest.mark.plain_build
def test_memory_of_a_client_that_stops_reading(agent):
    """30 MB for a client that looks away for a while: they wait in the shell, not in the agent, and all arrive."""
    size = 30_000_000
    program = quote(f"stty -opost; head -c {size} /dev/zero | tr '\\0' x; echo; echo over")
    with Terminal(agent, "/terminal?command=" + program, receive_buffer=65536) as ws:
        while len(ws.output) < 1_000_000:
            ws.read_output()
        before = resident_bytes(agent)
        stopped = time.monotonic()
        while time.monotonic() < stopped + 2:
            assert resident_bytes(agent) < before + 4 * MIB
            assert agent.http.get("/health").status_code == 200
            time.sleep(0.05)
        assert agent.gauges()["processes_running"] == 1
        ws.read_exit(60)
        assert bytes(ws.output) == b"x" * size + b"\nover\n"
        assert resident_bytes(agent) < before + 4 * MIB
    wait_until_gone(agent)


def test_a_client_that_stops_reading_gets_everything(agent):
    program = quote("for i in $(seq 200000); do echo $i; done; echo over")
    with Terminal(agent, "/terminal?command=" + program, receive_buffer=16384) as ws:
        for pause in (0.5, 0.2, 0.1):
            wait_until(lambda: agent.http.get("/health").status_code == 200, "health")
            time.sleep(pause)  # this is what is tested: a client that does nothing for a while
            for _ in range(3):
                ws.read_output()
        ws.read_exit(60)
        wanted = "".join(f"{i}\r\n" for i in range(1, 200001)) + "over\r\n"
        assert bytes(ws.output).decode() == wanted


def test_input_that_nobody_reads(agent):
    """3 MB for a program that sleeps: the rest of the agent goes on, and the client is missed when it leaves."""
    for leave in ("reset", "close"):
        with Terminal(agent, "/terminal?command=" + quote("stty -icanon -echo; echo ready; sleep 1000")) as ws:
            ws.read_until("ready")
            for _ in range(3):
                ws.send_frame(BINARY, b"x" * MIB)
            started = time.monotonic()
            with Terminal(agent) as other:
                assert other.run("echo alive") == "alive\n"
            assert time.monotonic() - started < 5 * time_factor()
            ws.connection.try_send(frame_bytes(CLOSE, b"\x03\xe8"))  # it waits behind all the input
            getattr(ws.connection, leave)()
            wait_until_gone(agent)


def test_input_beyond_the_queue_is_refused(new_agent):
    """One message that is larger than all that may wait: told, and nothing of it is typed."""
    agent = new_agent(max_message="16M")
    with Terminal(agent, "/terminal?command=" + quote("stty -icanon -echo; echo ready; wc -c")) as ws:
        ws.read_until("ready")
        ws.send_frame(BINARY, b"x" * (5 * MIB))
        error = ws.read_type("error", 20)
        assert (error["code"], error["details"]["field"]) == ("RATE_LIMIT_EXCEEDED", "/data")
        ws.send(type="ping")
        ws.read_type("pong")
        ws.cut()


def test_questions_without_reading_the_answers(agent):
    """A client that asks and asks, and never reads: its answers do not pile up here."""
    ask = frame_bytes(TEXT, '{"type":"ping"}') * 2000
    with Terminal(agent, "/terminal?command=cat", receive_buffer=8192) as ws:
        before = resident_bytes(agent)
        ws.connection.socket.settimeout(1)
        sent = 0
        try:
            for _ in range(2000):
                ws.send_bytes(ask)
                sent += len(ask)
        except TimeoutError:
            pass
        assert sent < 2000 * len(ask), "it was never held back"
        if time_factor() == 1:
            assert resident_bytes(agent) < before + 4 * MIB
        assert agent.http.get("/health").status_code == 200
        ws.cut()
    wait_until_gone(agent)


# The agent's end


def stop(agent, timeout=4.0):
    started = time.monotonic()
    agent.signal(signal.SIGTERM)
    agent.wait_for_exit(timeout)
    agent.check_remains()
    return time.monotonic() - started


def test_stopping_with_idle_terminals(new_agent):
    agent = new_agent()
    terminals = [Terminal(agent) for _ in range(10)]
    for ws in terminals:
        ws.run("true")
    named = Terminal(agent, "/terminal?session=x")
    agent.signal(signal.SIGTERM)
    for ws in [*terminals, named]:
        message = ws.read_exit()
        assert message["reason"] in ("cancelled", "signal", "exit"), message
        assert ws.read_close()[0] in (1000, 1001)
        ws.connection.close()
    agent.wait_for_exit(4)
    agent.check_remains()
    agent.is_closed = True
    agent._clean_up()


def test_stopping_with_clients_that_do_not_answer(new_agent):
    agent = new_agent()
    terminals = [Terminal(agent) for _ in range(3)]
    stop(agent)
    for ws in terminals:
        ws.connection.close()


def test_stopping_under_a_flood_that_nobody_reads(new_agent):
    agent = new_agent()
    terminals = [Terminal(agent, FLOOD, receive_buffer=16384) for _ in range(2)]
    terminals[0].read_output()
    stop(agent)
    for ws in terminals:
        ws.connection.close()


def test_stopping_with_detached_sessions(new_agent):
    agent = new_agent()
    program = quote("trap '' HUP TERM; setsid sleep 1000 & echo ready; while :; do sleep 1; done")
    for name, path in (("idle", "&"), ("stubborn", "&shell=bash&command=" + program), ("flood", "&command=yes")):
        with Terminal(agent, f"/terminal?session={name}{path}") as ws:
            ws.read_output()
            ws.read_output()
            ws.cut()
    wait_until(lambda: agent.gauges()["websockets"] == 0, "nobody attached")
    assert agent.gauges()["terminals"] == 3
    stop(agent)


def test_stopping_amid_handshakes(new_agent):
    agent = new_agent()
    request = handshake("/terminal", token=agent_token(agent))
    connections = [RawConnection(agent.port) for _ in range(20)]
    for i, connection in enumerate(connections):
        connection.send(request if i % 3 else b"")
    stop(agent)
    for connection in connections:
        connection.close()


def test_stopping_amid_closes(new_agent):
    """Peers that got a close frame and do not answer it, or sent one and do not leave."""
    agent = new_agent()
    terminals = [RawWebSocket(agent) for _ in range(6)]
    for i, ws in enumerate(terminals):
        ws.send_bytes([frame_bytes(CLOSE, b"\x03\xe8"), frame_bytes(TEXT, b"\xff"), frame_bytes(3)][i % 3])
    for ws in terminals:
        assert ws.read_other_than_pings().opcode in (CLOSE, TEXT)
    stop(agent)
    for ws in terminals:
        ws.connection.close()
