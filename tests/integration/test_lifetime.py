# SPDX-License-Identifier: Apache-2.0
"""Clients that vanish, stall and crowd, and an agent that is told to stop, at every step of a request."""

import random
import signal
import threading
import time
import uuid

import pytest

from lib import procfs, raw
from lib.agent import MARK, Agent
from lib.expect import expect_error, expect_json, expect_result
from lib.waiting import time_factor, wait_until

BIG = "import sys\nsys.stdout.write('z' * (12 << 20))"


@pytest.fixture(scope="module")
def agent():
    agent = Agent(max_body="64K")
    yield agent
    agent.close()


def long_request(agent, mark, command="echo before; sleep 1000"):
    document = {"command": command, "env": {"LIFETIME_MARK": mark}}
    return raw.post("/commands/run", document, agent.http.headers)


def big_request(agent, mark):
    document = {"command": "python3", "args": ["-c", BIG], "env": {"LIFETIME_MARK": mark}}
    return raw.post("/commands/run", document, agent.http.headers)


def wait_for_program(mark):
    wait_until(lambda: procfs.with_environment("LIFETIME_MARK", mark), "start of the program")


def wait_for_its_end(mark):
    def is_gone():
        return not procfs.with_environment("LIFETIME_MARK", mark)

    wait_until(is_gone, lambda: procfs.describe(procfs.with_environment("LIFETIME_MARK", mark)))


# Each step sends what leads to a point in a request's life and returns there.


def nothing_sent(agent, connection, mark):
    pass


def half_a_request_line(agent, connection, mark):
    connection.send(b"POST /comm")


def after_the_request_line(agent, connection, mark):
    connection.send(b"POST /commands/run HTTP/1.1\r\n")


def mid_headers(agent, connection, mark):
    connection.send(long_request(agent, mark).split(b"\r\n\r\n")[0][:-10])


def after_the_headers(agent, connection, mark):
    connection.send(long_request(agent, mark).split(b"\r\n\r\n")[0] + b"\r\n\r\n")


def mid_body(agent, connection, mark):
    connection.send(long_request(agent, mark)[:-7])


def mid_chunk(agent, connection, mark):
    fields = {"Transfer-Encoding": "chunked", "Authorization": agent.http.headers["authorization"]}
    connection.send(raw.head("POST", "/commands/run", fields) + b'20\r\n{"comm')


def as_soon_as_sent(agent, connection, mark):
    connection.send(long_request(agent, mark))


def while_running(agent, connection, mark):
    connection.send(long_request(agent, mark))
    wait_for_program(mark)


def while_waiting_behind_another(agent, connection, mark):
    """Pipelined: the first runs, the second is not even looked at."""
    connection.send(long_request(agent, mark) * 2)
    wait_for_program(mark)


def while_the_answer_is_sent(agent, connection, mark):
    connection.send(big_request(agent, mark))
    connection.read_head()


def after_the_answer(agent, connection, mark):
    connection.send(raw.head("GET", "/health"))
    connection.read_response()


def after_a_refusal(agent, connection, mark):
    connection.send(raw.head("POST", "/execute", {"Content-Length": 1000000}) + b"x" * 1000)
    connection.read_head()


STEPS = [
    nothing_sent,
    half_a_request_line,
    after_the_request_line,
    mid_headers,
    after_the_headers,
    mid_body,
    mid_chunk,
    as_soon_as_sent,
    while_running,
    while_waiting_behind_another,
    while_the_answer_is_sent,
    after_the_answer,
    after_a_refusal,
]

by_name = {"ids": lambda step: getattr(step, "__name__", None)}


@pytest.mark.parametrize("way", ["close", "reset"])
@pytest.mark.parametrize("step", STEPS, **by_name)
def test_the_client_vanishes(agent, step, way):
    mark = uuid.uuid4().hex
    connection = raw.RawConnection(agent.port, receive_buffer=4096)
    step(agent, connection, mark)
    getattr(connection, way)()
    wait_for_its_end(mark)
    agent.wait_until_idle(timeout=10)
    wait_until(lambda: agent.gauges()["connections"] <= 1, "end of the connection", timeout=10)


