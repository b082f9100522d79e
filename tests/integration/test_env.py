# SPDX-License-Identifier: Apache-2.0
"""/env: the variables that clients set for all that starts after it."""

import json
import signal
import stat
import time

import httpx
import pytest

from lib import raw
from lib.expect import expect_error, expect_json
from lib.restart import kill_agent, start_agent, stop_agent
from lib.waiting import wait_until


@pytest.fixture(autouse=True)
def clean(request):
    if "agent" in request.fixturenames:
        expect_json(request.getfixturevalue("agent").http.delete("/env"))


def put(agent, variables, **fields):
    return expect_json(agent.http.put("/env", json={"env_vars": variables, **fields}))


def patch(agent, variables, **fields):
    return expect_json(agent.http.patch("/env", json={"env_vars": variables, **fields}))


def variables(agent):
    return expect_json(agent.http.get("/env"))["env_vars"]


def seen(agent, name, **fields):
    """What a command finds."""
    return expect_json(agent.run(f'printf %s "${{{name}-unset}}"', **fields))["stdout"]


# What it is.


@pytest.mark.smoke
def test_a_variable_is_seen_everywhere(agent):
    answer = patch(agent, {"GREETING": "grüß Gott\n"})
    assert answer["success"] and answer["env_vars"]["GREETING"] == "grüß Gott\n"
    assert answer["count"] == len(answer["env_vars"]) and answer["timestamp"].endswith("Z")
    assert seen(agent, "GREETING") == "grüß Gott\n"
    for language, code in (
        ("python", "import os; print(os.environ['GREETING'], end='')"),
        ("javascript", "process.stdout.write(process.env.GREETING)"),
        ("bash", 'printf %s "$GREETING"'),
    ):
        assert expect_json(agent.execute(code, language))["stdout"] == "grüß Gott\n", language
    job = expect_json(agent.http.post("/commands/background", json={"command": 'printf %s "$GREETING"'}))
    ended = f"/execute/processes/{job['process_id']}"
    expect_json(agent.http.get(f"{ended}/wait?timeout=20"))
    assert agent.http.get(f"{ended}/output?stream=stdout").content.decode() == "grüß Gott\n"


def test_a_fresh_agent_shows_what_programs_get(agent):
    shown = variables(agent)
    assert {"PATH", "HOME", "USER", "SHELL"} <= shown.keys()
    assert seen(agent, "PATH") == shown["PATH"]
    assert not [name for name in shown if name.startswith("VM_AGENT_")]


def test_layers(agent):
    """Request over global over inherited."""
    inherited = variables(agent)["HOME"]
    patch(agent, {"HOME": "/global", "LAYER": "global"})
    assert (seen(agent, "HOME"), seen(agent, "LAYER")) == ("/global", "global")
    assert seen(agent, "LAYER", env={"LAYER": "request"}) == "request"
    assert seen(agent, "LAYER") == "global"
    expect_json(agent.http.delete("/env/HOME"))
    assert variables(agent)["HOME"] == inherited == seen(agent, "HOME")


def test_path_decides_which_interpreter_there_is(agent, tmp_path):
    patch(agent, {"PATH": str(tmp_path)})
    response = agent.http.post("/execute", json={"code": "1", "language": "python"})
    expect_error(response, 400, "RUNTIME_NOT_AVAILABLE", "/language")
    program = tmp_path / "python3"
    program.write_text("#!/bin/sh\necho mine\n")
    program.chmod(0o755)
    assert expect_json(agent.execute("1"))["stdout"] == "mine\n"


def test_python_path_is_the_clients(agent):
    """As that of a request it replaces the agent's own."""
    patch(agent, {"PYTHONPATH": "/elsewhere"})
    answer = expect_json(agent.execute("import os; print(os.environ['PYTHONPATH'])"))
    assert answer["stdout"] == "/elsewhere\n"


# Changes.


