# SPDX-License-Identifier: Apache-2.0
"""GET /processes: what runs on the system, and which of it is ours."""

import contextlib
import datetime
import getpass
import os
import pwd
import shutil
import signal
import subprocess
import sys
import threading
import time

import httpx
import pytest

from lib import procfs
from lib.agent import BINARY
from lib.expect import expect_error, expect_json, expect_result
from lib.processes import MAX_LIMIT, SLEEPER, child, listing, row_of, rows_by_pid
from lib.waiting import listens, wait_until

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")


def with_name(name, script="import time; time.sleep(1000)"):
    """A process whose name is these bytes; it says when it has it."""
    code = (
        f"import ctypes\nctypes.CDLL(None).prctl(15, {name!r}, 0, 0, 0)\n"
        f"print('ready', flush=True)\n{script}"
    )
    return child([sys.executable, "-c", code], stdout=subprocess.PIPE)


def end_all(agent):
    """Descendants as well: not everybody has kept the mark in its environment."""
    for pid in {*agent.survivors(), *procfs.descendants(agent.pid)}:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    agent.wait_until_idle()


# Names of a child before it is the program.
UNBORN = {"vm-agent", "agent-shim"}


@contextlib.contextmanager
def running(agent, command, **fields):
    """The leader's row of a command that runs meanwhile, and dies with its client."""
    before = {row["execution_id"] for row in listing(agent, ours=True)["processes"]}

    def start():
        with contextlib.suppress(httpx.TransportError):
            client.post("/commands/run", json={"command": command, "timeout": 600, **fields})

    client = httpx.Client(base_url=agent.url, headers=agent.http.headers, timeout=600)
    thread = threading.Thread(target=start)
    thread.start()
    try:

        def leader():
            # What is still on its way to become the program has another user, and no command of its own.
            rows = (row for row in listing(agent, ours=True)["processes"] if row["name"] not in UNBORN)
            return next(
                (row for row in rows if row["execution_id"] not in before and row["ppid"] == agent.pid), None
            )

        yield wait_until(leader, "the execution in the list")
    finally:
        end_all(agent)
        thread.join()
        client.close()


@pytest.mark.smoke
def test_the_agent_itself(agent):
    row = row_of(agent, agent.pid)
    assert row["user"] == getpass.getuser()
    assert row["uid"] == os.getuid()
    assert row["ppid"] == os.getpid()
    assert not row["ours"]  # it did not start itself
    assert row["threads"] == int(procfs.status(agent.pid)["Threads"])
    assert row["rss_bytes"] / 2**20 == pytest.approx(row["memory_mb"], abs=0.06)
    assert 0 < row["memory_percent"] < 100
    if BINARY.name in row["name"]:  # not under a wrapper
        assert row["command"].split(" ")[0] == str(BINARY)
    age = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(row["started_at"])
    assert -1 < age.total_seconds() < 3600


def test_everything_is_there(agent):
    before = set(procfs.pids())
    document = listing(agent, limit=8192)
    after = set(procfs.pids())
    found = [row["pid"] for row in document["processes"]]
    assert found == sorted(set(found))
    assert not document["truncated"]
    assert document["total"] == document["count"]
    assert before & after <= set(found)


def test_start_times_do_not_move(agent):
    with child(SLEEPER) as process:
        started = time.time()
        times = {row_of(agent, process.pid)["started_at"] for _ in range(5)}
        values = sorted(datetime.datetime.fromisoformat(value).timestamp() for value in times)
        assert values[-1] - values[0] < 0.03  # the kernel's tick is 10 ms
        assert abs(values[0] - started) < 5


NAMES = [
    (b"plain", "plain"),
    (b"two words", "two words"),
    (b") S 1 1 (x", ") S 1 1 (x"),
    (b"((((", "(((("),
    (b"line\nbreak", "line\nbreak"),
    (b'"\\\t\x01', '"\\\t\x01'),
    (b"caf\xc3\xa9", "café"),
    (b"bad\xff\xfe", "bad\ufffd\ufffd"),
    (b"cut\xe2\x82", "cut\ufffd"),
    (b"0123456789abcdefgh", "0123456789abcde"),
    (b"", ""),
]


@pytest.mark.parametrize("raw, shown", NAMES, ids=[repr(raw) for raw, _ in NAMES])
def test_odd_names(agent, raw, shown):
    with with_name(raw) as process:
        process.stdout.readline()
        row = row_of(agent, process.pid)
        assert row["name"] == shown
        assert row["state"] in ("sleeping", "running")
        assert row["ppid"] == os.getpid()
        process.stdout.close()