@pytest.mark.smoke
def test_a_hang_up_ends_the_whole_tree(agent):
    mark = uuid.uuid4().hex
    command = "setsid sleep 1000 & (trap '' TERM; sleep 1000) & sleep 1000"
    connection = raw.RawConnection(agent.port)
    connection.send(long_request(agent, mark, command))
    wait_until(lambda: len(procfs.with_environment("LIFETIME_MARK", mark)) >= 4, "the tree")
    connection.close()
    wait_for_its_end(mark)


def test_a_half_closed_connection_is_a_hang_up_or_gets_its_answer(agent):
    """Half-closing after a request is legal, and a proxy's way to say goodbye: either is right, hanging is not."""
    mark = uuid.uuid4().hex
    with raw.RawConnection(agent.port) as connection:
        connection.send(long_request(agent, mark, "sleep 0.2; echo done"))
        connection.half_close()
        try:
            assert connection.read_response().json()["stdout"] == "done\n"
        except raw.ConnectionEnded:
            pass
    wait_for_its_end(mark)


def test_a_storm_in_random_order(agent):
    seconds = 10
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    failures = []

    def client(number):
        chooser = random.Random(seed + number)
        end = time.monotonic() + seconds
        while time.monotonic() < end and not failures:
            step = chooser.choice(STEPS)
            mark = uuid.uuid4().hex
            try:
                connection = raw.RawConnection(agent.port, receive_buffer=4096)
                step(agent, connection, mark)
                getattr(connection, chooser.choice(["close", "reset", "close"]))()
            except Exception as error:
                failures.append(f"{step.__name__}: {error!r}")

    threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    agent.wait_until_idle(timeout=20)
    expect_result(agent.run("echo still here"))