def test_put_replaces(agent):
    patch(agent, {"OLD": "1", "KEPT": "2"})
    answer = put(agent, {"KEPT": "2", "NEW": "3"})
    assert answer["env_vars"]["KEPT"] == "2" and answer["env_vars"]["NEW"] == "3"
    assert "OLD" not in answer["env_vars"] and answer["env_vars"]["PATH"]
    assert seen(agent, "OLD") == "unset"


@pytest.mark.parametrize("merge", [{}, {"merge": True}, {"merge": False}])
def test_patch_always_merges(agent, merge):
    patch(agent, {"A": "1"})
    answer = patch(agent, {"B": "2"}, **merge)
    assert (answer["env_vars"]["A"], answer["env_vars"]["B"]) == ("1", "2")


def test_delete_as_clients_do_it(agent):
    """All of GET but one by PUT: what is inherited stays inherited."""
    patch(agent, {"A": "1", "B": "2"})
    rest = variables(agent)
    del rest["A"]
    put(agent, rest)
    assert "A" not in variables(agent) and variables(agent)["B"] == "2"
    stored = json.loads((state_dir(agent) / "env.json").read_text())
    assert stored["env_vars"] == {"B": "2"}


def test_delete(agent):
    patch(agent, {"A": "1", "B": "2"})
    assert expect_json(agent.http.delete("/env/A"))["removed"] == 1
    again = expect_json(agent.http.delete("/env/A"))
    assert again["success"] and again["removed"] == 0
    assert variables(agent)["B"] == "2"
    answer = expect_json(agent.http.delete("/env", headers={"Content-Type": "application/json"}))
    assert answer["removed"] == 1 and "B" not in answer["env_vars"]


def test_what_is_inherited_cannot_be_removed(agent):
    path = variables(agent)["PATH"]
    answer = expect_json(agent.http.delete("/env/PATH"))
    assert answer["removed"] == 0 and answer["env_vars"]["PATH"] == path
    assert put(agent, {})["env_vars"]["PATH"] == path


@pytest.mark.parametrize("key", ["1A", "A-B", "A%3DB", "%C3%84", "A%20", "A.B"])
def test_a_name_that_is_none(agent, key):
    response = agent.http.delete(f"/env/{key}")
    expect_error(response, 400, "INVALID_REQUEST", "/key")


def test_all_of_a_full_environment_can_be_written_back(agent):
    """With what is inherited there are more than may be set."""
    put(agent, {f"FULL{n}": "x" for n in range(1024)})
    shown = variables(agent)
    assert len(shown) > 1024
    del shown["FULL7"]
    answer = put(agent, shown)
    assert (answer["removed"], answer["count"]) == (1, len(shown))
    response = agent.http.put("/env", json={"env_vars": {**shown, "A": "", "B": ""}})
    expect_error(response, 400, "INVALID_REQUEST", "/env_vars")
    assert seen(agent, "FULL8") == "x"


def test_a_locale_has_no_default_beside_it(agent):
    """As programs get it: LC_ALL is stronger than any LANG, so nobody is given one."""
    before = variables(agent)
    after = patch(agent, {"LC_ALL": "POSIX"})["env_vars"]
    assert seen(agent, "LANG") == after.get("LANG", "unset")
    expect_json(agent.http.delete("/env"))
    assert variables(agent) == before


def test_head(agent):
    response = agent.http.head("/env")
    assert response.status_code == 200 and response.content == b""
    assert int(response.headers["Content-Length"]) > 0


def test_numbers_and_booleans_become_text(agent):
    answer = patch(agent, {"N": 5, "F": 1.5, "B": True})["env_vars"]
    assert (answer["N"], answer["B"]) == ("5", "true") and float(answer["F"]) == 1.5


