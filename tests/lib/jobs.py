# SPDX-License-Identifier: Apache-2.0
"""Background jobs: starting them, looking at them, and what the object of one must look like."""

from lib.expect import TIMESTAMP, expect_json
from lib.waiting import time_factor, wait_until

FINAL = {"completed", "failed", "killed", "timeout"}
NUMBER = (int, float)
NONE = type(None)

JOB_TYPES = {
    "process_id": str,
    "execution_id": str,
    "id": str,
    "name": (str, NONE),
    "status": str,
    "language": (str, NONE),
    "command": str,
    "pid": (int, NONE),
    "start_time": str,
    "started_at": str,
    "queued_at": str,
    "end_time": (str, NONE),
    "completed_at": (str, NONE),
    "exit_code": (int, NONE),
    "signal": (int, NONE),
    "reason": (str, NONE),
    "duration": NUMBER,
    "execution_time": NUMBER,
    "timeout": (*NUMBER, NONE),
    "tty": bool,
    "lingering": bool,
    "stdout_bytes": int,
    "stderr_bytes": int,
    "stdout_dropped": (int, NONE),
    "stderr_dropped": (int, NONE),
    "usage": (dict, NONE),
    "error": (str, NONE),
    "callback": (dict, NONE),
}


def expect_job(document):
    """The object of a job, whatever its state, and maybe with more members."""
    for name, types in JOB_TYPES.items():
        assert name in document, f"{name} is missing in {sorted(document)}"
        assert isinstance(document[name], types), f"{name}: {document[name]!r}"
    assert document["id"] == document["process_id"] != document["execution_id"]
    assert document["process_id"].startswith("proc_") and document["execution_id"].startswith("exec_")
    assert document["start_time"] == document["started_at"]
    assert document["end_time"] == document["completed_at"]
    assert document["duration"] == document["execution_time"] >= 0
    for name in ("started_at", "queued_at", "completed_at"):
        assert document[name] is None or TIMESTAMP.match(document[name])
    has_ended = document["status"] in FINAL
    assert has_ended or document["status"] in ("queued", "running")
    assert has_ended == (document["completed_at"] is not None) == (document["exit_code"] is not None)
    assert has_ended == (document["reason"] is not None)
    assert document["status"] != "running" or document["pid"] > 1
    assert document["status"] != "queued" or document["pid"] is None
    return document


def start(agent, command, **fields):
    """Starts a command in the background; the answer's document."""
    return expect_json(agent.http.post("/commands/background", json={"command": command, **fields}))


def start_id(agent, command, **fields):
    return start(agent, command, **fields)["process_id"]


def start_code(agent, code, language="python", **fields):
    body = {"code": code, "language": language, **fields}
    return expect_json(agent.http.post("/execute/background", json=body))


def job_of(agent, identifier):
    return expect_job(expect_json(agent.http.get(f"/execute/processes/{identifier}")))


def page_of(agent, **query):
    document = expect_json(agent.http.get("/execute/processes", params=query))
    rows = document["processes"]
    assert document["count"] == len(rows) <= document["total"]
    assert TIMESTAMP.match(document["timestamp"])
    assert document["has_more"] == (document["next_cursor"] is not None)
    for row in rows:
        expect_job(row)
    return document


def jobs_of(agent, **query):
    return page_of(agent, **query)["processes"]


def wait_for(agent, identifier, status="running", timeout=5.0):
    """The job's object when it has this status; fails at once when it never will."""

    def reached():
        job = job_of(agent, identifier)
        assert job["status"] == status or job["status"] not in FINAL, job
        return job if job["status"] == status else None

    return wait_until(reached, lambda: f"{status}: {job_of(agent, identifier)}", timeout)


def wait_for_end(agent, identifier, timeout=10):
    """The job's object when it has ended."""
    query = {"timeout": timeout * time_factor()}
    document = expect_json(agent.http.get(f"/execute/processes/{identifier}/wait", params=query))
    assert document["finished"] is True, document
    return expect_job(document)


def wait_for_output(agent, identifier, text, stream="stdout", timeout=5.0):
    """The job's object when it has written this."""

    def written():
        job = job_of(agent, identifier)
        return job if text in job[stream] else None

    return wait_until(written, lambda: f"{text!r}: {job_of(agent, identifier)}", timeout)


def kill(agent, identifier, **fields):
    return expect_json(agent.http.post(f"/execute/kill/{identifier}", json=fields))