# argv[0] and what the list shows.
COMMANDS = [
    (b"other name", "other name 1000"),
    (b"[kworker/0:0]", "[kworker/0:0] 1000"),
    (b"bad \xff\xe2\x82 utf", "bad \ufffd\ufffd utf 1000"),
    (b'new\nline "quoted" \\', 'new\nline "quoted" \\ 1000'),
    (b"", " 1000"),
]


@pytest.mark.parametrize("name, shown", COMMANDS, ids=[repr(name) for name, _ in COMMANDS])
def test_odd_commands(agent, name, shown):
    with child([name, b"1000"], executable=SLEEPER[0]) as process:
        # In the middle of its exec it has a name already, and no arguments yet.
        wait_until(lambda: row_of(agent, process.pid)["command"] != "[sleep]", "a command line")
        assert row_of(agent, process.pid)["command"] == shown


def test_long_commands_are_cut_between_characters(agent):
    with child([b"x" + "é".encode() * 1000, b"1000"], executable=SLEEPER[0]) as process:
        command = row_of(agent, process.pid)["command"]
        assert command == "x" + "é" * 511


def test_zombies_and_stopped_processes(agent):
    with child(["true"]) as process:
        # Not reaped before the block ends.
        wait_until(lambda: procfs.status(process.pid)["State"].strip()[0] == "Z", "a zombie")
        row = row_of(agent, process.pid)
        assert (row["state"], row["status"], row["rss_bytes"]) == ("zombie", "zombie", 0)
        assert row["command"] == "[true]"
    with child(SLEEPER) as process:
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: row_of(agent, process.pid)["state"] == "stopped", "a stopped process")


@needs_root
def test_kernel_threads(agent):
    if procfs.command_line(2) or (procfs.status(2) or {}).get("Name", "").strip() != "kthreadd":
        pytest.skip("no kernel threads in here")
    row = row_of(agent, 2)
    assert row["command"] == "[kthreadd]"
    assert row["rss_bytes"] == 0


# CPU and memory


def test_a_busy_process_is_busy(agent):
    """The first look of an agent goes back to each process's start, later ones to the look before."""
    with child([sys.executable, "-c", "while True: pass"]) as busy, child(SLEEPER) as idle:
        wait_until(lambda: row_of(agent, busy.pid)["cpu_time"] >= 0.5, "half a second of work", timeout=60)
        listing(agent)
        seen = row_of(agent, busy.pid)["cpu_time"]

        def is_busy():
            rows = rows_by_pid(agent)
            assert rows[idle.pid]["cpu_percent"] < 5
            # The machine may be busy with other things.
            return rows[busy.pid]["cpu_time"] > seen + 1 and 20 < rows[busy.pid]["cpu_percent"] <= 110

        wait_until(is_busy, "a share of a processor", timeout=60, interval=0.2)
        # Before all that does nothing; others may be busier.
        order = [row["pid"] for row in listing(agent, sort="cpu")["processes"]]
        assert order.index(busy.pid) < order.index(idle.pid)
        busy.send_signal(signal.SIGSTOP)
        wait_until(lambda: row_of(agent, busy.pid)["cpu_percent"] == 0, "a share of nothing", interval=0.2)
        assert row_of(agent, busy.pid)["cpu_time"] >= 0.5


def test_the_first_look_is_since_the_start(new_agent):
    code = "import time\nwhile time.process_time() < 0.3: pass\nprint('worked', flush=True)\nwhile True: pass"
    with child([sys.executable, "-c", code], stdout=subprocess.PIPE) as busy:
        busy.stdout.readline()  # others may keep the processors from it for a while
        busy.stdout.close()
        agent = new_agent()
        document = listing(agent, limit=8192)
        assert document["cpu_interval"] is None
        (row,) = [row for row in document["processes"] if row["pid"] == busy.pid]
        assert row["cpu_percent"] > 5
        wait_until(lambda: listing(agent)["cpu_interval"], "a reference", interval=0.05)
        assert listing(agent)["cpu_interval"] >= 0.5


def test_memory(agent):
    code = "x = bytearray(b'x' * (200 << 20)); print('ready', flush=True); import time; time.sleep(1000)"
    with child([sys.executable, "-c", code], stdout=subprocess.PIPE) as process, child(SLEEPER) as small:
        process.stdout.readline()
        row = row_of(agent, process.pid)
        process.stdout.close()
        assert 200 <= row["memory_mb"] < 400
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        assert row["memory_percent"] == pytest.approx(100 * row["rss_bytes"] / total, abs=0.01)
        order = [row["pid"] for row in listing(agent, sort="memory")["processes"]]
        assert order.index(process.pid) < order.index(small.pid)


# Order and choice


