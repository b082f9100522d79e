# SPDX-License-Identifier: Apache-2.0
"""The result cache while something happens: identical requests at once, clients that leave, files that change, and
clearing in between."""

import os
import signal
import uuid

import pytest

from lib.cache import Counted, Parallel, clear, stats, wait_for_hits, without_marks
from lib.expect import expect_error, expect_result
from lib.waiting import wait_until


def file_in(agent, data=b"one\n"):
    path = agent.workspace / uuid.uuid4().hex
    path.write_bytes(data)
    return path


# In flight


@pytest.mark.smoke
def test_fifty_at_once_run_once(agent):
    code = Counted(agent, "echo done; echo $$", gate=True)
    before = stats(agent)
    parallel = Parallel(code, 50)
    wait_for_hits(agent, before["hits"], 49)
    code.open_gate()
    results = [expect_result(response) for response in parallel.join()]
    assert code.runs() == 1
    assert sorted(result["cached"] for result in results) == [False] + 49 * [True]
    for result in results:
        assert without_marks(result) == without_marks(results[0])
    assert stats(agent)["misses"] == before["misses"] + 1
    assert without_marks(code.result(True)) == without_marks(results[0])


def test_a_failure_is_everybodys(agent):
    code = Counted(agent, "echo wrong; exit 7", gate=True)
    before = stats(agent)["hits"]
    parallel = Parallel(code, 5)
    wait_for_hits(agent, before, 4)
    code.open_gate()
    for response in parallel.join():
        assert expect_result(response, 7)["stdout"] == "wrong\n"
    assert code.runs() == 1
    expect_result(code.post(), 7)
    assert code.runs() == 2


def test_an_error_is_everybodys(agent):
    """It could not be started at all."""
    code = Counted(agent)
    code.document["workdir"] = f"/no/such/{uuid.uuid4().hex}"
    for response in Parallel(code, 10).join():
        expect_error(response, 400, "WORKDIR_NOT_FOUND", "/workdir")
    assert code.runs() == 0


def test_too_many_wait(agent):
    code = Counted(agent, gate=True)
    before = stats(agent)["hits"]
    connections = [code.send() for _ in range(128)]
    wait_for_hits(agent, before, 127)
    response = code.post()
    expect_error(response, 429, "RATE_LIMIT_EXCEEDED", "/cache")
    assert response.headers["Retry-After"] == "1"
    code.open_gate()
    for connection in connections:
        assert connection.read_response().status_code == 200
        connection.close()
    assert code.runs() == 1


# Clients that leave


def test_the_first_leaves_and_others_stay(agent):
    code = Counted(agent, gate=True)
    before = stats(agent)["hits"]
    first = code.send()
    code.wait_for_runs(1)
    parallel = Parallel(code, 3)
    wait_for_hits(agent, before, 3)
    hangups = agent.gauges()["hangups"]
    first.close()
    wait_until(lambda: agent.gauges()["hangups"] > hangups, "hang-up")
    code.open_gate()
    for response in parallel.join():
        assert expect_result(response)["cached"] is True
    assert code.runs() == 1
    code.result(True)


def test_all_leave(agent):
    """Then it is ended, and who comes later begins anew."""
    code = Counted(agent, gate=True)
    before = stats(agent)["hits"]
    connections = [code.send()]
    code.wait_for_runs(1)
    connections += [code.send() for _ in range(3)]
    wait_for_hits(agent, before, 3)
    for connection in connections:
        connection.close()
    agent.wait_until_idle()
    code.open_gate()
    assert code.runs() == 1
    code.result(False)
    assert code.runs() == 2
    code.result(True)


def test_leaving_before_the_key_is_known(agent):
    """The worker reads a large file while its client leaves."""
    path = file_in(agent, bytes(60 << 20))
    code = Counted(agent)
    code.document["cache_inputs"] = [str(path)]
    for _ in range(3):
        code.send().close()
    agent.wait_until_idle(30)
    code.result(code.runs() > 0)
    path.unlink()


def test_with_an_idempotency_key(agent):
    """Both at once: the key's own answer is repeated as it was."""
    code = Counted(agent)
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    answers = [agent.http.post("/execute", json=code.document, headers=headers) for _ in range(2)]
    assert [expect_result(answer)["cached"] for answer in answers] == [False, False]
    assert answers[0].content == answers[1].content
    code.result(True)
    assert code.runs() == 1


