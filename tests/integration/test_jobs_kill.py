# SPDX-License-Identifier: Apache-2.0
"""Killing executions, in every form that clients have for it, and nothing else."""

import contextlib
import os
import signal
import socket
import threading
import time

import httpx
import pytest

from lib import procfs
from lib.expect import TIMESTAMP, expect_error, expect_json
from lib.jobs import job_of, jobs_of, kill, start, start_id, wait_for, wait_for_end, wait_for_output
from lib.processes import SLEEPER, child, rows_by_pid
from lib.waiting import time_factor, wait_until

# Clients do not wait longer for a kill.
PATIENCE = 10


def request_of(form, identifier):
    """(method, path, options) of each way to ask for it."""
    return {
        "POST path": ("POST", f"/execute/kill/{identifier}", {}),
        "DELETE body": ("DELETE", "/execute/kill", {"json": {"process_id": identifier}}),
        "DELETE query": ("DELETE", "/execute/kill", {"params": {"process_id": identifier}}),
        "POST body": ("POST", "/execute/kill", {"json": {"process_id": identifier}}),
        "POST processes": ("POST", f"/processes/{identifier}/kill", {}),
        "POST own": ("POST", f"/execute/processes/{identifier}/kill", {}),
        "DELETE path": ("DELETE", f"/execute/kill/{identifier}", {}),
        "POST query": ("POST", "/execute/kill", {"params": {"process_id": identifier}}),
    }[form]


FORMS = [
    "POST path", "DELETE body", "DELETE query", "POST body", "POST processes", "POST own", "DELETE path", "POST query",
]  # fmt: skip


def killed_by(agent, form, identifier):
    method, path, options = request_of(form, identifier)
    return agent.http.request(method, path, **options)


def expect_kill(response, job, status="killed", message="Process terminated successfully"):
    document = expect_json(response)
    assert document["success"] is True
    assert (document["process_id"], document["execution_id"]) == (job["process_id"], job["execution_id"])
    assert (document["status"], document["message"]) == (status, message)
    assert TIMESTAMP.match(document["timestamp"])
    return document


@contextlib.contextmanager
def foreground(agent, command):
    """The row of a foreground command's leader, and the list that gets its answer."""
    answers = []
    mine = f"foreground-{time.monotonic_ns()}"

    def run():
        with httpx.Client(base_url=agent.url, headers=agent.http.headers, timeout=60) as client:
            answers.append(client.post("/commands/run", json={"command": command, "env": {"MINE": mine}}))

    thread = threading.Thread(target=run)
    thread.start()

    def find():
        for pid in procfs.with_environment("MINE", mine):
            row = rows_by_pid(agent, ours=True).get(pid)
            if row and row["ppid"] == agent.pid:
                return row
        return None

    try:
        yield wait_until(find, "the command's leader"), answers
    finally:
        for pid in procfs.with_environment("MINE", mine):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        thread.join()


@pytest.mark.smoke
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("what", ["process_id", "execution_id", "pid"])
def test_every_form(agent, form, what):
    job = wait_for(agent, start_id(agent, "sleep 1000; true"))
    began = time.monotonic()
    document = expect_kill(killed_by(agent, form, str(job[what])), job)
    assert time.monotonic() - began < 5 * time_factor()
    assert document["exit_code"] == 143  # SIGTERM was enough
    (row,) = [row for row in jobs_of(agent) if row["process_id"] == job["process_id"]]
    assert (row["status"], row["reason"], row["signal"]) == ("killed", "killed", signal.SIGTERM)
    wait_until(lambda: not procfs.is_running(job["pid"]), "the end of the leader")


