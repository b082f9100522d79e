# SPDX-License-Identifier: Apache-2.0
"""The agent is killed, or restarted, while background jobs run: they go on, and the next agent knows all of them. What
ran in the foreground ends."""

import base64
import os
import re
import signal
import time

import pytest

from lib import procfs
from lib.agent import Agent
from lib.expect import expect_json
from lib.jobs import job_of, jobs_of, kill, start, start_id, wait_for, wait_for_end, wait_for_output
from lib.restart import Follower, kill_agent, start_agent, stop_agent
from lib.waiting import wait_until
from lib.writers import bash, numbers, output_of, paced, request_in_thread

TRACKINGS = ["auto", "off"]

# How an agent may end.
ENDS = {"kill": kill_agent, "stop": stop_agent}


@pytest.fixture(params=TRACKINGS)
def agent(request):
    """One of its own for each test, with cgroups and without."""
    agent = Agent(cgroup=request.param, shutdown_grace="1s")
    yield agent
    agent.close()


@pytest.fixture(params=sorted(ENDS))
def end(request):
    return ENDS[request.param]


def tree_of(job):
    """The living processes of a job."""
    return procfs.with_environment("VM_AGENT_EXECUTION_ID", job["execution_id"])


def keeper_of(agent, job):
    text = (agent.directory / "run/state/jobs" / job["process_id"] / "keeper").read_text()
    return int(re.search(r"^pid=(\d+)$", text, re.MULTILINE).group(1))


def start_many(agent):
    """Twenty of all sorts, by what they are."""
    many = [start_id(agent, f"exec sleep {1000 + n}") for n in range(4)]
    found = {f"silent {n}": identifier for n, identifier in enumerate(many)}
    for n in range(4):
        found[f"paced {n}"] = start_id(agent, **bash(paced(300) + f"; exit {n}"))
    for n in range(2):
        found[f"errors {n}"] = start_id(agent, **bash(paced(200, stream=2)))
    for n in range(2):
        found[f"flood {n}"] = start_id(agent, "seq 1 300000")
    for n in range(2):
        found[f"terminal {n}"] = start_id(agent, **bash(paced(200)), tty=True)
    for n in range(2):
        found[f"children {n}"] = start_id(agent, **bash("sleep 1000 & (setsid sleep 1000 &); echo up; wait"))
    for n in range(2):
        gate = agent.directory / f"gate{n}"
        waits = f"until [ -e {gate} ]; do sleep 0.02; done; echo seen"
        found[f"gate {n}"] = start_id(agent, **bash(waits + (f"; exit {40 + n}" if n else "; kill -SEGV $$")))
    found["reader"] = start_id(agent, "while read x; do echo got $x; done")
    found["early"] = start_id(agent, "echo early; exit 9")
    assert len(found) == 20
    return found


