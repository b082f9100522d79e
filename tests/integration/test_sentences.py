# SPDX-License-Identifier: Apache-2.0
"""Errors that quote what a client wrote: cut where they must be, and complete otherwise."""

import json
from urllib.parse import quote

import pytest

from lib.expect import expect_error, expect_json
from lib.jobs import start_id, wait_for_end
from lib.webhooks import Receiver, body_of

# A precision of any number of bytes cuts inside a character of one of them.
IDS = ["two bytes", "an odd beginning", "four bytes", "one beside", "two beside"]
LONG = ["\u00e9" * 300, "a" + "\u00e9" * 300, "\U0001f600" * 100, "a" + "\U0001f600" * 100, "ab" + "\U0001f600" * 100]


def expect_sentence(response, status, code, start, field=None):
    expect_error(response, status, code, field)
    message = response.json()["message"]
    assert message.startswith(start[:20]), message
    assert message != "invalid request"
    return message


@pytest.mark.parametrize("name", LONG, ids=IDS)
def test_of_a_process(agent, name):
    start = "no such process: " + name
    message = expect_sentence(agent.http.get(f"/execute/processes/{quote(name[:60])}"), 404, "PROCESS_NOT_FOUND", start)
    assert "GET /execute/processes" in message, "what is behind the quotation is there, too"
    message = expect_sentence(agent.http.post(f"/execute/kill/{quote(name[:60])}"), 404, "PROCESS_NOT_FOUND", start)
    assert "no execution_id" in message


@pytest.mark.parametrize("name", LONG, ids=IDS)
@pytest.mark.parametrize("path", ["/commands/run", "/commands/background"])
def test_of_a_command(agent, name, path):
    response = agent.http.post(path, json={"command": name, "args": []})
    message = expect_sentence(response, 400, "COMMAND_NOT_FOUND", "command: " + name, "/command")
    assert "command not found" in message


@pytest.mark.parametrize("name", LONG, ids=IDS)
def test_of_an_event_id(agent, name):
    identifier = start_id(agent, "true")
    wait_for_end(agent, identifier)
    headers = {"Last-Event-ID": name.encode(), "Accept": "text/event-stream"}
    response = agent.http.get(f"/execute/processes/{identifier}/output?follow=true", headers=headers)
    expect_sentence(response, 400, "INVALID_REQUEST", "Last-Event-ID: '" + name, "/Last-Event-ID")


@pytest.mark.parametrize("name", LONG, ids=IDS)
def test_of_a_callback(new_agent, name):
    """A job that fails to start when nobody waits for the answer any more."""
    receiver = Receiver()
    agent = new_agent(max_processes=1)
    (agent.workspace / "here").mkdir()
    start = start_id(agent, "read line")
    directory = agent.workspace / name[:50]
    directory.mkdir()
    body = {
        "code": "true",
        "language": "bash",
        "callback_url": receiver.url("/ok"),
        "workdir": f"{'./' * 80}{name[:50]}",
    }
    answer = expect_json(agent.http.post("/execute/async", content=json.dumps(body)))
    directory.rmdir()
    agent.http.post(f"/execute/processes/{start}/input", json={"eof": True})
    receiver.wait(answer["execution_id"])
    result = body_of(receiver.records(answer["execution_id"])[0])
    assert result["status"] == "failed" and result["error"], result
    assert "No such file" in result["error"], result
    receiver.close()