def test_other_names_of_the_field(agent):
    for options in (
        lambda job: {"json": {"execution_id": job["execution_id"]}},
        lambda job: {"params": {"execution_id": job["execution_id"]}},
        lambda job: {"json": {"pid": job["pid"]}},
        lambda job: {"params": {"pid": job["pid"]}},
    ):
        job = wait_for(agent, start_id(agent, "exec sleep 1000"))
        expect_kill(agent.http.request("DELETE", "/execute/kill", **options(job)), job)


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_nothing_is_named(agent, method):
    for options in ({}, {"json": {}}, {"json": {"process_id": None}}):
        response = agent.http.request(method, "/execute/kill", **options)
        expect_error(response, 400, "MISSING_PARAMETER", "/process_id")
    response = agent.http.request(method, "/execute/kill", json={"process_id": ""})
    expect_error(response, 400, "INVALID_REQUEST", "/process_id")
    expect_error(agent.http.request(method, "/execute/kill", json={"pid": 0}), 400, "INVALID_REQUEST", "/pid")


@pytest.mark.parametrize("field", ["process_id", "execution_id"])
def test_a_pid_as_a_number(agent, field):
    job = wait_for(agent, start_id(agent, "exec sleep 1000"))
    expect_kill(agent.http.post("/execute/kill", json={field: job["pid"]}), job)
    expect_error(agent.http.post("/execute/kill", json={field: 1}), 404, "PROCESS_NOT_FOUND")
    expect_error(agent.http.post("/execute/kill", json={field: 1.5}), 400, "INVALID_REQUEST", f"/{field}")


def test_nobody_kills_without_a_token(agent):
    job = wait_for(agent, start_id(agent, "exec sleep 1000"))
    for form in FORMS:
        method, path, options = request_of(form, job["process_id"])
        response = agent.anonymous.request(method, path, **options)
        expect_error(response, 401, "AUTHENTICATION_REQUIRED")
    assert job_of(agent, job["process_id"])["status"] == "running"
    kill(agent, job["process_id"], grace=0)


# How hard


def test_who_ignores_sigterm_gets_sigkill(new_agent):
    agent = new_agent(job_kill_grace="300ms")
    job = start(agent, "trap 'echo ignored' TERM; echo ready; while :; do sleep 0.05; done")
    wait_for_output(agent, job["process_id"], "ready")
    document = kill(agent, job["process_id"])
    assert (document["status"], document["exit_code"]) == ("killed", 137)
    job = job_of(agent, job["process_id"])
    assert "ignored" in job["stdout"] and job["signal"] == 9


def test_the_default_grace_is_shorter_than_clients_patience(agent):
    job = start(agent, "trap '' TERM; echo ready; while :; do sleep 0.05; done")
    wait_for_output(agent, job["process_id"], "ready")
    began = time.monotonic()
    document = kill(agent, job["process_id"])
    assert document["status"] == "killed"
    assert time.monotonic() - began < (PATIENCE - 1) * time_factor()


def test_grace_is_the_clients(agent):
    job = start(agent, "trap '' TERM; echo ready; while :; do sleep 0.05; done")
    wait_for_output(agent, job["process_id"], "ready")
    began = time.monotonic()
    assert kill(agent, job["process_id"], grace=0)["exit_code"] == 137
    assert time.monotonic() - began < 2 * time_factor()

    job = start(agent, "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done")
    wait_for_output(agent, job["process_id"], "ready")
    response = agent.http.delete("/execute/kill", params={"process_id": job["process_id"], "grace": 50})
    assert expect_json(response)["exit_code"] == 7
    job = job_of(agent, job["process_id"])
    assert (job["status"], job["stdout"]) == ("killed", "ready\nbye\n")
    expect_error(agent.http.post("/execute/kill/x", json={"grace": -1}), 400, "INVALID_REQUEST", "/grace")


def test_two_kills_at_once_are_both_answered(agent):
    job = start(agent, "trap '' TERM; echo ready; while :; do sleep 0.05; done")
    wait_for_output(agent, job["process_id"], "ready")
    answers = []

    def ask(grace):
        with httpx.Client(base_url=agent.url, headers=agent.http.headers, timeout=60) as client:
            answers.append(client.post(f"/execute/kill/{job['process_id']}", json={"grace": grace}))

    patient = threading.Thread(target=ask, args=(60,))
    patient.start()
    wait_until(lambda: agent.gauges()["requests_live"] == 2, "a kill that waits")
    ask(0)
    patient.join()
    for response in answers:
        expect_kill(response, job)
    assert len(answers) == 2


