# SPDX-License-Identifier: Apache-2.0
"""Idempotency-Key on background requests: a repeat gets the same job as long as that is known, whichever agent it
asks."""

import json
import threading
import uuid

import pytest

from lib import tokens
from lib.expect import TIMESTAMP, expect_error, expect_json
from lib.jobs import expect_job, job_of, jobs_of, kill, start_id, wait_for, wait_for_end
from lib.restart import kill_agent, start_agent, stop_agent
from lib.waiting import wait_until
from lib.webhooks import Receiver, wait_for_state

REPLAYED = "Idempotency-Replayed"
KNOWN = "accepted before; "
PATHS = ["/commands/background", "/execute/background", "/execute/async"]
ENDS = {"kill": kill_agent, "stop": stop_agent}


@pytest.fixture(scope="module")
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


class Work:
    """A job that leaves a line in a file when it begins, and ends when the gate opens."""

    def __init__(self, agent, path, then="exit 3", gate=False, **fields):
        self.agent = agent
        self.path = path
        self.key = uuid.uuid4().hex
        self.counter = agent.workspace / f"{self.key}.runs"
        self.gate = agent.workspace / f"{self.key}.gate"
        wait = f"while [ ! -e {self.gate} ]; do sleep 0.01; done; " if gate else ""
        text = f"echo run >> {self.counter}; {wait}{then}"
        body = {"command": text} if path.startswith("/commands") else {"code": text, "language": "bash"}
        if path == "/execute/async":
            body["callback_url"] = "http://127.0.0.1:9/nobody"
        self.document = {**body, **fields}

    def post(self, headers=(), **fields):
        body = json.dumps({**self.document, **fields})
        headers = {"Idempotency-Key": self.key, **dict(headers)}
        return self.agent.http.post(self.path, content=body, headers=headers)

    def runs(self):
        return self.counter.read_text().count("run\n") if self.counter.exists() else 0

    def open_gate(self):
        self.gate.touch()


def expect_first(response):
    assert REPLAYED not in response.headers, "a new job"
    return expect_json(response)


def expect_known(response, first):
    """The job, as it is now, by an answer that can be used in the place of the first one."""
    answer = expect_job(expect_json(response))
    assert response.headers.get_list(REPLAYED) == ["true"]
    assert (answer["process_id"], answer["execution_id"]) == (first["process_id"], first["execution_id"])
    assert answer["success"] is True and TIMESTAMP.match(answer["timestamp"])
    assert answer["message"].startswith(KNOWN) and first["process_id"] in answer["message"]
    assert answer.get("callback_url") == first.get("callback_url")
    return answer


def restart(agent, end=kill_agent):
    end(agent)
    start_agent(agent)


@pytest.mark.smoke
@pytest.mark.parametrize("path", PATHS)
def test_after_the_answer_is_forgotten(new_agent, path):
    agent = new_agent(idempotency_ttl="1s")
    work = Work(agent, path)
    first = expect_first(work.post())
    wait_for_end(agent, first["process_id"])

    def is_forgotten():
        response = work.post()
        assert expect_json(response)["process_id"] == first["process_id"]
        return response if response.json()["message"].startswith(KNOWN) else None

    response = wait_until(is_forgotten, "the end of the answer's time")
    answer = expect_known(response, first)
    assert (answer["status"], answer["exit_code"]) == ("failed", 3)
    assert work.runs() == 1 and len(jobs_of(agent)) == 1
    expect_error(work.post(name="other"), 422, "IDEMPOTENCY_KEY_REUSED")


@pytest.mark.parametrize("end", sorted(ENDS))
@pytest.mark.parametrize("path", PATHS)
def test_after_a_restart(new_agent, path, end):
    agent = new_agent()
    work = Work(agent, path, gate=True)
    first = expect_first(work.post())
    wait_for(agent, first["process_id"])
    wait_until(lambda: work.runs() == 1, "start of the program")
    restart(agent, ENDS[end])
    assert expect_known(work.post(), first)["status"] == "running"
    work.open_gate()
    wait_for_end(agent, first["process_id"])
    assert expect_known(work.post(), first)["exit_code"] == 3, "the present state, not that of the last answer"
    restart(agent, ENDS[end])
    assert expect_known(work.post(), first)["status"] == "failed"
    assert work.runs() == 1 and len(jobs_of(agent)) == 1


def test_of_one_that_is_queued(new_agent):
    agent = new_agent(max_processes=1)
    running = start_id(agent, "sleep 1000")
    work = Work(agent, PATHS[0])
    first = expect_first(work.post())
    assert first["status"] == "queued"
    restart(agent)
    assert expect_known(work.post(), first)["status"] == "queued"
    kill(agent, running)
    wait_for_end(agent, first["process_id"])
    assert expect_known(work.post(), first)["status"] == "failed"
    assert work.runs() == 1


def test_of_one_that_was_killed(new_agent):
    agent = new_agent()
    work = Work(agent, PATHS[0], gate=True)
    first = expect_first(work.post())
    kill(agent, first["process_id"])
    wait_for_end(agent, first["process_id"])
    restart(agent)
    assert expect_known(work.post(), first)["status"] == "killed"


