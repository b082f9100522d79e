# SPDX-License-Identifier: Apache-2.0
"""Named terminals: they outlive their connections, and who comes back misses nothing."""

import random
import threading
import time
from urllib.parse import quote, urlencode

import pytest

from lib import procfs
from lib.expect import TIMESTAMP, expect_error, expect_json
from lib.waiting import time_factor, wait_until
from lib.ws_raw import CLOSE, TEXT, Terminal, plain_home  # noqa: F401 (plain_home is for all tests here)

KIB = 1 << 10
MIB = 1 << 20
RING = MIB  # what is kept for who comes back
RECENT = 64 * KIB  # what a new client sees


@pytest.fixture(autouse=True)
def end_all(request):
    """No test leaves a session to the next."""
    yield
    if "agent" in request.fixturenames:
        agent = request.getfixturevalue("agent")
        for terminal in terminals(agent):
            agent.http.delete(f"/terminals/{terminal['id']}")
        wait_until(lambda: agent.gauges()["terminals"] == 0, "the end of all")


def terminals(agent):
    document = expect_json(agent.http.get("/terminals"))
    assert document["count"] == len(document["terminals"])
    return document["terminals"]


def attach(agent, name="x", receive_buffer=None, **parameters):
    """A client of a session, its first message read, which is in .first; .gap is the second one if it is a gap."""
    if "command" in parameters:
        parameters.setdefault("shell", "bash")
    ws = Terminal(
        agent, "/terminal?" + urlencode({"session": name, **parameters}, quote_via=quote), receive_buffer=receive_buffer
    )
    assert ws.read_output() is None
    ws.first = ws.last
    assert ws.first["type"] == "attached"
    return ws


def read_gap(ws):
    assert ws.read_output() is None
    assert ws.last["type"] == "gap", ws.last
    return ws.last


def lines(first, last):
    return "".join(f"{i}\r\n" for i in range(first, last + 1)).encode()


# Coming back


@pytest.mark.smoke
def test_the_shell_lives_on(agent):
    with attach(agent) as ws:
        assert ws.first["created"] is True and ws.first["session"] == "x"
        assert (ws.first["offset"], ws.first["cols"], ws.first["rows"]) == (0, 80, 24)
        pid = int(ws.run("A=kept; echo $$"))
        assert ws.first["pid"] == pid
        end = ws.end
        ws.cut()
    with attach(agent, since=end) as ws:
        assert ws.first["created"] is False and ws.first["pid"] == pid
        assert ws.first["offset"] == end
        assert ws.run("echo $A $$") == f"kept {pid}\n"


def test_nothing_is_missed(agent):
    """Cut at random moments, in the middle of frames too, and back each time."""
    dice = random.Random(3)
    received = bytearray()
    attempts = 0
    ws = attach(agent, command="for i in $(seq 300); do echo $i; sleep 0.01; done")
    while ws.exit is None:
        attempts += 1
        until = time.monotonic() + dice.random() * 0.3
        try:
            while time.monotonic() < until and ws.exit is None:
                ws.read_output(5)
        finally:
            received += ws.output
            end = ws.end
        if ws.exit is None:
            ws.cut()
            time.sleep(dice.random() * 0.1)  # the program goes on meanwhile
            ws = attach(agent, since=end)
            assert ws.first["offset"] == end
    assert ws.exit["code"] == 0
    ws.connection.close()
    assert attempts >= 5
    assert bytes(received) == lines(1, 300) and end == len(received)


def test_nothing_is_missed_under_flood(agent):
    """The same with a program that has to wait for its clients, and is ahead of them by more than is kept once they
    have gone: what is lost is told, and all the rest is right."""
    wanted = "".join(f"{i:07}\r\n" for i in range(1_000_000)).encode()
    position = 0
    part = "sleep 0.2; seq -f %07.0f $((i * 250000)) $((i * 250000 + 249999))"
    ws = attach(agent, command=f"for i in 0 1 2 3; do {part}; done")
    dice = random.Random(5)
    while ws.exit is None:
        limit = dice.randrange(1, 2 * MIB)
        while len(ws.output) < limit and ws.exit is None:
            if ws.read_output() is None and ws.last["type"] == "gap":
                gap = ws.last
                assert gap["from"] == position and gap["lost"] == gap["to"] - gap["from"] > 0
                assert gap["restarted"] is False
                position = gap["to"]
        assert bytes(ws.output) == wanted[position : position + len(ws.output)]
        position += len(ws.output)
        assert ws.exit or position == ws.end
        if ws.exit is None:
            ws.cut()
            ws = attach(agent, since=position)
    ws.connection.close()
    assert position == len(wanted)