def test_a_client_that_leaves_its_kill(agent):
    job = start(agent, "trap '' TERM; echo ready; while :; do sleep 0.05; done")
    wait_for_output(agent, job["process_id"], "ready")
    with pytest.raises(httpx.TimeoutException):
        agent.http.post(f"/execute/kill/{job['process_id']}", json={"grace": 1}, timeout=0.3)
    wait_until(lambda: agent.gauges()["requests_live"] == 1, "the end of the request")
    assert wait_for_end(agent, job["process_id"])["status"] == "killed"


def test_what_has_ended_already(agent):
    job = wait_for_end(agent, start_id(agent, "exit 4"))
    for what in ("process_id", "execution_id"):
        document = expect_kill(
            agent.http.post(f"/execute/kill/{job[what]}"), job, "failed", "process had already ended"
        )
        assert document["exit_code"] == 4
    job = wait_for(agent, start_id(agent, "exec sleep 1000"))
    kill(agent, job["process_id"])
    expect_kill(agent.http.post(f"/execute/kill/{job['process_id']}"), job, "killed", "process had already ended")
    expect_error(agent.http.post(f"/execute/kill/{job['pid']}"), 404, "PROCESS_NOT_FOUND")


# Trees

# A child that does what it can to get away: a session of its own, another parent, and no environment.
RUNAWAY = "env -i PATH=$PATH setsid sh -c 'echo $$ > %s; exec sleep 1000' </dev/null >/dev/null 2>&1 &"


def pid_in(agent, name):
    path = agent.workspace / name
    return int(wait_until(lambda: path.exists() and path.read_text().strip(), f"the file {name}"))


def test_the_whole_tree_dies(agent):
    command = "sleep 1000 & (setsid sleep 1000 &) ; (sleep 1000 | sleep 1000) & echo ready; wait"
    job = start(agent, f"{RUNAWAY % 'runaway'} {command}")
    wait_for_output(agent, job["process_id"], "ready")
    runaway = pid_in(agent, "runaway")
    kill(agent, job["process_id"])
    wait_until(lambda: not agent.survivors(), lambda: f"no survivors: {procfs.describe(agent.survivors())}")
    wait_until(lambda: not procfs.is_running(runaway), "the end of the runaway")


def test_the_pid_of_any_descendant(agent):
    (agent.workspace / "child").unlink(missing_ok=True)
    job = start(agent, "bash -c 'bash -c \"echo \\$\\$ > child; sleep 1000; true\"; true'; true")
    inner = pid_in(agent, "child")
    assert inner != wait_for(agent, job["process_id"])["pid"]
    expect_kill(agent.http.post(f"/execute/kill/{inner}"), job)
    wait_until(lambda: not procfs.is_running(inner), "the end of the tree")


def test_the_pid_of_a_runaway(agent):
    """It has nothing in common with its job any more but the keeper above both."""
    (agent.workspace / "stray").unlink(missing_ok=True)
    job = start(agent, f"{RUNAWAY % 'stray'} echo ready; exec sleep 1000")
    wait_for_output(agent, job["process_id"], "ready")
    stray = pid_in(agent, "stray")
    row = rows_by_pid(agent)[stray]
    assert (row["process_id"], row["status"]) == (job["process_id"], "running")
    expect_kill(agent.http.post(f"/execute/kill/{stray}"), job)
    wait_until(lambda: not procfs.is_running(stray), "the end of the runaway")


@pytest.mark.parametrize("by", ["process_id", "pid"])
def test_what_lingers_is_killed(agent, by):
    (agent.workspace / "left").unlink(missing_ok=True)
    job = start(agent, "bash", args=["-c", "(echo $BASHPID > left; exec sleep 1000) & exit 5"])
    left = pid_in(agent, "left")
    wait_for_end(agent, job["process_id"])
    wait_until(lambda: job_of(agent, job["process_id"])["lingering"], "a job that lingers")
    row = rows_by_pid(agent)[left]
    assert (row["process_id"], row["status"], row["ours"]) == (job["process_id"], "lingering", True)
    document = expect_kill(
        agent.http.post(f"/execute/kill/{left if by == 'pid' else job['process_id']}"),
        job, "failed", "process had already ended",
    )  # fmt: skip
    assert document["exit_code"] == 5
    wait_until(lambda: not procfs.is_running(left), "the end of what lingers")
    wait_until(lambda: not job_of(agent, job["process_id"])["lingering"], "the end of the job")