def test_another_body(new_agent):
    """Refused in the same words, whoever remembers the first one."""
    agent = new_agent()
    work = Work(agent, PATHS[0])
    first = expect_first(work.post())
    by_memory = work.post(name="other")
    restart(agent)
    by_job = work.post(name="other")
    for response in (by_memory, by_job):
        expect_error(response, 422, "IDEMPOTENCY_KEY_REUSED")
        assert REPLAYED not in response.headers
    assert by_memory.json()["message"] == by_job.json()["message"]
    expect_known(work.post(), first)
    assert len(jobs_of(agent)) == 1


def test_a_large_body(new_agent):
    """Its digest is a worker's."""
    agent = new_agent()
    work = Work(agent, PATHS[0], stdin="x" * (1 << 20))
    first = expect_first(work.post())
    restart(agent)
    expect_known(work.post(), first)
    expect_error(work.post(stdin="x" * ((1 << 20) - 1) + "y"), 422, "IDEMPOTENCY_KEY_REUSED")


def test_keys_belong_to_endpoint_and_subject(new_agent):
    agent = new_agent()
    work = Work(agent, PATHS[1])
    first = expect_first(work.post())
    restart(agent)
    other = expect_first(work.post(headers=tokens.bearer(tokens.token(agent.secret, sub="somebody-else"))))
    work.path = PATHS[0]
    third = expect_first(work.post(command="true"))
    assert len({job["process_id"] for job in (first, other, third)}) == 3
    work.path = PATHS[1]
    expect_known(work.post(), first)


def test_many_repeats_at_once(new_agent):
    agent = new_agent()
    work = Work(agent, PATHS[0], gate=True)
    first = expect_first(work.post())
    restart(agent)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(work.post())) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 16
    for answer in answers:
        expect_known(answer, first)
    work.open_gate()
    wait_for_end(agent, first["process_id"])
    assert work.runs() == 1


def test_what_was_refused_is_not_found(new_agent):
    """Its answer was an error, so the same key runs anew: at once, and by the next agent."""
    agent = new_agent()
    program = agent.workspace / "later"
    work = Work(agent, PATHS[0], command=str(program), args=[])
    expect_error(work.post(), 400, "COMMAND_NOT_FOUND", "/command")
    expect_error(work.post(), 400, "COMMAND_NOT_FOUND", "/command")
    jobs = agent.directory / "run/state/jobs"
    wait_until(lambda: not list(jobs.iterdir()), "removal of what was dropped")
    restart(agent)
    program.write_text("#!/bin/sh\nexit 5\n")
    program.chmod(0o755)
    first = expect_first(work.post())
    wait_for_end(agent, first["process_id"])
    restart(agent)
    assert expect_known(work.post(), first)["exit_code"] == 5


def test_what_is_no_longer_kept_is_not_found(new_agent):
    agent = new_agent(job_keep_count=1)
    work = Work(agent, PATHS[0])
    first = expect_first(work.post())
    wait_for_end(agent, first["process_id"])
    restart(agent)
    expect_known(work.post(), first)
    wait_for_end(agent, start_id(agent, "true"))
    wait_until(lambda: len(jobs_of(agent)) == 1, "eviction")
    second = expect_first(work.post())
    assert second["process_id"] != first["process_id"]
    wait_for_end(agent, second["process_id"])
    assert work.runs() == 2


def test_a_repeat_needs_no_room(new_agent):
    """What would be refused now was accepted then."""
    agent = new_agent(max_processes=1, max_queued_jobs=1, webhook_max_queued=1)
    work = Work(agent, PATHS[2], gate=True, workdir="below")
    (agent.workspace / "below").mkdir()
    first = expect_first(work.post())
    wait_for(agent, first["process_id"])
    queued = start_id(agent, "true")
    restart(agent)
    (agent.workspace / "below").rename(agent.workspace / "elsewhere")
    expect_known(work.post(), first)
    work.key = uuid.uuid4().hex
    assert work.post().status_code in (400, 429), "a new one is refused"
    work.open_gate()
    wait_for_end(agent, first["process_id"])
    wait_for_end(agent, queued)


def test_one_callback(new_agent, receiver):
    agent = new_agent()
    work = Work(agent, PATHS[2], callback_url=receiver.url("/ok"))
    first = expect_first(work.post())
    wait_for_state(agent, first["process_id"], "delivered")
    restart(agent)
    answer = expect_known(work.post(), first)
    assert answer["callback"]["status"] == "delivered"
    assert len(receiver.records(first["execution_id"])) == 1


def test_without_a_key_every_request_runs(new_agent):
    agent = new_agent()
    body = {"command": "true"}
    found = {expect_first(agent.http.post(PATHS[0], json=body))["process_id"] for _ in range(2)}
    restart(agent)
    found.add(expect_first(agent.http.post(PATHS[0], json=body))["process_id"])
    assert len(found) == 3
    for identifier in found:
        wait_for_end(agent, identifier)
        assert job_of(agent, identifier)["status"] == "completed"
