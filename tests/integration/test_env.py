# SPDX-License-Identifier: Apache-2.0
"""/env: the variables that clients set for all that starts after it."""

import json
import signal
import stat
import threading

import httpx
import pytest

from lib import tokens
from lib.expect import expect_error, expect_json
from lib.restart import kill_agent, start_agent, stop_agent
from lib.sdk import async_sandbox, control_plane, fresh_token_cache, sandbox  # noqa: F401 (fixtures)
from lib.waiting import time_factor, wait_until


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


# Many.


def writer(agent, name, n, failures, stop=None):
    with httpx.Client(base_url=agent.url, headers=agent.http.headers, timeout=60 * time_factor()) as client:
        for value in range(n):
            try:
                response = client.patch("/env", json={"env_vars": {name: str(value)}})
            except httpx.TransportError:
                return
            if response.status_code == 503:
                return
            shown = response.json()["env_vars"].get(name)
            if response.status_code != 200 or shown != str(value):
                failures.append((name, value, response.text[:200]))


def test_no_update_is_lost(agent):
    """50 writers, each of a variable of its own: what was answered is what is there."""
    failures = []
    threads = [threading.Thread(target=writer, args=(agent, f"W{n}", 10, failures)) for n in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert {f"W{n}": "9" for n in range(50)}.items() <= variables(agent).items()


def test_kills_in_the_middle_of_writes(new_agent):
    """The file is always whole, and at least as new as the last answer."""
    agent = new_agent()
    for round_ in range(10):
        failures = []
        threads = [threading.Thread(target=writer, args=(agent, f"W{n}", 1000, failures)) for n in range(4)]
        for thread in threads:
            thread.start()
        before = variables(agent).get("W0")
        wait_until(lambda: variables(agent).get("W0") not in (None, before), "progress")
        answered = variables(agent)
        agent.signal(signal.SIGKILL)
        agent.process.wait()
        for thread in threads:
            thread.join()
        assert not failures, round_
        start_agent(agent)
        found = variables(agent)
        for n in range(4):
            assert int(found.get(f"W{n}", -1)) >= int(answered.get(f"W{n}", -1)), round_
        expect_json(agent.http.delete("/env"))


# The public clients.


def test_python_client(sandbox):
    assert sandbox.env.get_all()["PATH"]
    sandbox.env.set_all({"VAR1": "1", "VAR2": "2"})
    sandbox.env.update({"VAR3": "3"})
    sandbox.env.set("VAR4", "4")
    shown = sandbox.env.get_all()
    assert [shown[f"VAR{n}"] for n in range(1, 5)] == ["1", "2", "3", "4"]
    sandbox.env.delete("VAR1")
    assert sandbox.env.get("VAR1") is None and sandbox.env.get("VAR2") == "2"
    assert sandbox.run_code("import os; print(os.environ['VAR2'])").stdout == "2\n"
    assert sandbox.commands.run("echo $VAR3").stdout == "3\n"


async def test_asynchronous_python_client(async_sandbox):
    await async_sandbox.env.set_all({"VAR1": "1", "VAR2": "2"})
    await async_sandbox.env.delete("VAR1")
    shown = await async_sandbox.env.get_all()
    assert "VAR1" not in shown and shown["VAR2"] == "2"