# Others


def test_strangers_are_not_touched(agent):
    with child(SLEEPER) as stranger, child(SLEEPER, start_new_session=True) as session:
        ours = {agent.pid, os.getpid(), os.getppid(), 1, 2, stranger.pid, session.pid}
        for pid in sorted(ours):
            for form in FORMS:
                expect_error(killed_by(agent, form, str(pid)), 404, "PROCESS_NOT_FOUND")
        assert stranger.poll() is None and session.poll() is None
    assert agent.is_alive()


def test_no_pid_at_all(agent):
    for text in ("0", "-1", "4194305", "2147483648", "99999999999999999999", "0x1", "1e3", "+7", "%201", "1%0a"):
        expect_error(agent.http.post(f"/execute/kill/{text}"), 404, "PROCESS_NOT_FOUND")


def test_unknown_ids(agent):
    for form in FORMS:
        document = expect_error(killed_by(agent, form, "proc_000000000000000000000000"), 404, "PROCESS_NOT_FOUND")
        assert "not found" not in document["message"]


def test_a_keeper_is_not_its_job(agent):
    job = wait_for(agent, start_id(agent, "exec sleep 1000"))
    keeper = int(procfs.status(job["pid"])["PPid"])
    assert "agent-keeper" in procfs.executable(keeper)
    expect_error(agent.http.post(f"/execute/kill/{keeper}"), 404, "PROCESS_NOT_FOUND")
    assert job_of(agent, job["process_id"])["status"] == "running"
    assert procfs.is_running(keeper)
    kill(agent, job["process_id"], grace=0)


def test_a_descendant_of_one_job_does_not_end_another(agent):
    (agent.workspace / "one").unlink(missing_ok=True)
    jobs = [start(agent, "bash -c 'echo $$ > one; exec sleep 1000'; true"), start(agent, "exec sleep 1000")]
    inner = pid_in(agent, "one")
    wait_for(agent, jobs[1]["process_id"])
    expect_kill(agent.http.post(f"/execute/kill/{inner}"), jobs[0])
    assert job_of(agent, jobs[1]["process_id"])["status"] == "running"
    kill(agent, jobs[1]["process_id"], grace=0)


# Foreground executions


@pytest.mark.parametrize("what", ["execution_id", "pid"])
def test_foreground_executions(agent, what):
    with foreground(agent, "sleep 1000; true") as (row, answers):
        document = expect_json(agent.http.post(f"/execute/kill/{row[what]}"))
        assert document["success"] is True and document["status"] == "killed"
        assert document["process_id"] == document["execution_id"] == row["execution_id"]
        wait_until(lambda: answers, "the answer to the command")
        result = expect_json(answers[0])
        assert (result["success"], result["reason"]) == (False, "cancelled")
    wait_until(lambda: not procfs.is_running(row["pid"]), "the end of the leader")


def test_a_foreground_execution_may_tidy_up(agent):
    (agent.workspace / "tidy").unlink(missing_ok=True)
    command = "trap 'echo bye; exit 7' TERM; echo $$ > tidy; while :; do sleep 0.05; done"
    with foreground(agent, command) as (row, answers):
        pid_in(agent, "tidy")
        document = expect_json(agent.http.post(f"/execute/kill/{row['execution_id']}", json={"grace": 50}))
        assert document["status"] == "killed"
        wait_until(lambda: answers, "the answer to the command")
        result = expect_json(answers[0])
        assert (result["stdout"], result["exit_code"], result["reason"]) == ("bye\n", 7, "cancelled")