def test_order(agent):
    rows = listing(agent, sort="memory", limit=8192)["processes"]
    assert rows == sorted(rows, key=lambda row: (-row["rss_bytes"], row["pid"]))
    shares = [row["cpu_percent"] for row in listing(agent, sort="cpu", limit=8192)["processes"]]
    assert shares == sorted(shares, reverse=True)
    pids = [row["pid"] for row in listing(agent, sort="pid")["processes"]]
    assert pids == sorted(pids)


def test_filters(agent):
    needle = f"n{os.getpid():07}"  # others may run this test on the same machine
    names = (f"{needle} (1)".encode(), f"{needle} +2".encode(), b"other")
    with with_name(names[0]) as first, with_name(names[1]) as second, with_name(names[2]) as third:
        for process in (first, second, third):
            process.stdout.readline()
            process.stdout.close()
        assert set(rows_by_pid(agent, name=needle)) == {first.pid, second.pid}
        assert set(rows_by_pid(agent, name=f"{needle[1:]} (1)")) == {first.pid}
        assert set(rows_by_pid(agent, name=f"{needle[1:]} +2")) == {second.pid}
        assert not rows_by_pid(agent, name=needle.upper())
        assert third.pid in rows_by_pid(agent, name="")
        document = listing(agent, name=needle, limit=1)
        assert (document["count"], document["total"], document["truncated"]) == (1, 2, True)
        assert document["processes"][0]["pid"] == min(first.pid, second.pid)
        assert not listing(agent, name=needle, limit=2)["truncated"]
        mine = rows_by_pid(agent, user=getpass.getuser())
        assert {first.pid, third.pid, agent.pid} <= set(mine)
        assert {row["uid"] for row in mine.values()} == {os.getuid()}
        assert {first.pid, agent.pid} <= set(rows_by_pid(agent, user=str(os.getuid())))
        assert not rows_by_pid(agent, user="no-such-user")
        assert first.pid not in rows_by_pid(agent, ours="true")
        assert first.pid in rows_by_pid(agent, ours="false", limit=8192)


@pytest.mark.parametrize(
    "query, field",
    [
        ("limit=0", "/limit"),
        ("limit=-1", "/limit"),
        ("limit=8193", "/limit"),
        ("limit=many", "/limit"),
        ("limit=", "/limit"),
        ("limit=1e3", "/limit"),
        ("limit=99999999999999999999", "/limit"),
        ("sort=name", "/sort"),
        ("sort=", "/sort"),
        ("sort=CPU", "/sort"),
        ("ours=maybe", "/ours"),
        ("ours=", "/ours"),
        ("user=", "/user"),
        ("user=%ff", "/user"),
        ("user=a%00b", "/user"),
        ("name=%ff%fe", "/name"),
        ("name=a%00b", "/name"),
        ("name=" + "x" * 257, "/name"),
    ],
)
def test_bad_queries(agent, query, field):
    expect_error(agent.http.get("/processes?" + query), 400, "INVALID_REQUEST", field)


def test_unknown_fields_are_ignored(agent):
    expect_json(agent.http.get("/processes?foo=bar"))


def test_other_methods(agent):
    expect_error(agent.http.post("/processes"), 405, "METHOD_NOT_ALLOWED")
    expect_error(agent.anonymous.get("/processes"), 401, "AUTHENTICATION_REQUIRED")


# Ours


@pytest.fixture(params=["auto", "off"])
def own_agent(new_agent, request):
    return new_agent(cgroup=request.param)


@pytest.mark.smoke
def test_a_running_execution(own_agent):
    with running(own_agent, "env -i sleep 1000 & sleep 1000") as leader:
        assert leader["status"] == "running"
        assert leader["execution_id"] == leader["process_id"]
        assert leader["execution_id"].startswith("exec_")

        def tree():
            found = rows_by_pid(own_agent, ours=True)
            names = sorted(row["name"] for row in found.values())
            return names.count("sleep") == 2 and found

        rows = wait_until(tree, "the whole tree")
        assert {row["execution_id"] for row in rows.values()} == {leader["execution_id"]}
        assert {row["status"] for row in rows.values()} == {"running"}
        assert set(rows) == set(procfs.descendants(own_agent.pid))
        everything = rows_by_pid(own_agent, limit=8192)
        assert {pid for pid, row in everything.items() if row["ours"]} == set(rows)
        assert all(everything[pid]["status"] == everything[pid]["state"] for pid in everything if pid not in rows)
    assert not rows_by_pid(own_agent, ours=True)


