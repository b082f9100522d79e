# SPDX-License-Identifier: Apache-2.0
"""What code displays, everywhere else: in streams, of background jobs, in callbacks, and in the public clients."""

import contextlib
import json
import os
import shutil
import signal
import uuid

import pytest
from test_js_sdk import SDK, Client

from lib import rich
from lib.control_plane import ControlPlane
from lib.expect import expect_error, expect_json
from lib.jobs import job_of, jobs_of, kill, start_code, start_id, wait_for, wait_for_end
from lib.restart import kill_agent, start_agent
from lib.rich import PNG, code, data_of, expect_singles
from lib.sdk import async_sandbox, control_plane, fresh_token_cache, sandbox  # noqa: F401 (fixtures)
from lib.stream import CODE, COMMANDS, Stream, expect_end, run
from lib.waiting import time_factor, wait_until
from lib.webhooks import Receiver, deliver

SHOW = f"""
print("out")
show("text/html", "<b>\\u00e9</b>", "html")
show("image/png", "{PNG}", "base64")
show("application/json", {{"a": [1]}}, "json")
put(result="15")
"""


def expect_shown(document):
    assert data_of(document) == ["<b>\u00e9</b>", PNG, {"a": [1]}]
    expect_singles(document)
    assert document["result"] == "15"
    assert "rich_truncated" not in document


# Streams


def test_stream(agent):
    stream = run(agent, CODE, code=code(SHOW))
    expect_shown(expect_end(stream))
    assert stream.stdout == "out\n"
    assert expect_end(run(agent, CODE, code="echo 1", language="bash"))["rich_outputs"] == []
    assert "rich_outputs" not in expect_end(run(agent, COMMANDS, command="echo 1"))


def test_stream_is_killed(agent):
    with Stream(agent, CODE) as stream:
        stream.execute(code=code(SHOW + "import time\nprint('ready', flush=True)\ntime.sleep(1000)"))
        stream.read_until("ready\n")
        stream.send(type="kill")
        stream.finish()
    expect_shown(stream.of("result")[0])


def test_stream_leaves_out_what_is_too_large(agent):
    """One frame. The members of their own come first; the library refuses what is over 1 MiB."""
    text = 'show("text/plain", "x" * 600000)\nshow("image/png", "y" * 300000, "base64")\nshow("text/plain", "z")'
    stream = run(agent, CODE, code=code(text + '\nput(result="15")'))
    result = expect_end(stream)
    assert (result["png"], result["result"]) == ("y" * 300000, "15")
    assert data_of(result) == ["z"]
    assert (result["rich_truncated"], result["rich_dropped"]) == (True, 2)


def test_stream_of_a_command_that_is_long(agent):
    """Escaped it would be larger than a frame."""
    result = expect_end(run(agent, COMMANDS, command="true #" + "\x01" * 130000))
    assert result["command"].startswith("true #\x01") and len(result["command"]) < 130000


def test_output_that_nobody_takes_does_not_hold_it_up(agent):
    """The program waits in its write to stdout; what it displays is read all the same."""
    with Stream(agent, CODE, max_queue=1) as stream:
        stream.execute(code=code("print('x' * 3000000, flush=True)\n" + SHOW))
        stream.finish()
    expect_shown(stream.of("result")[0])


# Background jobs


def end_of(agent, identifier):
    wait_for_end(agent, identifier)
    return expect_json(agent.http.get(f"/execute/processes/{identifier}"))


def test_job(agent):
    job = end_of(agent, start_code(agent, code(SHOW))["process_id"])
    expect_shown(job)
    assert (job["status"], job["stdout"]) == ("completed", "out\n")
    assert "rich_outputs" not in jobs_of(agent)[0]
    assert end_of(agent, start_code(agent, "echo 1", "bash")["process_id"])["rich_outputs"] == []
    assert "rich_outputs" not in end_of(agent, start_id(agent, "echo 1"))


def test_job_on_a_terminal_has_none(agent):
    job = end_of(agent, start_code(agent, "1 + 1", tty=True)["process_id"])
    assert job["rich_outputs"] == [] and "result" not in job


def test_job_is_late(agent):
    text = code(SHOW + "import time\ntime.sleep(1000)")
    job = end_of(agent, start_code(agent, text, timeout=1 * time_factor())["process_id"])
    assert job["status"] == "timeout"
    expect_shown(job)


