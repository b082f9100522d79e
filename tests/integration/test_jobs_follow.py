# SPDX-License-Identifier: Apache-2.0
"""Following the output of a background job, as lines and as events: nothing is missed and nothing comes twice, wherever
a client is cut off."""

import json
import os
import random
import signal
import threading
import time

import pytest

from lib.expect import expect_error
from lib.job_output import (
    EVENTS,
    Collector,
    add_events,
    cut_after,
    follow,
    get,
    parse_events,
    path_of,
    read_lines,
    writer,
)
from lib.jobs import kill, start_code, start_id, wait_for, wait_for_end
from lib.raw import RawConnection, head
from lib import tokens
from lib.waiting import time_factor, wait_until

KIB = 1024
MIB = 1024 * KIB


def some_size(generator):
    """Where an answer is cut: mostly early, sometimes behind the longest line."""
    return generator.randint(1, 200_000 if generator.random() < 0.1 else 3000)


def follow_to_the_end(agent, identifier, encoding="utf-8", **query):
    collector = Collector(encoding)
    with follow(agent, identifier, encoding=encoding, **query) as response:
        read_lines(response, collector)
    assert collector.last["type"] == "end"
    return collector


@pytest.mark.smoke
def test_lines_come_when_they_are_written(agent):
    identifier = start_id(agent, "while read line; do echo got $line; done; echo over >&2; exit 4", tty=True)
    collector = Collector()
    with follow(agent, identifier) as response:
        lines = response.iter_lines()
        assert response.headers["X-Process-Status"] == "running"
        for word in ("one", "two", "three"):
            reply = agent.http.post(f"/execute/processes/{identifier}/input", json={"data": word + "\n"})
            assert reply.status_code == 200
            while f"got {word}\r\n".encode() not in collector.data["stdout"]:
                collector.add(json.loads(next(lines)))
        agent.http.post(f"/execute/processes/{identifier}/input", json={"eof": True})
        for line in lines:
            collector.add(json.loads(line))
    assert b"over" in collector.data["stdout"]
    assert (collector.last["status"], collector.last["exit_code"]) == ("failed", 4)