def test_twenty_jobs_go_on(agent, end):
    jobs = start_many(agent)
    before = {name: job_of(agent, identifier) for name, identifier in jobs.items()}
    followers = {name: Follower(agent, jobs[name]) for name in ("paced 0", "flood 0", "errors 0", "terminal 0")}
    followers["paced 0"].wait_for(30)
    wait_for_output(agent, jobs["children 0"], "up\n")
    wait_for_output(agent, jobs["children 1"], "up\n")
    wait_for_end(agent, jobs["early"])

    end(agent)
    # These end while there is nobody but their keepers.
    for n in range(2):
        (agent.directory / f"gate{n}").touch()
        wait_until(lambda n=n: not procfs.is_running(before[f"gate {n}"]["pid"]), "the end of a job")
    start_agent(agent)

    listed = {job["process_id"]: job for job in jobs_of(agent)}
    assert listed.keys() == set(jobs.values())
    for name in jobs:
        assert listed[jobs[name]]["execution_id"] == before[name]["execution_id"]
        assert listed[jobs[name]]["queued_at"] == before[name]["queued_at"]
    for name in ["reader", *(f"{sort} {n}" for sort in ("silent", "children") for n in range(2))]:
        assert listed[jobs[name]]["status"] == "running", name
        assert listed[jobs[name]]["pid"] == before[name]["pid"], name
        assert procfs.is_running(before[name]["pid"]), name

    # Ends, also those that nobody saw.
    expected = {"gate 0": ("failed", 139), "gate 1": ("failed", 41), "early": ("failed", 9)}
    expected.update({f"paced {n}": ("failed" if n else "completed", n) for n in range(4)})
    expected.update({f"{sort} {n}": ("completed", 0) for sort in ("errors", "flood", "terminal") for n in range(2)})
    for name, result in expected.items():
        job = wait_for_end(agent, jobs[name], timeout=30)
        assert (job["status"], job["exit_code"]) == result, name
    assert job_of(agent, jobs["gate 0"])["signal"] == signal.SIGSEGV

    # Output: no byte lost, none twice.
    texts = {f"paced {n}": (numbers(1, 300), b"") for n in range(4)}
    texts.update({f"errors {n}": (b"", numbers(1, 200)) for n in range(2)})
    texts.update({f"flood {n}": (numbers(1, 300000), b"") for n in range(2)})
    texts.update({f"terminal {n}": (numbers(1, 200, b"\r\n"), b"") for n in range(2)})
    texts.update({f"gate {n}": (b"seen\n", b"") for n in range(2)})
    texts["early"] = (b"early\n", b"")
    for name, (out, err) in texts.items():
        assert output_of(agent, jobs[name]) == out, name
        assert output_of(agent, jobs[name], "stderr") == err, name
    for name, follower in followers.items():
        assert follower.join() == texts[name], name
    assert followers["paced 0"].n_cuts > 0 or end is stop_agent

    # Input and signals.
    expect_json(agent.http.post(f"/execute/processes/{jobs['reader']}/input", json={"data": "a\n", "eof": True}))
    assert wait_for_end(agent, jobs["reader"])["exit_code"] == 0
    assert output_of(agent, jobs["reader"]) == b"got a\n"
    signal_ = {"signal": "SIGUSR1"}
    expect_json(agent.http.post(f"/execute/processes/{jobs['silent 0']}/signal", json=signal_))
    assert wait_for_end(agent, jobs["silent 0"])["signal"] == signal.SIGUSR1

    # Kills: the whole tree.
    for name in ("children 0", "children 1", "silent 1", "silent 2"):
        assert tree_of(before[name])
        assert kill(agent, jobs[name], grace=0)["status"] == "killed"
        wait_until(lambda name=name: not tree_of(before[name]), "the end of a tree")
    assert job_of(agent, jobs["silent 3"])["status"] == "running"


def test_many_restarts_in_a_row(agent):
    """Also of agents that have hardly begun."""
    identifier = start_id(agent, **bash(paced(400)))
    follower = Follower(agent, identifier)
    ending = start_id(agent, "echo before; exit 5")
    wait_for_end(agent, ending)
    for _ in range(3):
        kill_agent(agent)
        agent.options["listen"] = f"127.0.0.1:{agent.port}"
        agent.start_process()
        kill_agent(agent)
        start_agent(agent)
        assert (job_of(agent, ending)["exit_code"], output_of(agent, ending)) == (5, b"before\n")
    wait_for_end(agent, identifier, timeout=30)
    assert follower.join() == (numbers(1, 400), b"")


def test_what_is_queued_runs_later_and_in_order(new_agent, end):
    agent = new_agent(max_processes=1, shutdown_grace="1s")
    log = agent.directory / "order"
    blocker = start_id(agent, "exec sleep 1000")
    queued = [start_id(agent, f"echo {n} >>{log}; echo {n}", name=f"n{n}") for n in range(8)]
    assert {job_of(agent, identifier)["status"] for identifier in queued} == {"queued"}

    end(agent)
    start_agent(agent)
    assert [job["process_id"] for job in jobs_of(agent)] == [*reversed(queued), blocker]
    assert {job_of(agent, identifier)["status"] for identifier in queued} == {"queued"}
    assert job_of(agent, blocker)["status"] == "running"
    refused = agent.run("true")
    assert refused.status_code == 429, refused.text

    kill(agent, queued[3], grace=0)
    last = start_id(agent, f"echo last >>{log}")
    kill(agent, blocker, grace=0)
    wait_for_end(agent, last, timeout=30)
    assert log.read_text().split() == ["0", "1", "2", "4", "5", "6", "7", "last"]
    assert job_of(agent, queued[3])["status"] == "killed"
    for n in (0, 1, 2, 4, 5, 6, 7):
        assert (job_of(agent, queued[n])["status"], output_of(agent, queued[n])) == ("completed", b"%d\n" % n)