def test_what_an_execution_leaves_behind(own_agent):
    result = expect_result(own_agent.run("setsid sleep 1000 & sleep 1000 & echo $!"))

    def lingering():
        rows = rows_by_pid(own_agent, ours=True)
        return len(rows) == 2 and {row["status"] for row in rows.values()} == {"lingering"} and rows

    rows = wait_until(lingering, lambda: f"two lingering sleepers: {rows_by_pid(own_agent, ours=True)}")
    assert int(result["stdout"]) in rows
    assert {row["name"] for row in rows.values()} == {"sleep"}
    assert {row["execution_id"] for row in rows.values()} == {result["execution_id"]}
    end_all(own_agent)
    assert not rows_by_pid(own_agent, ours=True)


def test_executions_are_told_apart(agent):
    first = expect_result(agent.run("sleep 1000 >/dev/null 2>&1 & echo"))
    second = expect_result(agent.run("sleep 1000 >/dev/null 2>&1 & echo"))
    with running(agent, "sleep 1000") as leader:
        found = {row["execution_id"]: row["status"] for row in listing(agent, ours=True)["processes"]}
        assert found == {
            first["execution_id"]: "lingering",
            second["execution_id"]: "lingering",
            leader["execution_id"]: "running",
        }


def test_a_forged_marker_is_not_ours(agent):
    """Nor does a real one steal a process from the execution that started it."""
    with child(SLEEPER, env={**os.environ, "VM_AGENT_EXECUTION_ID": "exec_0123456789"}) as stranger:
        with running(agent, "sleep 1000") as first:
            with running(
                agent, "sleep 1000; true", env={"VM_AGENT_EXECUTION_ID": first["execution_id"]}
            ) as second:
                rows = wait_until(
                    lambda: len(found := rows_by_pid(agent, ours=True, name="sleep")) >= 2 and found, "both"
                )
                inner = [row for row in rows.values() if row["ppid"] == second["pid"]]
                assert [row["execution_id"] for row in inner] == [second["execution_id"]]
                assert not row_of(agent, stranger.pid, limit=8192)["ours"]


def test_no_environment_is_shown(agent):
    with child(SLEEPER, env={**os.environ, "TEST_SECRET": "do-not-show-this"}):
        with running(agent, "sleep 1000", env={"TEST_SECRET": "do-not-show-this"}):
            response = agent.http.get("/processes", params={"limit": 8192})
            assert "do-not-show-this" not in response.text


@needs_root
def test_the_user_of_executions(new_agent):
    agent = new_agent(run_as="nobody")
    os.chown(agent.workspace, pwd.getpwnam("nobody").pw_uid, -1)
    with running(agent, "sleep 1000") as leader:
        assert leader["user"] == "nobody"
        assert leader["uid"] == pwd.getpwnam("nobody").pw_uid
        rows = rows_by_pid(agent, user="nobody")
        assert leader["pid"] in rows
        assert {row["user"] for row in rows.values()} == {"nobody"}


@needs_root
def test_a_user_without_a_name(agent):
    with child(SLEEPER, user=54321, group=54321) as process:
        row = row_of(agent, process.pid, user="54321")
        assert (row["user"], row["uid"]) == ("54321", 54321)


@needs_root
def test_what_is_hidden_is_not_there(new_agent):
    """/proc with hidepid: others' processes are invisible to an agent without privileges, its own are not."""
    if not shutil.which("unshare") or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("no mount namespaces")
    agent = new_agent()
    script = (
        "mount -t proc -o hidepid=2 proc /proc || exit 77; "
        'exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@"'
    )
    directory = agent.directory / "hidden"
    directory.mkdir()
    for name in ("w", "r"):
        (directory / name).mkdir()
        os.chown(directory / name, 65534, 65534)
    secret = directory / "secret"
    secret.write_text(agent.secret)
    os.chown(secret, 65534, 65534)
    secret.chmod(0o600)
    process = subprocess.Popen(
        ["unshare", "-m", "sh", "-c", script, "sh", str(BINARY), "--listen", f"unix:{directory}/r/socket"]
        + ["--workspace", f"{directory}/w", "--runtime-dir", f"{directory}/r", "--jwt-secret-file", str(secret)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        socket = directory / "r" / "socket"
        wait_until(lambda: listens(socket) or process.poll() is not None, "an agent of nobody")
        if process.poll() is not None:
            pytest.skip("no agent without privileges here")
        transport = httpx.HTTPTransport(uds=str(socket), retries=3)
        with httpx.Client(transport=transport, base_url="http://agent", headers=agent.http.headers) as client:
            rows = expect_json(client.get("/processes", params={"limit": MAX_LIMIT}))["processes"]
            assert process.pid in [row["pid"] for row in rows]
            assert {row["uid"] for row in rows} == {65534}
    finally:
        process.terminate()
        process.wait(timeout=20)
