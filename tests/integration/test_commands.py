# SPDX-License-Identifier: Apache-2.0
"""POST /commands/run: with a shell and without, and what cannot be started."""

import pytest

from lib.expect import expect_error, expect_result
from lib.waiting import wrapper


@pytest.mark.smoke
def test_without_args_a_shell_runs_the_command(agent):
    result = expect_result(agent.run("echo $((1 + 1)) | tr 2 3; echo err >&2"))
    assert (result["stdout"], result["stderr"]) == ("3\n", "err\n")


@pytest.mark.smoke
def test_with_args_there_is_no_shell(agent):
    hostile = ["$HOME", "`id`", "a b", "", "*", "'\"", "-n", "line\nbreak", "\u00e9"]
    code = "import sys; print(sys.argv[1:])"
    result = expect_result(agent.run("python3", args=["-c", code, *hostile]))
    assert result["stdout"] == f"{hostile}\n"


def test_empty_args_are_args(agent):
    """`"args": []` asks for the program itself: no shell that could split the name."""
    expect_error(agent.run("echo hello", args=[]), 400, "COMMAND_NOT_FOUND", "/command")
    assert expect_result(agent.run("true", args=[]))["stdout"] == ""


def test_the_form_of_the_public_clients(agent):
    result = expect_result(agent.run("bash", args=["-c", "a=(1 2); echo ${a[1]}; exit 3"]), 3)
    assert result["stdout"] == "2\n"
    assert result["exitCode"] == result["exit_code"] == 3
    assert result["success"] is False


def test_result_fields(agent):
    result = expect_result(agent.run("echo $$"))
    assert result["exitCode"] == 0
    assert isinstance(result["pid"], int) and result["pid"] == int(result["stdout"])
    assert result["command"] == "echo $$"


# name, request, exit code, reason
ENDS = [
    ("exit 0", {"command": "exit 0"}, 0, "exit"),
    ("exit 1", {"command": "exit 1"}, 1, "exit"),
    ("exit 255", {"command": "exit 255"}, 255, "exit"),
    ("kill", {"command": "kill -KILL $$"}, 137, "signal"),
    ("segmentation fault", {"command": "kill -SEGV $$"}, 139, "signal"),
    ("not found by the shell", {"command": "no-such-command"}, 127, "exit"),
    ("exit 124 is no timeout", {"command": "exit 124"}, 124, "exit"),
    ("exit 137 is no signal", {"command": "exit 137"}, 137, "exit"),
    ("timeout", {"command": "sleep 100", "timeout": 0.3}, 124, "timeout"),
]


@pytest.mark.parametrize("name, request_, exit_code, reason", [pytest.param(*row, id=row[0]) for row in ENDS])
def test_ends(agent, name, request_, exit_code, reason):
    expect_result(agent.http.post("/commands/run", json=request_), exit_code, reason)


@pytest.fixture
def odd_files(agent):
    """Things that cannot be executed, in the workspace."""
    (agent.workspace / "plain.txt").write_text("just text\n")
    (agent.workspace / "plain.txt").chmod(0o644)
    (agent.workspace / "broken").write_text("#!/no/such/interpreter\n")
    (agent.workspace / "broken").chmod(0o755)
    (agent.workspace / "bare").write_text("echo bare\n")
    (agent.workspace / "bare").chmod(0o755)
    (agent.workspace / "script").write_text("#!/bin/sh\necho script\n")
    (agent.workspace / "script").chmod(0o755)
    return agent.workspace


# name, request, code, field
NOT_STARTED = [
    ("no such program", {"command": "no-such-command", "args": []}, "COMMAND_NOT_FOUND", "/command"),
    ("no such path", {"command": "/no/such/program", "args": ["x"]}, "COMMAND_NOT_FOUND", "/command"),
    ("no such relative path", {"command": "./missing", "args": []}, "COMMAND_NOT_FOUND", "/command"),
    ("no such interpreter", {"command": "./broken", "args": []}, "COMMAND_NOT_FOUND", "/command"),
    ("not executable", {"command": "./plain.txt", "args": []}, "COMMAND_NOT_EXECUTABLE", "/command"),
    ("a directory", {"command": "/etc", "args": []}, "COMMAND_NOT_EXECUTABLE", "/command"),
    ("no such directory", {"command": "true", "workdir": "/no/such/dir"}, "WORKDIR_NOT_FOUND", "/workdir"),
    ("a file as directory", {"command": "true", "workdir": "/etc/passwd"}, "WORKDIR_NOT_FOUND", "/workdir"),
    ("by its alias", {"command": "true", "working_dir": "/no/such/dir"}, "WORKDIR_NOT_FOUND", "/workdir"),
]


@pytest.mark.parametrize("name, request_, code, field", [pytest.param(*row, id=row[0]) for row in NOT_STARTED])
def test_what_cannot_be_started_is_a_400_that_says_why(agent, odd_files, name, request_, code, field):
    expect_error(agent.http.post("/commands/run", json=request_), 400, code, field)


def test_a_script_without_interpreter_line_runs_in_the_shell(agent, odd_files):
    """As execvp and every shell have it."""
    assert expect_result(agent.run("./bare", args=[]))["stdout"] == "bare\n"


def test_relative_programs_are_relative_to_the_directory(agent, odd_files):
    assert expect_result(agent.run("./script", args=[]))["stdout"] == "script\n"


def test_path_of_the_request_is_searched(agent, odd_files):
    response = agent.run("script", args=[], env={"PATH": f"{odd_files}:/usr/bin:/bin"})
    assert expect_result(response)["stdout"] == "script\n"


def test_a_long_command(agent):
    """As long as one argument of a process may be; what is longer is code, and belongs to /execute."""
    command = ": " + "x" * 131000 + "; echo done"
    assert expect_result(agent.run(command))["stdout"] == "done\n"
    expect_error(agent.run(command + "x" * 100), 400, "INVALID_REQUEST", "/command")


def test_many_arguments(agent):
    result = expect_result(agent.run("sh", args=["-c", "echo $#", "sh", *["x" * 100] * 4000]))
    assert result["stdout"] == "4000\n"


@pytest.mark.skipif(wrapper() == "valgrind", reason="valgrind answers execve in the kernel's place, and dies of it")
def test_too_many_bytes_of_arguments_are_refused(agent):
    response = agent.run("true", args=["x" * 100000] * 40)
    assert response.status_code in (400, 413), response.text
    assert response.json()["details"]["field"] == "/args"


def test_limits_hold_for_memory(new_agent):
    """Without a memory controller the limit is a limit of the process; either way the program fails, not us."""
    agent = new_agent(max_memory="256M")
    code = "import sys\ntry:\n    b = bytearray(1 << 30)\nexcept MemoryError:\n    print('limited'); sys.exit(7)"
    response = agent.run("python3", args=["-c", code])
    result = response.json()
    assert response.status_code == 200
    assert (result["exit_code"], result["reason"]) in ((7, "exit"), (137, "oom"))