def test_latency(agent):
    """A piece is there soon after it was written: within the 10 ms in which the keeper speaks, and some."""
    code = "import os, time\nfor i in range(20): os.write(1, b'%f\\n' % time.time()); time.sleep(0.05)"
    identifier = start_code(agent, code)["process_id"]
    late = []
    with follow(agent, identifier, stream="stdout") as response:
        for line in response.iter_lines():
            now, line = time.time(), json.loads(line)
            if line["type"] == "stdout":
                late.append(now - float(line["data"].splitlines()[-1]))
    assert sorted(late)[len(late) // 2] < 0.03 * time_factor(), late


def test_follow_a_job_that_has_ended(agent):
    code, expected = writer(11)
    identifier = start_code(agent, code)["process_id"]
    wait_for_end(agent, identifier)
    collector = follow_to_the_end(agent, identifier)
    assert collector.data == expected
    assert (collector.last["status"], collector.last["exit_code"]) == ("completed", 0)


def test_one_stream(agent):
    code, expected = writer(12, size=3000, pause=0.001)
    identifier = start_code(agent, code)["process_id"]
    for stream, other in (("stdout", "stderr"), ("stderr", "stdout")):
        collector = follow_to_the_end(agent, identifier, stream=stream)
        assert collector.data == {stream: expected[stream], other: b""}


@pytest.mark.parametrize("kind, encoding", [("text", "utf-8"), ("text", "base64"), ("bytes", "base64")])
def test_lines_resume_at_random_cuts(agent, kind, encoding):
    code, expected = writer(21, size=60_000, kind=kind, pause=0.004)
    identifier = start_code(agent, code)["process_id"]
    generator = random.Random(22)
    total, n_answers = Collector(encoding), 0
    while total.last is None:
        with follow(agent, identifier, offset=total.offset, encoding=encoding) as response:
            for line in cut_after(response, some_size(generator)):
                if line:
                    data = json.loads(line)["type"] in ("stdout", "stderr") and json.loads(line)["data"]
                    assert not data or kind == "bytes" or "\ufffd" not in data
                    total.add(json.loads(line))
        n_answers += 1
    assert total.data == expected
    assert n_answers > 5


@pytest.mark.parametrize("kind, encoding", [("text", "utf-8"), ("bytes", "base64")])
def test_events_resume_at_random_cuts(agent, kind, encoding):
    code, expected = writer(31, size=60_000, kind=kind, pause=0.004)
    identifier = start_code(agent, code)["process_id"]
    generator = random.Random(32)
    total, last, n_answers = Collector(encoding), None, 0
    while total.last is None:
        # As a browser does it: the same URL, and the header.
        headers = {**EVENTS, **({"Last-Event-ID": last} if last else {})}
        with follow(agent, identifier, headers=headers, encoding=encoding, offset="0") as response:
            assert response.headers["content-type"] == "text/event-stream"
            lines = cut_after(response, some_size(generator))
            last = add_events(total, parse_events(lines)) or last
        n_answers += 1
    assert total.data == expected
    assert n_answers > 5
    # A browser that is told 204 does not come back.
    assert last == total.offset + ",end"
    response = get(agent, identifier, {**EVENTS, "Last-Event-ID": last}, follow="true")
    assert (response.status_code, response.content) == (204, b"")


def test_the_end_alone(agent):
    """Cut off before the last event: it comes again."""
    identifier = start_id(agent, "printf abc; printf d >&2")
    wait_for_end(agent, identifier)
    with follow(agent, identifier, headers={**EVENTS, "Last-Event-ID": "3,1"}) as response:
        events = list(parse_events(response.iter_lines()))
    assert [(id, event) for id, event, _, _ in events] == [("3,1,end", "end")]
    collector = Collector(offsets=(3, 1))
    with follow(agent, identifier, offset="3,1") as response:
        read_lines(response, collector)
    assert (collector.n_pieces, collector.last["type"]) == (0, "end")


def test_last_event_id_wins_over_offset(agent):
    identifier = start_id(agent, "printf 0123456789")
    wait_for_end(agent, identifier)
    with follow(agent, identifier, headers={**EVENTS, "Last-Event-ID": "4,0"}, offset="8") as response:
        events = list(parse_events(response.iter_lines()))
    assert json.loads(events[0][2])["data"] == "456789"
    # Lines have no ids: the header says nothing to them.
    with follow(agent, identifier, headers={"Last-Event-ID": "4,0"}, offset="8") as response:
        assert json.loads(next(response.iter_lines()))["data"] == "89"


@pytest.mark.parametrize("last", ["x", "1", "1,", "1,2,x", "-1,0", "1,2,end,", "1;2"])
def test_a_bad_last_event_id(agent, last):
    identifier = start_id(agent, "printf 0123456789")
    response = get(agent, identifier, {**EVENTS, "Last-Event-ID": last}, follow="true")
    error = expect_error(response, 400, "INVALID_REQUEST", "/Last-Event-ID")
    assert last in error["error"]


def test_a_last_event_id_beyond_the_end(agent):
    identifier = start_id(agent, "printf 0123456789")
    wait_for_end(agent, identifier)
    response = get(agent, identifier, {**EVENTS, "Last-Event-ID": "11,0"}, follow="true")
    expect_error(response, 400, "INVALID_REQUEST", "/offset")


def test_events_of_awkward_text(agent):
    """Line breaks of all kinds inside the output do not break the framing."""
    text = "a\r\nb\rc\n\n\ndata: x\nid: 9,9\n\u2028\u0085:\0end"
    identifier = start_code(agent, f"import os; os.write(1, {text.encode()!r})")["process_id"]
    collector = Collector()
    with follow(agent, identifier, headers=EVENTS) as response:
        body = response.read().decode()
    add_events(collector, parse_events(body.split("\n")))
    assert collector.data["stdout"] == text.encode()


def test_characters_are_not_cut(agent):
    """A character whose bytes come one by one is told as a whole."""
    code = (
        "import os, time\n"
        "for b in '\u00e9\u20ac\U0001f600'.encode() * 4: os.write(1, bytes([b])); time.sleep(0.02)\n"
        "os.write(1, b'\\xe2\\x82')"
    )
    identifier = start_code(agent, code)["process_id"]
    pieces = []
    with follow(agent, identifier) as response:
        for line in response.iter_lines():
            line = json.loads(line)
            if line["type"] == "stdout":
                pieces.append(line["data"])
    assert "".join(pieces) == "\u00e9\u20ac\U0001f600" * 4 + "\ufffd"
    assert len(pieces) > 6
    assert all("\ufffd" not in piece for piece in pieces[:-1])


def test_follow_before_the_start(new_agent):
    agent = new_agent(max_processes=1)
    first = start_id(agent, "read line", tty=True)
    wait_for(agent, first)
    second = start_id(agent, "echo started; echo error >&2; exit 2")
    third = start_id(agent, "echo never")
    wait_for(agent, second, "queued")
    collectors = {identifier: Collector() for identifier in (second, third)}

    def run(identifier):
        with follow(agent, identifier) as response:
            assert response.headers["X-Process-Status"] == "queued"
            read_lines(response, collectors[identifier])

    threads = [threading.Thread(target=run, args=[identifier]) for identifier in collectors]
    for thread in threads:
        thread.start()
    wait_until(lambda: agent.gauges()["requests_live"] >= 3, "two followers")
    assert get(agent, second, stream="stdout").headers["X-Process-Status"] == "queued"
    assert get(agent, second).text.count("\n") == 1
    kill(agent, third)
    kill(agent, first)
    for thread in threads:
        thread.join(20 * time_factor())
        assert not thread.is_alive()
    assert collectors[second].data == {"stdout": b"started\n", "stderr": b"error\n"}
    assert collectors[second].last["exit_code"] == 2
    assert (collectors[third].n_pieces, collectors[third].last["status"]) == (0, "killed")


def test_two_followers(agent):
    code, expected = writer(41, size=40_000, pause=0.001)
    identifier = start_code(agent, code)["process_id"]
    collectors = [Collector() for _ in range(4)]

    def run(collector):
        with follow(agent, identifier) as response:
            read_lines(response, collector)

    threads = [threading.Thread(target=run, args=[collector]) for collector in collectors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60 * time_factor())
    for collector in collectors:
        assert collector.data == expected and collector.last


def test_overrun_is_told(new_agent):
    """A follower that is slower than the ring loses bytes, and knows which."""
    agent = new_agent(job_log_size="64K")
    code = "import os\nfor i in range(30000): os.write(1, b'%0999d\\n' % i)"
    identifier = start_code(agent, code)["process_id"]
    collector = Collector()
    with follow(agent, identifier) as response:
        assert response.status_code == 200
        for line in response.iter_lines():
            if not line:
                continue
            line = json.loads(line)
            if line["type"] == "stdout":
                check_numbered(line["offset"], line["data"])
            collector.add(line)
    assert collector.last["type"] == "end"
    assert collector.lost["stdout"] + len(collector.data["stdout"]) == 30_000_000
    assert collector.data["stdout"].endswith(b"%0999d\n" % 29999)


def check_numbered(offset, data):
    """Line N of the output above is the number N."""
    first, inside = divmod(offset, 1000)
    count = (inside + len(data)) // 1000 + 1
    assert "".join(f"{i:0999}\n" for i in range(first, first + count))[inside : inside + len(data)] == data


@pytest.mark.plain_build
def test_a_client_that_stops_reading(new_agent):
    """It costs a bounded amount of memory, the job goes on, and others do not wait."""
    agent = new_agent(job_log_size="4M")
    connections = []
    try:
        identifier = start_id(agent, "yes | head -c 400M; echo done >&2")
        wait_for(agent, identifier)
        before = resident(agent.pid)
        for _ in range(4):
            connection = RawConnection(agent.port, receive_buffer=4096)
            connection.send(head("GET", path_of(identifier) + "?follow=true", tokens.bearer(tokens.token())))
            connections.append(connection)
        assert wait_for_end(agent, identifier, timeout=60)["status"] == "completed"
        assert resident(agent.pid) - before < 4 * 2 * MIB
        with follow(agent, identifier, stream="stderr") as response:
            assert json.loads(next(response.iter_lines()))["data"] == "done\n"
    finally:
        for connection in connections:
            connection.socket.close()


def resident(pid):
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) * KIB for line in file if line.startswith("VmRSS"))