FOREGROUND = """
sleep 1001 &
setsid sleep 1002 &
(setsid sleep 1003 &)
(env -i /bin/sleep 1004 &)
trap '' TERM
echo $$ >pid
sleep 1005
"""


def foreground_pids(agent):
    """What is left of the script above: in its session, or marked."""
    mark = procfs.with_environment("TEST_AGENT_MARK", agent.mark)
    named = [pid for pid in procfs.pids() if re.search(r"sleep 100[1-5]\b", procfs.command_line(pid))]
    leader = agent.workspace / "pid"
    number = int(leader.read_text() or 0) if leader.exists() else 0
    return {pid for pid in [number, *named] if pid and (pid in mark or number == session_of(pid) != 0)}


def session_of(pid):
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0


def scripts_of(agent):
    return list((agent.directory / "run").glob("code_*"))


def test_the_foreground_ends(agent):
    job = start(agent, **bash("sleep 1000 & echo up; wait"))
    wait_for_output(agent, job["process_id"], "up\n")
    threads = [
        request_in_thread(agent.execute, FOREGROUND, "bash", timeout=1000),
        request_in_thread(agent.run, "exec sleep 1001", timeout=1000),
    ]
    wait_until(lambda: len(foreground_pids(agent)) >= 7, lambda: f"foreground: {foreground_pids(agent)}")
    pids = foreground_pids(agent)
    assert scripts_of(agent)
    tree = set(tree_of(job))
    assert len(tree) == 2

    kill_agent(agent)
    for thread in threads:
        thread.join(10)
    start_agent(agent)
    # Not later, but when it listens.
    alive = [pid for pid in pids if procfs.is_running(pid)]
    assert not alive, procfs.describe(alive)
    wait_until(lambda: not scripts_of(agent), lambda: f"no old scripts: {scripts_of(agent)}")
    assert set(tree_of(job)) == tree
    assert job_of(agent, job["process_id"])["status"] == "running"
    assert expect_json(agent.execute("print(1)"))["stdout"] == "1\n"


def test_a_job_that_was_started_by_an_execution_is_a_job(agent):
    """Even if it was given the whole environment of that: it must not end with it."""
    code = (
        "import json, os, urllib.request\n"
        "body = json.dumps({'command': 'sleep 1000', 'env': dict(os.environ)}).encode()\n"
        "request = urllib.request.Request(os.environ['URL'] + '/commands/background', body,\n"
        "    {'Authorization': os.environ['TOKEN'], 'Content-Type': 'application/json'})\n"
        "print(urllib.request.urlopen(request).read().decode())\n"
    )
    env = {"URL": agent.url, "TOKEN": agent.http.headers["authorization"]}
    answer = expect_json(agent.execute(code, env=env))
    assert answer["exit_code"] == 0, answer
    (job,) = jobs_of(agent)
    agent.run("true")
    kill_agent(agent)
    start_agent(agent)
    assert job_of(agent, job["process_id"])["status"] == "running"
    assert procfs.is_running(job["pid"])


def test_neighbours_are_left_alone(agent, new_agent):
    """Two agents on one machine: the restart of one ends nothing of the other's."""
    other = new_agent(cgroup=agent.options["cgroup"])
    thread = request_in_thread(other.execute, "echo $$ >pid; exec sleep 1000", "bash", timeout=1000)
    leader = other.workspace / "pid"
    wait_until(lambda: leader.exists() and leader.read_text().strip(), "an execution")
    pid = int(leader.read_text())
    identifier = start_id(other, "exec sleep 1000")
    scripts = scripts_of(other)

    kill_agent(agent)
    start_agent(agent)
    assert procfs.is_running(pid) and thread.is_alive()
    assert job_of(other, identifier)["status"] == "running"
    assert scripts_of(other) == scripts
    os.kill(pid, signal.SIGKILL)
    thread.join(10)


