# SPDX-License-Identifier: Apache-2.0
"""--run-as: code and commands run as another user, with that user's groups and home."""

import grp
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from lib import files
from lib.agent import BINARY, base_environment, base_path
from lib.expect import expect_error, expect_result
from lib.waiting import wait_until

USER = "nobody"

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")


@pytest.fixture
def agent(new_agent):
    agent = new_agent(run_as=USER)
    os.chown(agent.workspace, pwd.getpwnam(USER).pw_uid, -1)
    return agent


@needs_root
@pytest.mark.smoke
def test_identity(agent):
    entry = pwd.getpwnam(USER)
    groups = sorted({entry.pw_gid, *(group.gr_gid for group in grp.getgrall() if USER in group.gr_mem)})
    code = "import os; print(os.getresuid(), os.getresgid(), sorted(os.getgroups()))"
    uid, gid = entry.pw_uid, entry.pw_gid
    wanted = f"{(uid, uid, uid)} {(gid, gid, gid)} {groups}\n"
    assert expect_result(agent.run("python3", args=["-c", code]))["stdout"] == wanted
    assert expect_result(agent.execute(code))["stdout"] == wanted


@needs_root
def test_environment(agent):
    entry = pwd.getpwnam(USER)
    result = expect_result(agent.run("echo $HOME $USER $LOGNAME"))
    assert result["stdout"] == f"{entry.pw_dir} {USER} {USER}\n"
    assert expect_result(agent.run("echo $HOME", env={"HOME": "/tmp"}))["stdout"] == "/tmp\n"


@needs_root
def test_output_can_be_opened_by_name(agent):
    result = expect_result(agent.run("echo a > /dev/stdout; echo b > /dev/stderr"))
    assert (result["stdout"], result["stderr"]) == ("a\n", "b\n")


@needs_root
def test_no_way_back(agent):
    assert expect_result(agent.run("cat", args=["/etc/shadow"]), 1)["stdout"] == ""
    capabilities = expect_result(agent.run("grep", args=["CapEff", "/proc/self/status"]))["stdout"]
    assert int(capabilities.split()[1], 16) == 0


@needs_root
@pytest.mark.parametrize("language", ["python", "bash", "javascript"])
def test_every_language(agent, language):
    code = {"python": "print('x')", "bash": "echo x", "javascript": "console.log('x')"}[language]
    response = agent.execute(code, language)
    if response.status_code == 400 and response.json()["code"] == "RUNTIME_NOT_AVAILABLE":
        pytest.skip(f"no {language}")
    assert expect_result(response)["stdout"] == "x\n"


@needs_root
def test_code_of_others_cannot_be_read(agent):
    """The files of one execution belong to its user and to nobody else."""
    code = "import os, sys; print(oct(os.stat(os.path.dirname(os.path.abspath(sys.argv[0]))).st_mode & 0o077))"
    assert expect_result(agent.execute(code))["stdout"].strip() in ("0o0", "0o10", "0o50")


@needs_root
def test_a_directory_it_may_not_enter(agent):
    locked = agent.directory / "locked"
    locked.mkdir(mode=0o700)
    response = agent.run("true", workdir=str(locked))
    assert response.status_code == 400
    assert response.json()["details"]["field"] == "/workdir"


@needs_root
def test_deadlines_hold_for_other_users(agent):
    result = expect_result(agent.run("echo before; setsid sleep 1000 & sleep 1000", timeout=0.5), 124, "timeout")
    assert result["stdout"] == "before\n"
    wait_until(lambda: not agent.survivors(), "death of the tree")


@needs_root
def test_the_secret_is_out_of_reach(agent):
    expect_result(agent.run("cat", args=[str(agent.secret_file)]), 1)