def test_the_agent_stops_meanwhile(new_agent):
    agent = new_agent(shutdown_grace="100ms")
    code = Counted(agent, gate=True)
    connections = [code.send() for _ in range(3)]
    code.wait_for_runs(1)
    agent.is_closed = True
    agent.signal(signal.SIGTERM)
    assert agent.wait_for_exit(10) == 0
    for connection in connections:
        connection.close()
    assert not agent.survivors()
    assert code.runs() == 1


# Clearing


def test_what_runs_when_it_is_cleared_is_not_kept(agent):
    code = Counted(agent, gate=True)
    before = stats(agent)["misses"]
    parallel = Parallel(code, 1)
    code.wait_for_runs(1)
    clear(agent)
    later = Parallel(code, 1)  # does not join it
    code.wait_for_runs(2)
    assert stats(agent)["misses"] == before + 2
    code.open_gate()
    answers = [expect_result(run.join()[0]) for run in (parallel, later)]
    assert [answer["cached"] for answer in answers] == [False, False]
    assert code.result(True)["execution_id"] == answers[1]["execution_id"]


# Files


@pytest.mark.smoke
def test_files_count_by_their_content(agent):
    path = file_in(agent)
    code = Counted(agent, f"cat {path}")
    fields = {"cache_inputs": [str(path)]}
    assert code.result(False, **fields)["stdout"] == "one\n"
    assert code.result(True, **fields)["stdout"] == "one\n"
    path.write_text("two\n")
    assert code.result(False, **fields)["stdout"] == "two\n"
    path.unlink()
    path.write_text("one\n")  # another file, the same content
    assert code.result(True, **fields)["stdout"] == "one\n"
    os.utime(path, (1, 1))
    assert code.result(True, **fields)["stdout"] == "one\n"
    assert code.runs() == 2


def test_names_of_files(agent):
    """Relative ones start at the working directory; several are told apart."""
    directory = agent.workspace / uuid.uuid4().hex
    directory.mkdir()
    for name in "ab":
        (directory / name).write_text(name)
    code = Counted(agent)
    fields = {"workdir": str(directory), "cache_inputs": ["a", "b"]}
    code.result(False, **fields)
    code.result(True, **fields)
    code.result(True, **{**fields, "cache_inputs": [str(directory / "a"), "./b"]})
    code.result(False, **{**fields, "cache_inputs": ["a"]})
    (directory / "a").write_text("b")
    (directory / "b").write_text("a")
    code.result(False, **fields)


def test_a_file_that_changes_meanwhile(agent):
    """Nobody knows which one the program has seen, not even when it is the old one again at the end."""
    path = file_in(agent)
    code = Counted(agent, f"cat {path}", gate=True)
    code.document["cache_inputs"] = [str(path)]
    parallel = Parallel(code, 1)
    code.wait_for_runs(1)
    path.write_text("two\n")
    path.write_text("one\n")
    code.open_gate()
    assert expect_result(parallel.join()[0])["cached"] is False
    code.result(False)
    code.result(True)


def test_a_program_that_changes_its_own_file(agent):
    path = file_in(agent)
    code = Counted(agent, f"echo more >> {path}")
    code.document["cache_inputs"] = [str(path)]
    code.result(False)
    path.write_text("one\n")
    code.result(False)


def test_files_that_cannot_be_named(agent):
    code = Counted(agent)
    path = file_in(agent)
    fifo = agent.workspace / uuid.uuid4().hex
    os.mkfifo(fifo)
    large = agent.workspace / uuid.uuid4().hex
    with open(large, "wb") as f:
        f.truncate((64 << 20) + 1)
    rows = [
        (f"{agent.workspace}/missing", 400, "INVALID_REQUEST", "not found"),
        (str(agent.workspace), 400, "INVALID_REQUEST", "directory"),
        (str(fifo), 400, "INVALID_REQUEST", None),
        (str(large), 400, "INVALID_REQUEST", "67108864"),
        ("/etc/passwd", 403, "PATH_NOT_ALLOWED", None),
    ]
    for name, status, problem, words in rows:
        response = code.post(cache_inputs=[str(path), name])
        document = expect_error(response, status, problem, "/cache_inputs/1")
        assert document["message"].startswith("cache_inputs[1]: ")
        assert name in document["message"]
        assert not words or words in document["message"]
    large.unlink()
    expect_error(code.post(cache_inputs=257 * ["x"]), 400, "INVALID_REQUEST", "/cache_inputs")
    assert code.runs() == 0