def test_job_displays_too_much(new_agent):
    agent = new_agent(rich_max_size="4K", rich_max_count=3)
    text = 'show("text/plain", "x" * 5000000)\nwrite(b"garbage\\n")\nfor i in range(5): show("text/plain", str(i))'
    job = end_of(agent, start_code(agent, code(text + '\nput(result="15")'))["process_id"])
    assert (data_of(job), job["result"]) == (["0", "1", "2"], "15")
    assert (job["rich_truncated"], job["rich_dropped"]) == (True, 3)
    path = agent.directory / "run/state/jobs" / job["process_id"] / "rich.log"
    assert path.stat().st_size < 5000


def test_job_with_large_outputs(agent):
    text = 'for i in range(3): show("image/png", "abcd" * 1000000, "base64")'
    job = end_of(agent, start_code(agent, code(text))["process_id"])
    assert data_of(job) == ["abcd" * 1000000] * 3 and job["png"] == "abcd" * 1000000


def test_many_large_answers_at_once(agent):
    """What is being sent is in memory, so there is a limit."""
    identifier = start_code(agent, code('show("text/plain", "x" * 15000000)'))["process_id"]
    wait_for_end(agent, identifier)
    with contextlib.ExitStack() as stack:
        url = f"/execute/processes/{identifier}"
        answers = [stack.enter_context(agent.http.stream("GET", url)) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200] * 4 + [429]
        answers[4].read()
        assert expect_error(answers[4], 429, "RATE_LIMIT_EXCEEDED")["error"].endswith("try again")
        assert answers[4].headers["Retry-After"] == "1"
        assert len(json.loads(answers[0].read())["rich_outputs"][0]["data"]) == 15000000
    wait_until(lambda: agent.http.get(url).status_code == 200, "room for one more")


def test_job_outlives_the_agent(new_agent):
    agent = new_agent()
    gate = agent.workspace / uuid.uuid4().hex
    wait = f"import time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)\n"
    identifier = start_code(agent, code('show("text/html", "before", "html")\n' + wait + SHOW))["process_id"]
    wait_for(agent, identifier)
    kill_agent(agent)
    start_agent(agent)
    gate.touch()
    job = end_of(agent, identifier)
    assert data_of(job) == ["before", "<b>\u00e9</b>", PNG, {"a": [1]}]
    facts = rich.facts(job)
    kill_agent(agent)
    start_agent(agent)
    assert rich.facts(end_of(agent, identifier)) == facts


def test_job_is_lost(new_agent):
    """Its keeper dies: what was written down until then is told."""
    agent = new_agent()
    identifier = start_code(agent, code(SHOW + "import time\nprint('ready', flush=True)\ntime.sleep(1000)"))["process_id"]
    path = agent.directory / "run/state/jobs" / identifier / "stdout.log"
    wait_until(lambda: path.exists() and b"ready" in path.read_bytes(), "output")
    for pid in agent.keepers():
        os.kill(pid, signal.SIGKILL)
    job = end_of(agent, identifier)
    assert job["reason"] == "lost"
    expect_shown(job)


def test_callback(agent):
    receiver = Receiver()
    try:
        record, _ = deliver(agent, receiver, "/ok", code=code(SHOW))
        body = json.loads(record["body"])
        assert body["stdout"] == "out\n"
        expect_shown(body)
    finally:
        receiver.close()


# The public clients


def test_python_client(agent, sandbox):  # noqa: F811
    result = sandbox.run_code(code(SHOW), working_dir=str(agent.workspace))
    shown = {output.type.value: output.data for output in result.rich_outputs}
    assert shown["image/png"] == {"image/png": PNG}
    assert shown["text/html"] == {"text/html": "<b>\u00e9</b>"}
    assert shown["application/json"] == {"application/json": {"a": [1]}}


async def test_asynchronous_python_client(agent, async_sandbox):  # noqa: F811
    result = await async_sandbox.run_code(code(SHOW), working_dir=str(agent.workspace))
    assert result.stdout == "out\n" and result.success


@pytest.mark.skipif(shutil.which("node") is None, reason="no node")
@pytest.mark.skipif(not SDK.is_dir(), reason="the client is not installed: npm ci in tests/")
def test_javascript_client(agent):
    with ControlPlane(agent.url) as plane:
        client = Client(plane, "sandbox-rich")
        client.call("connect")
        result = client.call("runCode", code=code(SHOW), options={"workingDir": str(agent.workspace)})
        client.close()
    shown = {output["type"]: output["data"] for output in result["richOutputs"]}
    assert shown == {
        "image/png": {"image/png": PNG},
        "text/html": {"text/html": "<b>\u00e9</b>"},
        "application/json": {"application/json": {"a": [1]}},
        "text/plain": {"text/plain": "15"},
    }
    assert result["jsonOutput"] == {"a": [1]} and result["result"] == "15"