@needs_root
@pytest.mark.parametrize("owner", ["root", USER])
def test_a_new_workspace_is_the_users(new_agent, owner):
    """What is above it is made by whoever may make it; what is there already stays as it is."""
    entry = pwd.getpwnam(USER)
    with tempfile.TemporaryDirectory(prefix="vm-agent-test-") as name:
        parent = Path(name)
        parent.chmod(0o755)
        os.chown(parent, pwd.getpwnam(owner).pw_uid, -1)
        workspace = parent / "not" / "there"
        agent = new_agent(run_as=USER, workspace=workspace)
        facts = workspace.stat()
        assert (facts.st_uid, facts.st_gid, facts.st_mode & 0o7777) == (entry.pw_uid, entry.pw_gid, 0o755)
        assert workspace.parent.stat().st_uid == pwd.getpwnam(owner).pw_uid
        expect_result(agent.run("touch from-a-command"))
        files.write(agent, "from-a-request", "x")
        assert {file.stat().st_uid for file in workspace.iterdir()} == {entry.pw_uid}
        agent.close()

        os.chown(workspace, 0, 0)
        new_agent(run_as=USER, workspace=workspace).close()
        assert workspace.stat().st_uid == 0


@needs_root
def test_a_workspace_behind_a_link(new_agent):
    """Nothing that a link leads to is given away."""
    with tempfile.TemporaryDirectory(prefix="vm-agent-test-") as name:
        parent = Path(name)
        parent.chmod(0o755)
        (parent / "real").mkdir()
        (parent / "link").symlink_to("real")
        new_agent(run_as=USER, workspace=parent / "link").close()
        assert (parent / "real").stat().st_uid == 0
        assert (parent / "link").is_symlink()


@needs_root
def test_a_workspace_behind_the_users_link(new_agent):
    """The user has nothing made, and gets nothing, where only root may."""
    with tempfile.TemporaryDirectory(prefix="vm-agent-test-") as name:
        parent = Path(name)
        parent.chmod(0o755)
        for directory in ("real", "mine"):
            (parent / directory).mkdir()
        link = parent / "mine" / "link"
        link.symlink_to("../real")
        for path in (link.parent, link):
            os.chown(path, pwd.getpwnam(USER).pw_uid, -1, follow_symlinks=False)
        with pytest.raises(AssertionError, match="link is somebody else's link"):
            new_agent(run_as=USER, workspace=link / "made")
        assert os.listdir(parent / "real") == []


def test_an_unknown_user_is_refused_at_start(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("x" * 40)
    command = [str(BINARY), "--listen", "127.0.0.1:0", "--workspace", str(tmp_path / "w"), "--run-as", "no-such-user"]
    done = subprocess.run(
        [*command, "--jwt-secret-file", str(secret), "--runtime-dir", str(tmp_path / "r")],
        env=base_environment(),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode in (1, 2)
    assert "no-such-user" in done.stderr


def test_go_without_a_home_directory(agent):
    """nobody's home does not exist, so the build cache cannot be there."""
    if not shutil.which("go", path=base_path()):
        pytest.skip("go is not installed")
    code = 'fmt.Println("from go")'
    result = expect_result(agent.execute(code, language="go", timeout=300))
    assert result["stdout"] == "from go\n"


@needs_root
def test_the_key_of_a_result_is_made_with_their_rights(agent):
    """Of files that they may not read nothing can be learned, nor of directories that they may not enter."""
    path = agent.workspace / "secret"
    path.write_text("x")
    path.chmod(0o600)
    document = {"code": "print(1)", "language": "python", "cache": True}
    response = agent.http.post("/execute", json={**document, "cache_inputs": [str(path)]})
    expect_error(response, 403, "PERMISSION_DENIED", "/cache_inputs/0")

    closed = agent.workspace / "closed"
    packages = closed / ".local" / "lib" / "python3.11" / "site-packages"
    packages.mkdir(parents=True)
    closed.chmod(0o700)
    document["env"] = {"HOME": str(closed)}
    assert expect_result(agent.http.post("/execute", json=document))["cached"] is False
    os.utime(packages, (1, 1))
    assert expect_result(agent.http.post("/execute", json=document))["cached"] is True