def test_a_foreground_execution_that_ignores_sigterm(agent):
    (agent.workspace / "stubborn").unlink(missing_ok=True)
    command = "trap 'echo ignored' TERM; echo $$ > stubborn; while :; do sleep 0.05; done"
    with foreground(agent, command) as (row, answers):
        pid_in(agent, "stubborn")
        for grace in (50, 0.2):  # the second is in more of a hurry
            expect_json(agent.http.post(f"/execute/kill/{row['execution_id']}", json={"grace": grace}))
        began = time.monotonic()
        wait_until(lambda: answers, "the answer to the command")
        assert time.monotonic() - began < 10 * time_factor()
        result = expect_json(answers[0])
        assert "ignored" in result["stdout"]
        assert (result["exit_code"], result["reason"]) == (137, "cancelled")


def test_a_descendant_of_a_foreground_execution(agent):
    (agent.workspace / "inner").unlink(missing_ok=True)
    with foreground(agent, "bash -c 'echo $$ > inner; sleep 1000; true'; true") as (row, answers):
        inner = pid_in(agent, "inner")
        assert inner != row["pid"]
        document = expect_json(agent.http.post(f"/execute/kill/{inner}"))
        assert document["execution_id"] == row["execution_id"]
        wait_until(lambda: answers, "the answer to the command")


def test_what_a_foreground_execution_left(agent):
    result = expect_json(agent.run("sleep 1000 & exit 3"))
    identifier = result["execution_id"]
    document = expect_json(agent.http.post(f"/execute/kill/{identifier}"))
    assert (document["status"], document["exit_code"]) == ("failed", 3)
    assert document["message"] == "process had already ended"
    agent.wait_until_idle()
    expect_error(agent.http.post(f"/execute/kill/{identifier}"), 404, "PROCESS_NOT_FOUND")


# Much at once


def test_many_kills_by_pid_at_once(agent):
    """More than may wait for a look at /proc: some are told to come again, none is lost."""
    jobs = []
    for n in range(12):
        name = f"many-{n}"
        (agent.workspace / name).unlink(missing_ok=True)
        jobs.append((start(agent, f"bash -c 'echo $$ > {name}; exec sleep 1000'; true"), name))
    pids = [pid_in(agent, name) for _, name in jobs]

    def ask(pid):
        with httpx.Client(base_url=agent.url, headers=agent.http.headers, timeout=60) as client:
            for _ in range(200):
                response = client.post(f"/execute/kill/{pid}")
                if response.status_code != 429:
                    codes.append(response.status_code)
                    return
                assert response.headers["Retry-After"] == "1"

    codes = []
    threads = [threading.Thread(target=ask, args=(pid,)) for pid in pids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [200] * len(pids)
    for job, _ in jobs:
        assert job_of(agent, job["process_id"])["status"] == "killed"


def test_clients_that_leave_while_a_pid_is_looked_for(agent):
    with child(SLEEPER) as stranger:
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", agent.port)) as connection:
                head = f"POST /execute/kill/{stranger.pid} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n"
                token = agent.http.headers["Authorization"]
                connection.sendall(f"{head}Authorization: {token}\r\n\r\n".encode())
        wait_until(lambda: agent.gauges()["requests_live"] == 1, "the end of all requests")
        assert stranger.poll() is None


def test_the_agent_stops_while_a_kill_waits(new_agent):
    """It says so at once: the keeper sees to the rest."""
    agent = new_agent(shutdown_grace="20s")
    job = start(agent, "trap '' TERM; echo ready; while :; do sleep 0.05; done")
    wait_for_output(agent, job["process_id"], "ready")
    answers = []

    def ask():
        with httpx.Client(base_url=agent.url, headers=agent.http.headers, timeout=60) as client:
            answers.append(client.post(f"/execute/kill/{job['process_id']}", json={"grace": 3}))

    thread = threading.Thread(target=ask)
    thread.start()
    wait_until(lambda: agent.gauges()["requests_live"] == 2, "a kill that waits")
    agent.signal(signal.SIGTERM)
    thread.join()
    document = expect_kill(answers[0], job, "running", "the process was told to end; the agent is shutting down")
    assert document["exit_code"] is None
    assert agent.wait_for_exit(10) == 0
    wait_until(lambda: not agent.survivors(), "the end of the job", timeout=20)
