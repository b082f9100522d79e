# SPDX-License-Identifier: Apache-2.0
"""Every way to run something, so that a test can hold what must be true for all of them."""

import shlex

from lib import stream
from lib.expect import expect_error, expect_json
from lib.jobs import job_of, start_code, wait_for_end
from lib.jobs import start as start_command
from lib.waiting import time_factor

WAYS = ["execute", "run", "code stream", "command stream", "code job", "command job"]

PATHS = {
    "execute": "/execute",
    "run": "/commands/run",
    "code job": "/execute/background",
    "command job": "/commands/background",
    "async": "/execute/async",
}
STREAMS = {"code stream": stream.CODE, "command stream": stream.COMMANDS}


def as_command(code):
    """A line of the shell that becomes this Python program."""
    return f"exec python3 -c {shlex.quote(code)}"


def result_of(agent, way, code, **fields):
    """The end of a Python program, as it is told to who has run it this way, with stdout and stderr."""
    if way in STREAMS:
        what = {"code": code} if way == "code stream" else {"command": as_command(code)}
        messages = stream.run(agent, STREAMS[way], **what, **fields)
        return {**messages.of("result")[0], "stdout": messages.stdout, "stderr": messages.stderr}
    if way == "execute":
        return expect_json(agent.execute(code, **fields))
    if way == "run":
        return expect_json(agent.run(as_command(code), **fields))
    if way == "code job":
        started = start_code(agent, code, **fields)
    else:
        started = start_command(agent, as_command(code), **fields)
    wait_for_end(agent, started["process_id"], timeout=30 * time_factor())
    return job_of(agent, started["process_id"])


def expect_refused(agent, way, field, **fields):
    """The error that blames a field of the request, whichever way it came."""
    what = {"code": "pass"} if way in ("execute", "code job", "code stream", "async") else {"command": "true"}
    if way == "async":
        what["callback_url"] = "http://127.0.0.1:1/"
    if way in STREAMS:
        refused = stream.run(agent, STREAMS[way], **what, **fields)
        stream.expect_refusal(refused, "INVALID_REQUEST", f"/{field}")
        return refused.messages[0]["message"]
    answer = agent.http.post(PATHS[way], json={**what, **fields})
    return expect_error(answer, 400, "INVALID_REQUEST", f"/{field}")["message"]