def test_a_shared_runtime_directory(agent, new_agent):
    """Scripts there are removed only by who is alone."""
    run = agent.options["runtime_dir"]
    other = new_agent(runtime_dir=run, state_dir=agent.directory / "other-state")
    thread = request_in_thread(other.execute, "echo $$ >pid; exec sleep 1000", "bash", timeout=1000)
    leader = other.workspace / "pid"
    wait_until(lambda: leader.exists() and leader.read_text().strip(), "an execution")
    (script,) = scripts_of(agent)
    kill_agent(agent)
    start_agent(agent)
    agent.run("true")
    assert scripts_of(agent) == [script]
    os.kill(int(leader.read_text()), signal.SIGKILL)
    thread.join(10)
    wait_until(lambda: not scripts_of(agent), "the end of a script")


def test_keepers_are_no_orphans(agent):
    """With jobs around an execution that leaves nothing behind is over at its end, and costs no look at /proc."""
    for _ in range(10):
        start_id(agent, "exec sleep 1000")
    for _ in range(20):
        assert expect_json(agent.run("true"))["exit_code"] == 0
        assert agent.gauges()["processes_lingering"] == 0


@pytest.mark.parametrize("when", ["while the agent lives", "while there is no agent"])
def test_a_lost_keeper(agent, when):
    job = start(agent, **bash("sleep 1000 & (setsid sleep 1000 &); echo up; wait"))
    job = wait_for_output(agent, job["process_id"], "up\n")
    other = start_id(agent, "exec sleep 1000")
    tree = tree_of(job)
    assert len(tree) == 3
    keeper = keeper_of(agent, job)
    if when != "while the agent lives":
        kill_agent(agent)
    os.kill(keeper, signal.SIGKILL)
    if when != "while the agent lives":
        start_agent(agent)
    ended = wait_for_end(agent, job["process_id"])
    assert (ended["status"], ended["reason"]) == ("failed", "lost")
    assert "keeper" in ended["error"]
    assert not [pid for pid in tree if procfs.is_running(pid)]
    assert output_of(agent, job["process_id"]) == b"up\n"
    assert job_of(agent, other)["status"] == "running"

    kill_agent(agent)
    start_agent(agent)
    again = job_of(agent, job["process_id"])
    assert (again["status"], again["reason"], again["completed_at"]) == ("failed", "lost", ended["completed_at"])


def test_sigterm_while_a_client_waits(agent):
    """Who follows or waits is let go, and the job goes on."""
    identifier = start_id(agent, **bash(paced(300)))
    follower = Follower(agent, identifier)
    waiter = request_in_thread(
        agent.http.get, f"/execute/processes/{identifier}/wait", params={"timeout": 1000}
    )
    follower.wait_for(10)
    began = time.monotonic()
    stop_agent(agent)
    assert time.monotonic() - began < 10
    waiter.join(10)
    assert not waiter.is_alive()
    start_agent(agent)
    assert wait_for_end(agent, identifier, timeout=30)["exit_code"] == 0
    assert follower.join() == (numbers(1, 300), b"")


def test_a_second_agent_is_refused(agent):
    """One state directory, one agent; the refused one must not touch what is running."""
    identifier = start_id(agent, "exec sleep 1000")
    thread = request_in_thread(agent.execute, "echo $$ >pid; exec sleep 1000", "bash", timeout=1000)
    leader = agent.workspace / "pid"
    wait_until(lambda: leader.exists() and leader.read_text().strip(), "an execution")
    first = agent.process, agent.pid
    agent.start_process()
    refused = agent.process
    agent.process, agent.pid = first
    wait_until(lambda: refused.poll() is not None, "the end of the second")
    assert refused.returncode != 0
    assert procfs.is_running(int(leader.read_text())) and thread.is_alive()
    assert job_of(agent, identifier)["status"] == "running"
    os.kill(int(leader.read_text()), signal.SIGKILL)
    thread.join(10)


def test_binary_output_over_a_restart(agent):
    """Bytes, not text."""
    code = "import os, time\nfor n in range(64):\n    os.write(1, bytes(range(256)) * 64)\n    time.sleep(0.01)\n"
    answer = expect_json(agent.http.post("/execute/background", json={"code": code, "language": "python"}))
    follower = Follower(agent, answer["process_id"])
    follower.wait_for(1)
    kill_agent(agent)
    start_agent(agent)
    wait_for(agent, answer["process_id"], "completed", timeout=20)
    assert follower.join()[0] == bytes(range(256)) * 64 * 64
    assert base64.b64encode(output_of(agent, answer["process_id"])[:3]) == b"AAEC"