def test_timeouts_race_exits(agent):
    """Programs that end at about the moment of their deadline: one answer each, and one that makes sense."""
    outcomes = set()

    def run(n):
        response = agent.run(f"sleep {0.18 + 0.005 * n}; echo done", timeout=0.2)
        result = expect_json(response)
        outcomes.add(result["reason"])
        assert (result["exit_code"], result["reason"]) in ((0, "exit"), (124, "timeout"))

    threads = [threading.Thread(target=run, args=(n,)) for n in range(-8, 12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes <= {"exit", "timeout"}


# The agent is stopped. What still must hold is in Agent.check_remains: status 0 and no survivors.


@pytest.mark.parametrize("step", STEPS, **by_name)
def test_stop_at_every_step(new_agent, step):
    agent = new_agent(shutdown_grace="200ms")
    mark = uuid.uuid4().hex
    with raw.RawConnection(agent.port, receive_buffer=4096) as connection:
        step(agent, connection, mark)
        agent.signal(signal.SIGTERM)
        agent.wait_for_exit()
    assert not procfs.with_environment("LIFETIME_MARK", mark)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_running_requests_finish_in_the_grace_period(new_agent, number):
    agent = new_agent(shutdown_grace="20s")
    mark = uuid.uuid4().hex
    with raw.RawConnection(agent.port) as connection:
        connection.send(long_request(agent, mark, "sleep 0.5; echo finished"))
        wait_for_program(mark)
        agent.signal(number)
        wait_until(lambda: is_refusing(agent), "closed listener")
        response = connection.read_response()
    assert expect_result(response)["stdout"] == "finished\n"
    assert agent.wait_for_exit() == 0


def is_refusing(agent):
    try:
        raw.RawConnection(agent.port).close()
        return False
    except (ConnectionRefusedError, ConnectionResetError):
        return True


def test_what_outlives_the_grace_period_is_answered_and_killed(new_agent):
    agent = new_agent(shutdown_grace="300ms")
    mark = uuid.uuid4().hex
    with raw.RawConnection(agent.port) as connection:
        connection.send(long_request(agent, mark))
        wait_for_program(mark)
        agent.signal(signal.SIGTERM)
        try:
            response = connection.read_response()
        except raw.ConnectionEnded:
            response = None
    assert agent.wait_for_exit() == 0
    if response and response.status_code == 200:
        result = response.json()
        assert result["reason"] == "cancelled" and result["stdout"] == "before\n"
    elif response:
        expect_error(response, 503, "SERVICE_UNAVAILABLE")


def test_new_requests_during_the_grace_period_are_refused(new_agent):
    agent = new_agent(shutdown_grace="20s")
    mark = uuid.uuid4().hex
    with raw.RawConnection(agent.port) as busy, raw.RawConnection(agent.port) as idle:
        idle.send(raw.head("GET", "/health"))
        assert idle.read_response().status_code == 200
        busy.send(long_request(agent, mark, "sleep 1; echo finished"))
        wait_for_program(mark)
        agent.signal(signal.SIGTERM)
        wait_until(lambda: is_refusing(agent), "closed listener")
        if idle.try_send(raw.post("/commands/run", {"command": "true"}, agent.http.headers)):
            try:
                expect_error(idle.read_response(), 503, "SERVICE_UNAVAILABLE")
            except raw.ConnectionEnded:
                pass
        assert expect_result(busy.read_response())["stdout"] == "finished\n"
    assert agent.wait_for_exit() == 0


def test_a_second_signal_ends_the_grace_period(new_agent):
    agent = new_agent(shutdown_grace="1h")
    mark = uuid.uuid4().hex
    with raw.RawConnection(agent.port) as connection:
        connection.send(long_request(agent, mark))
        wait_for_program(mark)
        agent.signal(signal.SIGTERM)
        wait_until(lambda: is_refusing(agent), "closed listener")
        agent.signal(signal.SIGTERM)
        assert agent.wait_for_exit() == 0


def test_stopping_ends_what_was_left_running(new_agent):
    agent = new_agent()
    expect_result(agent.run("setsid sleep 1000 >/dev/null 2>&1 & echo started"))
    wait_until(agent.survivors, "what was left running")  # in the middle of its exec it has no environment
    agent.signal(signal.SIGTERM)
    assert agent.wait_for_exit() == 0
    assert not procfs.with_environment(MARK, agent.mark)


@pytest.mark.parametrize("path", ["/commands/run", "/health"])
def test_a_body_that_comes_after_the_grace_period(new_agent, path):
    """Its headers were accepted before the signal, but what would answer it has been shut down meanwhile."""
    agent = new_agent(shutdown_grace="100ms")
    body = b'{"command": "true"}'
    headers = {**agent.http.headers, "Content-Length": len(body)}
    with raw.RawConnection(agent.port) as connection:
        connection.send(raw.head("POST" if path != "/health" else "GET", path, headers) + body[:5])
        wait_until(lambda: agent.gauges()["requests_live"] == 2, "the headers to arrive")
        agent.signal(signal.SIGTERM)
        wait_until(lambda: "grace period over" in agent.log(), "the end of the grace period")
        connection.try_send(body[5:])
        try:
            expect_error(connection.read_response(), 503, "SERVICE_UNAVAILABLE")
        except raw.ConnectionEnded:
            pass
    assert agent.wait_for_exit() == 0


# Slow and many.


def cut_within(connection, seconds):
    """Waits for the peer to end the connection, with an answer or without; how long that took."""
    start = time.monotonic()
    connection.read_to_end()
    elapsed = time.monotonic() - start
    assert elapsed < seconds * time_factor(), f"took {elapsed} s"
    return elapsed


@pytest.mark.parametrize("step", [nothing_sent, half_a_request_line, mid_headers], **by_name)
def test_slow_headers_are_cut(new_agent, step):
    agent = new_agent(header_timeout="300ms")
    with raw.RawConnection(agent.port) as connection:
        step(agent, connection, "none")
        cut_within(connection, 3)


def test_trickled_headers_are_cut(new_agent):
    """A byte now and then keeps an idle timer happy, but not a deadline for the headers."""
    agent = new_agent(header_timeout="500ms")
    with raw.RawConnection(agent.port) as connection:
        connection.send(b"GET /health HTTP/1.1\r\nX-Slow: ")
        start = time.monotonic()
        connection.socket.settimeout(0.05)
        while time.monotonic() - start < 10 * time_factor():
            if not connection.try_send(b"x"):
                break
            try:
                if connection.socket.recv(1000) == b"":
                    break
            except TimeoutError:
                continue
            except ConnectionResetError:
                break
        assert time.monotonic() - start < 3 * time_factor()


@pytest.mark.parametrize("step", [after_the_headers, mid_body, mid_chunk], **by_name)
def test_slow_bodies_are_cut(new_agent, step):
    agent = new_agent(body_timeout="300ms", max_body="64K")
    with raw.RawConnection(agent.port) as connection:
        step(agent, connection, "none")
        assert "body-timeout" in expect_error(connection.read_response(), 408, "REQUEST_TIMEOUT")["message"]
        cut_within(connection, 5)
    agent.wait_until_idle()
    wait_until(lambda: " status=408 " in agent.log(), lambda: f"the access line\n{agent.log_tail()}")


def test_idle_connections_are_closed(new_agent):
    agent = new_agent(idle_timeout="300ms", header_timeout="300ms")
    with raw.RawConnection(agent.port) as connection:
        connection.send(raw.head("GET", "/health"))
        connection.read_response()
        cut_within(connection, 3)


def test_a_quiet_execution_is_not_idle(new_agent):
    agent = new_agent(idle_timeout="300ms", header_timeout="300ms", body_timeout="300ms")
    assert expect_result(agent.run("sleep 1.5; echo patient"))["stdout"] == "patient\n"


def test_slow_connections_do_not_keep_others_out(new_agent):
    agent = new_agent(max_connections=200)
    slow = [raw.RawConnection(agent.port) for _ in range(100)]
    for connection in slow:
        connection.send(b"GET /health HTTP/1.1\r\nX-Slow: ")
    expect_json(agent.anonymous.get("/health"))
    for connection in slow:
        connection.close()


def test_200_parallel_sleeps(agent):
    """Within 5 s on two cores, without a single error."""
    connections = []
    start = time.monotonic()
    for _ in range(200):
        connection = raw.RawConnection(agent.port, timeout=60)
        connection.send(raw.post("/execute", {"code": "sleep 1; echo ok", "language": "bash"}, agent.http.headers))
        connections.append(connection)
    results = [expect_result(connection.read_response()) for connection in connections]
    elapsed = time.monotonic() - start
    assert [result["stdout"] for result in results] == ["ok\n"] * 200
    assert elapsed < 5 * time_factor(), f"took {elapsed} s"
    for connection in connections:
        connection.close()


def test_at_the_limit_the_next_one_is_told(new_agent):
    agent = new_agent(max_processes=3)
    marks = [uuid.uuid4().hex for _ in range(3)]
    running = [raw.RawConnection(agent.port) for _ in marks]
    for connection, mark in zip(running, marks):
        gate = agent.directory / mark
        connection.send(long_request(agent, mark, f"while [ ! -e {gate} ]; do sleep 0.01; done; echo kept"))
        wait_for_program(mark)
    for _ in range(3):
        response = agent.run("echo too much")
        expect_error(response, 429, "RATE_LIMIT_EXCEEDED")
        assert int(response.headers["Retry-After"]) >= 1
    assert expect_json(agent.anonymous.get("/health"))["status"] == "healthy"
    for connection, mark in zip(running, marks):
        (agent.directory / mark).touch()
        assert expect_result(connection.read_response())["stdout"] == "kept\n"
        connection.close()
    agent.wait_until_idle()
    assert expect_result(agent.run("echo again"))["stdout"] == "again\n"


@pytest.mark.parametrize("count", [10, 11, 30])
def test_at_the_limit_of_connections_the_others_wait(new_agent, count):
    """Nobody is turned away for good: when connections end, whoever waits, and whoever comes, is served."""
    agent = new_agent(max_connections=10)
    agent.close_clients()
    connections = [raw.RawConnection(agent.port) for _ in range(count)]
    for connection in connections:
        connection.send(raw.head("GET", "/ping"))
    for connection in connections:
        assert connection.read_response().status_code == 200
        connection.close()
    with raw.RawConnection(agent.port, timeout=5) as connection:
        connection.send(raw.head("GET", "/ping"))
        assert connection.read_response().status_code == 200
    agent.open_clients()


def test_descriptors_do_not_leak(agent):
    def count():
        agent.wait_until_idle()
        return len(procfs.open_fds(agent.pid))

    expect_result(agent.run("true"))
    before = count()
    for _ in range(20):
        expect_result(agent.run("echo x; echo y >&2", stdin="z"))
        expect_result(agent.execute("echo x", "bash"))
        agent.run("no-such-command", args=[])
        agent.run("true", workdir="/no/such/dir")
    assert count() <= before + 2
