# SPDX-License-Identifier: Apache-2.0
"""The command line: sub-commands, sources of options, and nonsense that ends with one clear line."""

import os
import re
import shutil
import subprocess

import jwt
import pytest

from lib.agent import BINARY, base_environment
from lib.expect import expect_json
from lib.tokens import SECRET, bearer


def run(*arguments, environment=None, **kwargs):
    return subprocess.run(
        [str(BINARY), *map(str, arguments)],
        env={**base_environment(), **(environment or {})},
        capture_output=True,
        text=True,
        timeout=60,
        **kwargs,
    )


@pytest.fixture
def secret_file(tmp_path):
    path = tmp_path / "secret"
    path.write_text(SECRET + "\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def good(tmp_path, secret_file):
    """Arguments that are fine as they are."""
    return [
        *("--listen", "127.0.0.1:0"),
        *("--workspace", tmp_path / "workspace"),
        *("--runtime-dir", tmp_path / "run"),
        *("--jwt-secret-file", secret_file),
    ]


def test_version():
    done = run("--version")
    assert done.returncode == 0
    assert re.match(r"vm-agent \d+\.\d+\.\d+", done.stdout)


def test_help_names_every_option():
    done = run("--help")
    assert done.returncode == 0
    for name in ("listen", "workspace", "jwt-secret-file", "jwt-algorithm", "allowed-path", "run-as",
                 "max-body", "max-output", "max-processes", "vm-id", "log-level", "config"):  # fmt: skip
        assert f"--{name}" in done.stdout
    for command in ("token", "check-config", "routes", "config-reference", "config-example"):
        assert command in done.stdout


def test_token_mints_what_the_agent_accepts(agent, secret_file):
    secret_file.write_text(SECRET)
    done = run("token", "--jwt-secret-file", secret_file, "--ttl", 600, "--sub", "operator")
    assert done.returncode == 0, done.stderr
    token = done.stdout.strip()
    claims = jwt.decode(token, SECRET, algorithms=["HS256"])
    assert claims["sub"] == "operator"
    assert 590 <= claims["exp"] - claims["iat"] <= 610
    expect_json(agent.anonymous.get("/metrics/snapshot", headers=bearer(token)))


def test_token_has_defaults(secret_file):
    done = run("token", "--jwt-secret-file", secret_file)
    assert done.returncode == 0
    assert jwt.decode(done.stdout.strip(), SECRET, algorithms=["HS256"])["exp"]


def test_check_config(good):
    done = run("check-config", *good)
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout + done.stderr


def test_the_printed_example_is_a_valid_configuration(tmp_path, good):
    example = run("config-example")
    assert example.returncode == 0 and "#" in example.stdout
    path = tmp_path / "agent.conf"
    path.write_text(example.stdout)
    assert run("check-config", "--config", path, *good).returncode == 0
    # Every commented setting is valid when its comment sign is taken away, too.
    uncommented = re.sub(r"(?m)^[#;] ?([a-z-]+ ?= ?\S)", r"\1", example.stdout)
    assert uncommented != example.stdout


def test_sources_win_in_order(new_agent, tmp_path):
    """Defaults < file < environment < command line."""
    path = tmp_path / "agent.conf"

    def vm_id(environment=None, **options):
        return expect_json(new_agent(environment=environment, config=path, **options).http.get("/"))["vm_id"]

    path.write_text("")
    default = vm_id()
    assert default not in ("file", "environment", "command")
    path.write_text("vm-id = file\n")
    assert vm_id() == "file"
    assert vm_id({"VM_AGENT_VM_ID": "environment"}) == "environment"
    assert vm_id({"VM_AGENT_VM_ID": "environment"}, vm_id="command") == "command"


# name, what replaces the good arguments: a list of arguments, a file's content, environment; a word of the message
NONSENSE = [
    ("an unknown option", ["--listne", "x"], None, {}, "listne"),
    ("an unknown sub-command", None, None, {}, "frobnicate"),
    ("a missing value", ["--vm-id"], None, {}, "vm-id"),
    ("an empty listen address", ["--listen", ""], None, {}, "listen"),
    ("port 99999", ["--listen", "127.0.0.1:99999"], None, {}, "99999"),
    ("a port that is text", ["--listen", "127.0.0.1:http"], None, {}, "listen"),
    ("no port", ["--listen", "127.0.0.1"], None, {}, "listen"),
    ("a host name", ["--listen", "no such host:80"], None, {}, "listen"),
    ("a relative unix socket", ["--listen", "unix:agent.sock"], None, {}, "listen"),
    ("a negative limit", ["--max-processes", "-1"], None, {}, "max-processes"),
    ("a limit of nothing", ["--max-processes", "0"], None, {}, "max-processes"),
    ("a number with rubbish", ["--max-processes", "5x"], None, {}, "max-processes"),
    ("a size out of range", ["--max-body", "99999999999999999999"], None, {}, "max-body"),
    ("a time without sense", ["--heartbeat", "soon"], None, {}, "heartbeat"),
    ("an unknown log level", ["--log-level", "loud"], None, {}, "log-level"),
    ("an unknown algorithm", ["--jwt-algorithm", "HS257"], None, {}, "jwt-algorithm"),
    ("the algorithm none", ["--jwt-algorithm", "none"], None, {}, "jwt-algorithm"),
    ("a public key algorithm with a text secret", ["--jwt-algorithm", "RS256"], None, {}, "secret"),
    ("a missing secret", ["--jwt-secret-file", "/no/such/secret"], None, {}, "/no/such/secret"),
    ("a directory as secret", ["--jwt-secret-file", "/tmp"], None, {}, "/tmp"),
    ("a workspace that is a file", ["--workspace", "/etc/passwd"], None, {}, "/etc/passwd"),
    ("a missing file", ["--config", "/no/such/file"], None, {}, "/no/such/file"),
    ("an unknown key in the file", [], "listne = 127.0.0.1:0\n", {}, "listne"),
    ("a bad value in the file", [], "max-processes = many\n", {}, "max-processes"),
    ("a line without sense in the file", [], "this is no setting\n", {}, "1"),
    ("a bad value in the environment", [], None, {"VM_AGENT_MAX_PROCESSES": "many"}, "MAX_PROCESSES"),
    ("an unknown variable in the environment", [], None, {"VM_AGENT_LISTNE": "x"}, "VM_AGENT_LISTNE"),
    ("a stray argument", ["stray"], None, {}, "stray"),
]


@pytest.mark.parametrize(
    "name, arguments, content, environment, word", [pytest.param(*row, id=row[0]) for row in NONSENSE]
)
def test_nonsense_ends_with_one_clear_line(tmp_path, good, name, arguments, content, environment, word):
    if arguments is None:
        arguments, good = ["frobnicate"], []
    if content is not None:
        path = tmp_path / "agent.conf"
        path.write_text(content)
        arguments = ["--config", path]
    done = run(*good, *arguments, environment=environment)
    assert done.returncode in (1, 2), (done.returncode, done.stderr)
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert word in lines[0], lines[0]
    assert done.stdout == ""


@pytest.mark.parametrize("secret", ["", "\n", "tooFew", "x" * 31, "x" * 31 + "\n"])
def test_short_secrets_are_fatal_and_not_shown(good, secret_file, secret):
    secret_file.write_text(secret)
    for command in ([], ["check-config"]):
        done = run(*command, *good)
        assert done.returncode == 1, done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert "32" in done.stderr
        assert not secret.strip() or secret.strip() not in done.stderr


def test_no_secret_at_all_is_fatal(tmp_path):
    done = run("--listen", "127.0.0.1:0", "--workspace", tmp_path / "w", "--runtime-dir", tmp_path / "r")
    assert done.returncode in (1, 2)
    assert len(done.stderr.strip().splitlines()) == 1
    assert "jwt-secret-file" in done.stderr


@pytest.mark.skipif(os.getuid() == 0, reason="root reads everything")
def test_an_unreadable_secret_is_fatal(good, secret_file):
    secret_file.chmod(0)
    done = run(*good)
    assert done.returncode == 1 and str(secret_file) in done.stderr


def test_an_incomplete_installation_is_fatal(tmp_path, good):
    """A copy of the program alone: neither beside it nor where it would be installed is a shim."""
    copy = tmp_path / "vm-agent"
    shutil.copy(BINARY, copy)
    for command in ([], ["check-config"]):
        done = subprocess.run([copy, *command, *map(str, good)], capture_output=True, text=True, timeout=60,
                              env=base_environment())  # fmt: skip
        assert done.returncode == 1 and "agent-shim" in done.stderr, done
        assert done.stderr.count("\n") == 1


def test_a_port_in_use_is_fatal(agent, good):
    done = run(*good, "--listen", f"127.0.0.1:{agent.port}")
    assert done.returncode == 1
    assert str(agent.port) in done.stderr


def test_usage_errors_and_other_failures_differ(good):
    assert run(*good, "--no-such-option", "x").returncode == 2
    assert run(*good, "--jwt-secret-file", "/no/such/secret").returncode == 1


@pytest.mark.parametrize("arguments", [["--ttl", "0"], ["--ttl", "-5"], ["--ttl", "long"]])
def test_token_refuses_nonsense(secret_file, arguments):
    done = run("token", "--jwt-secret-file", secret_file, *arguments)
    assert done.returncode in (1, 2)
    assert done.stdout == ""


def test_the_reference_covers_every_option():
    reference = run("config-reference").stdout
    options = set(re.findall(r"--([a-z][a-z-]+)", run("--help").stdout)) - {"help", "version", "ttl", "sub"}
    assert options
    for option in options:
        assert option in reference


def test_the_workspace_is_created(new_agent, tmp_path):
    workspace = tmp_path / "not" / "there"
    workspace.parent.mkdir()
    agent = new_agent(workspace=workspace)
    assert workspace.is_dir()
    assert agent.run("pwd").json()["stdout"] == f"{workspace}\n"