@pytest.mark.plain_build
def test_memory_is_flat_while_a_flood_is_followed(new_agent):
    agent = new_agent(job_log_size="1M")
    identifier = start_id(agent, "yes | head -c 1G")
    wait_for(agent, identifier)
    lost = data = 0
    peak = []
    with follow(agent, identifier, timeout=60) as response:
        for number, line in enumerate(response.iter_lines()):
            line = json.loads(line)
            if line["type"] != "stdout":
                break
            data += len(line["data"])
            lost += line.get("lost", 0)
            if number % 50 == 0:
                peak.append(resident(agent.pid))
    assert line["type"] == "end"
    assert data + lost == 1024 * MIB
    assert max(peak) - min(peak[len(peak) // 4 :]) < 6 * MIB, peak


def test_followers_are_limited(new_agent):
    agent = new_agent(max_connections=2000)
    identifier = start_id(agent, "read line; echo end", tty=True)
    wait_for(agent, identifier)
    connections = []
    try:
        request = head("GET", path_of(identifier) + "?follow=true", tokens.bearer(tokens.token()))
        for _ in range(256):
            connection = RawConnection(agent.port)
            connection.send(request)
            connections.append(connection)
        wait_until(lambda: agent.gauges()["requests_live"] >= 257, "256 followers", timeout=20)
        refused = get(agent, identifier, follow="true")
        error = expect_error(refused, 429, "RATE_LIMIT_EXCEEDED")
        assert "256" in error["error"] and refused.headers["Retry-After"] == "1"
        # The bytes of one stream need no follower.
        assert get(agent, identifier, stream="stdout").status_code == 200
        connections.pop().socket.close()
        wait_until(lambda: agent.gauges()["requests_live"] < 257, "one has left", timeout=20)
        with follow(agent, identifier) as response:
            assert response.status_code == 200
    finally:
        for connection in connections:
            connection.socket.close()


def test_evicted_while_followed(new_agent):
    """What was opened is told to the end, although the job is forgotten and its files are gone."""
    agent = new_agent(job_keep_count=1)
    size = 6 * MIB
    identifier = start_id(agent, f"yes | head -c {size}")
    wait_for_end(agent, identifier)
    collector = Collector()
    with follow(agent, identifier, stream="stdout") as response:
        lines = response.iter_lines()
        collector.add(json.loads(next(lines)))
        for _ in range(3):
            wait_for_end(agent, start_id(agent, "true"))
        wait_until(lambda: get(agent, identifier).status_code == 404, "the job is forgotten")
        assert not (agent.directory / "run" / "state" / "jobs" / identifier).exists()
        for line in lines:
            collector.add(json.loads(line))
    assert collector.data["stdout"] == b"y\n" * (size // 2)
    assert (collector.last["type"], collector.last["status"]) == ("end", "completed")


def test_the_agent_stops(new_agent):
    """There is no end then: the client knows that it must come back."""
    agent = new_agent()
    identifier = start_id(agent, "echo one; read line", tty=True)
    wait_for(agent, identifier)
    collector = Collector()
    with follow(agent, identifier) as response:
        lines = response.iter_lines()
        while b"one" not in collector.data["stdout"]:
            collector.add(json.loads(next(lines)))
        agent.signal(signal.SIGTERM)
        for line in lines:
            if line:
                collector.add(json.loads(line))
    assert collector.last is None
    agent.wait_for_exit()
    for pid in agent.keepers():  # the job goes on
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not agent.survivors(), "the end of the job")


def test_heartbeats(new_agent):
    agent = new_agent(heartbeat="100ms")
    identifier = start_id(agent, "read line", tty=True)
    wait_for(agent, identifier)
    with follow(agent, identifier) as response:
        assert next(response.iter_lines()) == ""
    with follow(agent, identifier, headers=EVENTS) as response:
        lines = response.iter_lines()
        assert any(line.startswith(":") for line in (next(lines) for _ in range(4)))


def test_clients_that_leave(agent):
    """At any moment, also while a worker reads."""
    identifier = start_id(agent, "yes | head -c 60M; sleep 0.2")
    generator = random.Random(51)
    for _ in range(40):
        with follow(agent, identifier, headers=generator.choice([None, EVENTS])) as response:
            if generator.random() < 0.8:
                cut_after(response, generator.choice([1, 1000, 300_000]))
    kill(agent, identifier, grace=0)
    wait_for_end(agent, identifier)
    agent.wait_until_idle()