def test_recent_output(agent):
    """Without since: all of it when it is little, else the end of it, from a line's beginning."""
    with attach(agent, command="seq 1000; sleep 1000") as ws:
        ws.read_until("\n1000\r\n")
    with attach(agent) as ws:
        assert ws.first["offset"] == 0
        assert ws.read_until("\n1000\r\n") == lines(1, 1000)
    with attach(agent, "y", command="seq 100000; sleep 1000") as ws:
        ws.read_until("\n100000\r\n")
    with attach(agent, "y") as ws:
        recent = ws.read_until("\n100000\r\n")
        assert RECENT - 10 < len(recent) <= RECENT
        assert lines(1, 100000).endswith(b"\n" + recent)
        assert ws.first["offset"] == len(lines(1, 100000)) - len(recent)


def test_gaps(agent):
    """What is older than what is kept is told with the right numbers."""
    everything = lines(1, 400_000)
    with attach(agent, command="seq 400000; sleep 1000") as ws:
        ws.read_until("\n400000\r\n")
        assert ws.end == len(everything) > 2 * RING
    for since in (0, 1, 1000, len(everything) - RING - 1):
        with attach(agent, since=since) as ws:
            gap = read_gap(ws)
            start = len(everything) - RING
            assert (gap["from"], gap["to"], gap["lost"]) == (since, start, start - since)
            assert gap["restarted"] is False and ws.first["offset"] == start
            assert ws.first["end"] == len(everything)
            assert ws.read_until("\n400000\r\n") == everything[start:]
    for since in (len(everything) - RING, len(everything) - 5000, len(everything) - 1):
        with attach(agent, since=since) as ws:
            ws.read_until("\r\n" if since < len(everything) - 1 else "\n")
            assert ws.first["offset"] == since  # and no gap


def test_since_the_future(agent):
    """The client comes back to a session that has been started anew meanwhile."""
    with attach(agent, command="echo hello; sleep 1000") as ws:
        ws.read_until("hello\r\n")
    with attach(agent, since=10_000) as ws:
        gap = read_gap(ws)
        assert gap["restarted"] is True and (gap["from"], gap["to"], gap["lost"]) == (10_000, 0, 0)
        ws.read_until("hello\r\n")
        ws.close()
    with attach(agent, since=7) as ws:
        assert ws.first["offset"] == 7
        ws.type("x\n")
        ws.read_until("x\r\n")


def test_the_end_is_kept(agent):
    """Who comes back to a shell that has ended meanwhile gets its last words and its exit code."""
    with attach(agent, command="echo before; read x; echo bye; exit 7") as ws:
        ws.read_until("before\r\n")
        ws.type("\n")
        ws.read_until("\r\n")
        end = len("before\r\n")
        ws.cut()
    wait_until(lambda: terminals(agent)[0]["status"] == "exited", "its end")
    listed = terminals(agent)[0]
    assert listed["exit_code"] == 7 and listed["clients"] == 0
    with attach(agent, since=end) as ws:
        assert ws.first["created"] is False
        assert ws.read_exit()["code"] == 7
        assert bytes(ws.output) == b"\r\nbye\r\n"
        assert ws.read_close()[0] == 1000
    wait_until(lambda: not terminals(agent), "told is told")
    with attach(agent, command="cat") as ws:
        assert ws.first["created"] is True


def test_a_size_to_come_back_with(agent):
    with attach(agent, cols=100, rows=30) as ws:
        assert ws.run("stty size") == "30 100\n"
    with attach(agent) as ws:
        assert ws.run("stty size") == "30 100\n"
    with attach(agent, cols=90) as ws:
        assert (ws.first["cols"], ws.first["rows"]) == (90, 30)
        assert ws.run("stty size") == "30 90\n"


