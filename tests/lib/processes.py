# SPDX-License-Identifier: Apache-2.0
"""The list of processes as the agent gives it, and processes to find in it."""

import contextlib
import shutil
import subprocess

from lib import procfs
from lib.expect import TIMESTAMP, expect_json
from lib.waiting import wait_until

ROW_TYPES = {
    "pid": int,
    "ppid": int,
    "uid": int,
    "threads": int,
    "name": str,
    "command": str,
    "user": str,
    "state": str,
    "status": str,
    "cpu_percent": float,
    "cpu_time": float,
    "memory_percent": float,
    "memory_mb": float,
    "rss_bytes": int,
    "start_time": str,
    "started_at": str,
    "ours": bool,
    "process_id": (str, type(None)),
    "execution_id": (str, type(None)),
}

MAX_LIMIT = 8192
SLEEPER = [shutil.which("sleep") or "/bin/sleep", "1000"]


def listing(agent, **query):
    """All of them, unless the query says otherwise: whatever else runs on this machine must not push any out."""
    document = expect_json(agent.http.get("/processes", params={"limit": MAX_LIMIT, **query}))
    rows = document["processes"]
    assert document["count"] == len(rows) <= document["total"]
    assert TIMESTAMP.match(document["timestamp"])
    assert document["cpu_interval"] is None or document["cpu_interval"] > 0
    for row in rows:
        assert row.keys() == ROW_TYPES.keys()
        for name, types in ROW_TYPES.items():
            assert isinstance(row[name], types), f"{name}: {row[name]!r}"
        assert TIMESTAMP.match(row["started_at"]) and row["started_at"] == row["start_time"]
        assert row["ours"] == (row["process_id"] is not None) == (row["execution_id"] is not None)
    return document


def rows_by_pid(agent, **query):
    return {row["pid"]: row for row in listing(agent, **query)["processes"]}


def row_of(agent, pid, **query):
    return rows_by_pid(agent, **query).get(pid)


def is_zombie(pid):
    return procfs.status(pid)["State"].strip()[0] == "Z"


@contextlib.contextmanager
def child(arguments, **options):
    process = subprocess.Popen(arguments, **options)
    try:
        # In the middle of its exec it has a name already, and no arguments.
        wait_until(lambda: procfs.command_line(process.pid) or is_zombie(process.pid), "its arguments")
        yield process
    finally:
        process.kill()
        process.wait()
