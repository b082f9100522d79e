# SPDX-License-Identifier: Apache-2.0
"""Webhooks and an agent that is killed: none is lost, and repeats can be told by their id.

TEST_WEBHOOK_KILLS is the number of random kills (10 by default)."""

import json
import os
import random
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from lib.jobs import wait_for, wait_for_end, wait_for_output
from lib.restart import kill_agent, start_agent, stop_agent
from lib.waiting import wait_until
from lib.webhooks import SECRET, Receiver, body_of, start, state_of, wait_for_state

N_KILLS = int(os.environ.get("TEST_WEBHOOK_KILLS") or 10)
N_PENDING = 20
OPTIONS = {
    "webhook_retry_first": "20ms",
    "webhook_retry_max": "100ms",
    "webhook_max_tries": 100,
    "webhook_max_sending": 64,
    "max_processes": 64,
}


@pytest.fixture(scope="module")
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


def job_directory(agent, answer):
    return Path(agent.options["runtime_dir"]) / "state" / "jobs" / answer["process_id"]


def journal_of(agent, answer):
    return Path(agent.options["runtime_dir"]) / "state" / "webhooks" / f"{answer['execution_id']}.json"


def expect_delivered(agent, receiver, answer, stdout, timeout=30):
    """It has been received, once or again, and always with the same id and result. Returns how often."""
    state = wait_for_state(agent, answer["process_id"], "delivered", timeout=timeout)
    assert state["delivery_id"] == answer["execution_id"]
    records = receiver.records(answer["execution_id"])
    assert records, "lost"
    bodies = [body_of(record) for record in records]
    for body in bodies:
        body.pop("timestamp")  # of a body that had to be made again
        assert body == bodies[0]
    assert (bodies[0]["stdout"], bodies[0]["status"]) == (stdout, "completed")
    return len(records)


@pytest.mark.parametrize("path", ["/hang-then-ok/1", "/retry-after/3/1"])
def test_kill_with_pending_webhooks(new_agent, receiver, path):
    """In the middle of an attempt, or between two of them."""
    agent = new_agent(**OPTIONS)
    answers = [
        start(agent, receiver.url(path), code=f"echo {i}", language="bash", callback_signature_secret=SECRET,
              callback_headers={"X-Number": str(i)})
        for i in range(N_PENDING)
    ]  # fmt: skip
    for answer in answers:
        receiver.wait(answer["execution_id"])
        assert state_of(agent, answer["process_id"])["status"] != "delivered"
    kill_agent(agent)
    start_agent(agent)
    for i, answer in enumerate(answers):
        expect_delivered(agent, receiver, answer, f"{i}\n")
        for record in receiver.records(answer["execution_id"]):
            assert record["verified"] == ["body"] and record["headers"]["x-number"] == str(i)


def test_attempts_are_still_counted(new_agent, receiver):
    agent = new_agent(**{**OPTIONS, "webhook_retry_first": "1h", "webhook_retry_max": "1h"})
    answer = start(agent, receiver.url("/status/503"))
    receiver.wait(answer["execution_id"])
    wait_until(lambda: state_of(agent, answer["process_id"])["attempts"] == 1, "an attempt")
    before = state_of(agent, answer["process_id"])
    wait_until(lambda: b'"attempts":1' in journal_of(agent, answer).read_bytes(), "the journal's note")
    kill_agent(agent)
    start_agent(agent)
    after = wait_for_state(agent, answer["process_id"], "pending")
    assert (after["attempts"], after["last_error"], after["last_status"]) == (1, "HTTP status 503", 503)
    assert after["next_attempt_at"][:16] == before["next_attempt_at"][:16]
    assert len(receiver.records(answer["execution_id"])) == 1


def test_job_ends_without_an_agent(new_agent, receiver, tmp_path):
    agent = new_agent(**OPTIONS)
    tmp_path.chmod(0o777)
    gate = tmp_path / "gate"
    code = f"while [ ! -e {gate} ]; do sleep 0.01; done; echo ended"
    answer = start(agent, receiver.url("/ok"), code=code, language="bash", timeout=60)
    wait_for(agent, answer["process_id"])
    kill_agent(agent)
    gate.touch()
    wait_until((job_directory(agent, answer) / "status").exists, "the job's end")
    assert receiver.records(answer["execution_id"]) == []
    start_agent(agent)
    assert expect_delivered(agent, receiver, answer, "ended\n") == 1


def test_stopped_agent_leaves_it_to_the_next(new_agent, receiver):
    agent = new_agent(**OPTIONS)
    answer = start(agent, receiver.url("/hang-then-ok/1"))
    receiver.wait(answer["execution_id"])
    stop_agent(agent)
    assert journal_of(agent, answer).exists()
    start_agent(agent)
    assert expect_delivered(agent, receiver, answer, "out\n") == 2


def test_stop_in_the_middle(new_agent, receiver):
    """Some jobs still run, some wait for their turn, some are being written down, some sent."""
    agent = new_agent(**OPTIONS)
    for _ in range(4):
        code = "head -c 300000 /dev/zero | tr '\\0' x"
        answers = [start(agent, receiver.url("/ok"), code=code, language="bash") for _ in range(15)]
        wait_until(lambda a=answers: receiver.records(a[0]["execution_id"]), "the first of them")
        stop_agent(agent)
        start_agent(agent)
        for answer in answers:
            expect_delivered(agent, receiver, answer, "x" * 300000)


def test_delivered_is_remembered(new_agent, receiver):
    agent = new_agent(**OPTIONS)
    answer = start(agent, receiver.url("/ok"))
    expect_delivered(agent, receiver, answer, "out\n")
    before = state_of(agent, answer["process_id"])
    stop_agent(agent)
    assert not journal_of(agent, answer).exists()
    start_agent(agent)
    assert state_of(agent, answer["process_id"]) == before
    other = start(agent, receiver.url("/ok"))
    expect_delivered(agent, receiver, other, "out\n")
    assert len(receiver.records(answer["execution_id"])) == 1