# Several clients


def test_all_see_the_same(agent):
    with attach(agent, command="stty -echo; cat") as one, attach(agent) as two, attach(agent) as three:
        assert [ws.first["created"] for ws in (one, two, three)] == [True, False, False]
        assert terminals(agent)[0]["clients"] == 3
        for i, ws in enumerate((one, two, three)):
            ws.type(f"from {i}\n")
            for reader in (one, two, three):
                reader.read_until(f"from {i}\r\n")
        two.cut()
        wait_until(lambda: terminals(agent)[0]["clients"] == 2, "its absence")
        one.type("on\n")
        three.read_until("on\r\n")
        one.type("\x04")
        for ws in (one, three):
            assert ws.read_exit()["code"] == 0
            assert ws.read_close()[0] == 1000


def test_two_at_once_make_one(agent):
    found = []

    def come():
        with attach(agent, "race", command="sleep 1000") as ws:
            found.append((ws.first["created"], ws.first["pid"]))
            barrier.wait(30)

    barrier = threading.Barrier(6)
    threads = [threading.Thread(target=come) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(created for created, _ in found) == [False] * 5 + [True]
    assert len({pid for _, pid in found}) == 1


def test_a_slow_client(agent):
    """It does not hold up the others, is told, and can come back."""
    with attach(agent, command="read x; seq 1000000; echo over; sleep 1000") as fast:
        slow = attach(agent, receive_buffer=8192)
        fast.type("\n")
        fast.read_until("over\r\n", 60)
        # It reads on: what was on the way, in order, and then the end.
        frame = slow.read_other_than_pings()
        while frame.opcode == TEXT:
            slow.take(frame)
            frame = slow.read_other_than_pings()
        assert frame.opcode == CLOSE and int.from_bytes(frame.payload[:2], "big") == 4008
        assert frame.payload[2:].decode().endswith(f"since={slow.end}")
        read = bytes(slow.output)
        everything = b"\r\n" + lines(1, 1_000_000)
        assert everything.startswith(read) and slow.end == len(read) < len(everything) - RING
        slow.connection.close()
        with attach(agent, since=slow.end) as back:
            gap = read_gap(back)
            assert gap["from"] == slow.end and gap["lost"] == gap["to"] - slow.end
            back.read_until("over\r\n")
        fast.type("x\n")
        fast.read_until("x\r\n")


def test_all_slow_clients_hold_the_program_up(agent):
    """Nobody is faster, so nothing is dropped."""
    with attach(agent, command="seq 600000; sleep 1000", receive_buffer=8192) as one:
        two = attach(agent, since=0, receive_buffer=8192)
        wait_until(lambda: terminals(agent)[0]["end"] > 256 * KIB, "output that nobody reads")
        slow = [one, two]
        while slow:  # in turn: who is much slower than another would be dropped
            slow = [ws for ws in slow if not ws.output.endswith(b"\n600000\r\n")]
            for ws in slow:
                ws.read_output(60)
        assert one.end == two.end == len(lines(1, 600000))
        two.connection.close()


# The end


def test_linger(new_agent):
    agent = new_agent(terminal_linger="500ms")
    with attach(agent, command="trap '' HUP; setsid sleep 1000 & echo ready; sleep 1000") as ws:
        ws.read_until("ready")
        pid = ws.first["pid"]
        ws.cut()
    started = time.monotonic()
    wait_until(lambda: terminals(agent) and terminals(agent)[0]["clients"] == 0, "nobody")
    with attach(agent) as ws:  # in time
        assert ws.first["pid"] == pid
        time.sleep(0.7)  # longer than it would linger alone
        assert terminals(agent)[0]["pid"] == pid
        ws.cut()
    wait_until(lambda: not terminals(agent), "its end")
    wait_until(lambda: not agent.survivors(), lambda: procfs.describe(agent.survivors()))
    assert time.monotonic() - started > 1.1
    with attach(agent, command="exit 5") as ws:
        assert ws.first["created"] is True and ws.first["pid"] != pid


def test_ended_sessions_linger_as_well(new_agent):
    agent = new_agent(terminal_linger="400ms")
    with attach(agent, command="sleep 0.1; exit 3") as ws:
        ws.cut()
    wait_until(lambda: not terminals(agent), "the end of its wait")
    assert agent.gauges()["terminals"] == 0


def test_no_linger(new_agent):
    agent = new_agent(terminal_linger="0")
    with attach(agent) as ws:
        ws.cut()
    wait_until(lambda: agent.gauges()["terminals"] == 0, "its end")
    wait_until(lambda: not agent.survivors(), "the shell's end")


def test_listing(agent):
    assert terminals(agent) == []
    with attach(agent, "one", cols=100, rows=40) as one, Terminal(agent, "/terminal?command=cat") as two:
        one.run("true")
        two.type("x\n")
        two.read_until("x\r\n")
        by_name = {terminal["name"]: terminal for terminal in terminals(agent)}
        assert set(by_name) == {"one", None}
        listed = by_name["one"]
        assert listed["pid"] == one.first["pid"] and listed["id"] == one.first["id"]
        assert (listed["cols"], listed["rows"], listed["clients"]) == (100, 40, 1)
        assert TIMESTAMP.match(listed["started"])
        assert 0 <= listed["idle"] < 60
        assert listed["status"] == "running"
        assert listed["offset"] == 0 and listed["end"] >= one.end
        first = listed["idle"]
        wait_until(lambda: {t["name"]: t for t in terminals(agent)}["one"]["idle"] > first, "time to pass")
    assert agent.anonymous.get("/terminals").status_code == 401


def test_deleting(agent):
    program = "trap '' HUP TERM; setsid sleep 1000 & nohup sleep 1000 & echo ready; while :; do sleep 1; done"
    for is_attached in (True, False):
        ws = attach(agent, command=program)
        ws.read_until("ready")
        if not is_attached:
            ws.cut()
            wait_until(lambda: terminals(agent)[0]["clients"] == 0, "nobody")
        started = time.monotonic()
        document = expect_json(agent.http.delete("/terminals/x"))
        assert time.monotonic() - started < 5 * time_factor()
        assert document["success"] is True and document["name"] == "x"
        assert terminals(agent) == []
        wait_until(lambda: not agent.survivors(), lambda: procfs.describe(agent.survivors()))
        if is_attached:
            message = ws.read_exit()
            assert message["reason"] == "cancelled" and message["code"] != 0
            assert ws.read_close()[0] in (1000, 4010)
            ws.connection.close()
        expect_error(agent.http.delete("/terminals/x"), 404, "TERMINAL_NOT_FOUND", "/name")


def test_deleting_by_id(agent):
    """Those without a name have only that."""
    with Terminal(agent, "/terminal?command=cat") as ws:
        identity = terminals(agent)[0]["id"]
        expect_json(agent.http.delete(f"/terminals/{identity}"))
        assert ws.read_exit()["reason"] == "cancelled"


def test_deleting_what_is_not_there(agent):
    for name in ("nothing", "exec_0", "x" * 64, "a%20b"):
        expect_error(agent.http.delete(f"/terminals/{name}"), 404, "TERMINAL_NOT_FOUND", "/name")
    assert agent.http.delete("/terminals/" + "x" * 65).status_code in (400, 404)
    assert agent.anonymous.delete("/terminals/x").status_code == 401
    assert agent.http.get("/terminals/x").status_code == 405


def test_deleting_what_has_ended(agent):
    with attach(agent, command="sleep 0.1; exit 3") as ws:
        ws.cut()
    wait_until(lambda: terminals(agent)[0]["status"] == "exited", "its end")
    expect_json(agent.http.delete("/terminals/x"))
    assert terminals(agent) == [] and agent.gauges()["terminals"] == 0


def test_a_name_is_free_again(agent):
    for i in range(20):
        with attach(agent, "again", command="sleep 1000") as ws:
            assert ws.first["created"] is True and ws.first["offset"] == 0
            expect_json(agent.http.delete("/terminals/again"))