def test_old_requests_are_ignored(agent):
    patch(agent, {"A": "new"}, timestamp="2200-01-28T10:00:00Z")
    for timestamp in ("2200-01-28T10:59:59+01:00", "2199-12-31T23:59:59.999Z", 1785000000, "1785000000000"):
        answer = patch(agent, {"A": "old"}, timestamp=timestamp)
        assert answer["env_vars"]["A"] == "new" and "Ignored" in answer["message"], timestamp
    assert patch(agent, {"A": "same"}, timestamp="2200-01-28T10:00:00.000Z")["env_vars"]["A"] == "same"
    assert patch(agent, {"A": "none"})["env_vars"]["A"] == "none"


def test_removing_all_forgives_a_wrong_clock(agent):
    """A time stamp from the future would keep everybody else out; one of the past still does its work."""
    patch(agent, {"A": "1"}, timestamp="2200-01-01T00:00:00Z")
    expect_json(agent.http.delete("/env/A"))
    assert "Ignored" in patch(agent, {"A": "2"}, timestamp=time.time_ns())["message"]
    expect_json(agent.http.delete("/env"))
    assert "Ignored" in patch(agent, {"A": "3"}, timestamp="2020-01-01T00:00:00Z")["message"]
    assert patch(agent, {"A": "4"}, timestamp=time.time_ns())["env_vars"]["A"] == "4"


# Refusals.


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "/env_vars"),
        ({"env_vars": None}, "/env_vars"),
        ({"env_vars": ["A=1"]}, "/env_vars"),
        ({"env_vars": {"A": None}}, "/env_vars/A"),
        ({"env_vars": {"A": {"b": 1}}}, "/env_vars/A"),
        ({"env_vars": {"1A": "x"}}, "/env_vars/1A"),
        ({"env_vars": {"A=B": "x"}}, "/env_vars/A=B"),
        ({"env_vars": {"": "x"}}, "/env_vars/"),
        ({"env_vars": {"Ä": "x"}}, "/env_vars/Ä"),
        ({"env_vars": {"A": "x\0y"}}, "/env_vars/A"),
        ({"env_vars": {"A": "x" * 131072}}, "/env_vars/A"),
        ({"env_vars": {f"A{n}": "" for n in range(1025)}}, "/env_vars"),
        ({"env_vars": {f"A{n}": "x" * 100000 for n in range(6)}}, "/env_vars"),
        ({"env_vars": {}, "timestamp": "yesterday"}, "/timestamp"),
        ({"env_vars": {}, "timestamp": "2026-01-28T10:00:00"}, "/timestamp"),
        ({"env_vars": {}, "timestamp": "2026-02-30T10:00:00Z"}, "/timestamp"),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_refusals_name_the_field(agent, method, body, field):
    patch(agent, {"KEPT": "1"})
    response = agent.http.request(method, "/env", json=body)
    assert response.status_code == 400, response.text
    assert response.json()["details"]["field"] == field
    assert variables(agent)["KEPT"] == "1"


def test_the_sum_of_many_patches_is_bounded(agent):
    for n in range(5):
        patch(agent, {f"BIG{n}": "x" * 100000})
    response = agent.http.patch("/env", json={"env_vars": {"BIG5": "x" * 100000}})
    expect_error(response, 400, "INVALID_REQUEST", "/env_vars")
    assert "BIG5" not in variables(agent) and "BIG4" in variables(agent)


def test_needs_a_token(agent):
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        response = httpx.request(method, f"{agent.url}/env")
        expect_error(response, 401, "AUTHENTICATION_REQUIRED")


def test_values_are_not_logged(new_agent):
    agent = new_agent(log_level="debug")
    patch(agent, {"A": "a-very-secret-value"})
    agent.http.patch("/env", json={"env_vars": {"1": "a-very-secret-value"}})
    seen(agent, "A")
    stop_agent(agent)
    assert "a-very-secret-value" not in agent.log()


# Masks.