def test_killed_before_the_end_was_noted(new_agent, receiver):
    """It has been delivered and left the journal, but the job does not know: a repeat, with the same id."""
    agent = new_agent(**OPTIONS)
    answer = start(agent, receiver.url("/ok"))
    expect_delivered(agent, receiver, answer, "out\n")
    note = job_directory(agent, answer) / "callback.json"
    wait_until(note.exists, "callback.json")
    kill_agent(agent)
    note.unlink()
    start_agent(agent)
    receiver.wait(answer["execution_id"], 2)
    assert expect_delivered(agent, receiver, answer, "out\n") == 2


def test_killed_before_the_journal_was_cleared(new_agent, receiver, tmp_path):
    """The other way round: the job knows, and the journal does not. A repeat again, and the state stays."""
    agent = new_agent(**OPTIONS)
    answer = start(agent, receiver.url("/hang-then-ok/1"))
    receiver.wait(answer["execution_id"])
    shutil.copy(journal_of(agent, answer), tmp_path / "copy")
    kill_agent(agent)
    start_agent(agent)
    assert expect_delivered(agent, receiver, answer, "out\n") == 2
    before = state_of(agent, answer["process_id"])
    stop_agent(agent)
    shutil.copy(tmp_path / "copy", journal_of(agent, answer))
    start_agent(agent)
    receiver.wait(answer["execution_id"], 3)
    wait_until(lambda: not journal_of(agent, answer).exists(), "an empty journal")
    assert state_of(agent, answer["process_id"]) == before


def test_damaged_program(new_agent, receiver):
    """Without its headers and its secret it is not sent: nobody would believe it."""
    agent = new_agent(**OPTIONS)
    answer = start(agent, receiver.url("/ok"), code="import time; time.sleep(1000)")
    wait_for(agent, answer["process_id"])
    (job_directory(agent, answer) / "program.json").write_text("{")
    agent.http.post(f"/execute/kill/{answer['process_id']}", json={"grace": 0})
    state = wait_for_state(agent, answer["process_id"], "failed")
    assert state["attempts"] == 0 and state["last_error"]
    assert receiver.records(answer["execution_id"]) == []


# A full disk


@pytest.fixture
def small_disk(tmp_path):
    directory = tmp_path / "disk"
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=755", "tmpfs", directory]
    if subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode != 0:
        pytest.skip("no right to mount")
    yield directory
    subprocess.run(["umount", "-l", directory], check=True)


def fill(file):
    with file.open("wb", buffering=0) as f:
        size = 1 << 16
        while size:
            try:
                f.write(b"x" * size)
            except OSError:
                size //= 2


def test_full_disk(small_disk, receiver):
    """It waits for room, says so, and is sent when there is some; the same after a restart."""
    from lib.agent import Agent

    agent = Agent(**OPTIONS, state_dir=small_disk / "state")
    try:
        gate = agent.directory / "gate"
        # So much that it does not fit where the removal of the scripts leaves room.
        code = f"head -c 100000 /dev/zero | tr '\\0' x; echo before; while [ ! -e {gate} ]; do sleep 0.01; done; exit 0"
        answers = [
            start(agent, receiver.url("/ok"), code=code, language="bash", timeout=120, name=str(i)) for i in range(3)
        ]
        for answer in answers:
            wait_for_output(agent, answer["process_id"], "before\n")
        fill(small_disk / "filler")
        gate.touch()
        for answer in answers:
            wait_for_end(agent, answer["process_id"])
        wait_until(lambda: any(state_of(agent, a["process_id"])["last_error"] for a in answers), "an error")
        for answer in answers:
            state = state_of(agent, answer["process_id"])
            assert state["status"] == "waiting" and state["attempts"] == 0
            assert state["last_error"] is None or "No space left" in state["last_error"]
        kill_agent(agent)
        start_agent(agent)
        assert {state_of(agent, a["process_id"])["status"] for a in answers} == {"waiting"}
        (small_disk / "filler").unlink()
        for answer in answers:
            assert expect_delivered(agent, receiver, answer, "x" * 100000 + "before\n") == 1
    finally:
        agent.close()


# Whenever it comes


def submit(agent, receiver, rng, number):
    """The answer, or None if the agent was gone before it."""
    code = f"sleep {rng.choice([0, 0, 0.05, 0.3])}; echo {number}"
    body = {"code": code, "language": "bash", "callback_url": receiver.url("/random")}
    body["callback_signature_secret"] = SECRET
    try:
        response = agent.http.post("/execute/async", json=body)
    except httpx.TransportError:
        return None
    assert response.status_code == 200, response.text
    return response.json()


def test_random_kills(new_agent, receiver):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    agent = new_agent(**OPTIONS)
    promised = {}
    number = 0
    for _ in range(N_KILLS):
        killer = subprocess.Popen(["/bin/sh", "-c", f"sleep {rng.uniform(0, 0.4):.3f}; kill -9 {agent.pid}"])
        while killer.poll() is None:
            answer = submit(agent, receiver, rng, number)
            if answer:
                promised[number] = answer
            number += 1
            if number % 5 == 0:
                killer.wait()
        agent.process.wait()
        start_agent(agent)
    n_requests = sum(expect_delivered(agent, receiver, a, f"{i}\n", timeout=60) for i, a in promised.items())
    print(f"{len(promised)} promised, {n_requests} requests")
    assert len(promised) >= N_KILLS / 2
    for answer in promised.values():
        assert {json.dumps(r["verified"]) for r in receiver.records(answer["execution_id"])} == {'["body"]'}