def test_masked_values_survive_a_round_trip(new_agent):
    agent = new_agent(env_mask="true", environment={"INHERITED_SECRET": "inherited"})
    patch(agent, {"API_KEY": "k", "db_password": "p", "PLAIN": "v"})
    shown = variables(agent)
    assert shown["API_KEY"] == shown["db_password"] == shown["INHERITED_SECRET"] == "***MASKED***"
    assert shown["PLAIN"] == "v"
    del shown["PLAIN"]
    put(agent, shown)
    patch(agent, {"API_KEY": "***MASKED***", "OTHER": "***MASKED***"})
    assert (seen(agent, "API_KEY"), seen(agent, "db_password")) == ("k", "p")
    assert seen(agent, "INHERITED_SECRET") == "inherited"
    assert seen(agent, "PLAIN") == seen(agent, "OTHER") == "unset"


# Keeping.


def state_dir(agent):
    return agent.directory / "run" / "state"


def test_survives_a_restart(new_agent):
    agent = new_agent()
    patch(agent, {"A": "1", "B": "ü\n"}, timestamp="2200-01-01T00:00:00Z")
    file = state_dir(agent) / "env.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for end in (stop_agent, kill_agent):
        end(agent)
        start_agent(agent)
        assert variables(agent)["A"] == "1" and seen(agent, "B") == "ü\n"
    assert "Ignored" in patch(agent, {"A": "2"}, timestamp="2199-01-01T00:00:00Z")["message"]


def test_may_be_forgotten(new_agent):
    agent = new_agent(env_keep="false")
    patch(agent, {"A": "1"})
    assert not (state_dir(agent) / "env.json").exists()
    kill_agent(agent)
    start_agent(agent)
    assert "A" not in variables(agent)


def test_what_was_kept_before_is_forgotten_as_well(new_agent):
    agent = new_agent()
    patch(agent, {"A": "1"})
    for keep in ("false", "true"):
        stop_agent(agent)
        agent.options["env_keep"] = keep
        start_agent(agent)
        assert "A" not in variables(agent)
        assert not (state_dir(agent) / "env.json").exists()


@pytest.mark.parametrize(("method", "path"), [("PUT", "/env"), ("DELETE", "/env"), ("DELETE", "/env/A")])
def test_a_body_that_comes_after_the_end(new_agent, method, path):
    """Its headers were accepted before the signal."""
    agent = new_agent(shutdown_grace="100ms")
    body = b'{"env_vars": {"A": "1"}}'
    with raw.RawConnection(agent.port) as connection:
        connection.send(raw.head(method, path, {**agent.http.headers, "Content-Length": len(body)}) + body[:5])
        wait_until(lambda: agent.gauges()["requests_live"] == 2, "the headers to arrive")
        agent.signal(signal.SIGTERM)
        wait_until(lambda: "grace period over" in agent.log(), "the end of the grace period")
        connection.try_send(body[5:])
        try:
            expect_error(connection.read_response(), 503, "SERVICE_UNAVAILABLE")
        except raw.ConnectionEnded:
            pass
    assert agent.wait_for_exit() == 0


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"version":9,"env_vars":{}}', b'{"version":1,"env_vars":{"A":1}}']
)
def test_a_broken_file_is_set_aside(new_agent, content):
    agent = new_agent()
    patch(agent, {"A": "1"})
    stop_agent(agent)
    file = state_dir(agent) / "env.json"
    file.write_bytes(content)
    start_agent(agent)
    assert "A" not in variables(agent)
    assert file.with_name("env.json.bad").read_bytes() == content
    assert "global variables are lost" in agent.log()
    patch(agent, {"B": "2"})
    kill_agent(agent)
    start_agent(agent)
    assert variables(agent)["B"] == "2"


def test_what_cannot_be_kept_is_not_in_force(new_agent):
    agent = new_agent()
    patch(agent, {"A": "1"})
    (state_dir(agent) / "env.json.tmp").mkdir()
    response = agent.http.patch("/env", json={"env_vars": {"A": "2"}})
    expect_error(response, 500, "INTERNAL_ERROR")
    assert variables(agent)["A"] == "1" == seen(agent, "A")
    (state_dir(agent) / "env.json.tmp").rmdir()
    assert patch(agent, {"A": "3"})["env_vars"]["A"] == "3"
