# SPDX-License-Identifier: Apache-2.0
"""Terminals: what the messages do, what the shell is given, and frames that every client can live with."""

import os
import pty
import pwd
import statistics
import time
from urllib.parse import quote, urlencode

import pytest

from lib.expect import TIMESTAMP, expect_error
from lib.raw import RawConnection
from lib.waiting import NotInTime, time_factor, wait_until
from lib.ws_raw import (  # noqa: F401 (plain_home is for all tests here)
    PING,
    PONG,
    TEXT,
    Terminal,
    agent_token,
    handshake,
    plain_home,
)

MIB = 1 << 20


def open_terminal(agent, **parameters):
    options = {name: parameters.pop(name) for name in ("receive_buffer",) if name in parameters}
    query = urlencode(parameters, quote_via=quote)
    return Terminal(agent, f"/terminal?{query}" if query else "/terminal", **options)


def run(agent, command, **parameters):
    """Everything that a command prints on a terminal, with the line ends that it wrote, and the exit message."""
    with open_terminal(agent, command=command, shell="bash", **parameters) as ws:
        exit_message = ws.read_exit(60)
        assert ws.read_close()[0] == 1000
        return ws.output.decode().replace("\r\n", "\n"), exit_message


def refuse(agent, query, status, code, field=None):
    with RawConnection(agent.port) as connection:
        connection.send(handshake(f"/terminal?{query}", token=agent_token(agent)))
        response = connection.read_head()
        assert response.status_code != 101, "it was accepted"
        response.content = connection.read_bytes(int(response.headers["Content-Length"]))
    expect_error(response, status, code, field)
    return response


# The messages


@pytest.mark.smoke
def test_typing(agent):
    with open_terminal(agent) as ws:
        assert ws.run("echo hello $((6 * 7))") == "hello 42\n"
        ws.type("exit\n")
        ws.read_exit()
        assert ws.read_close() == (1000, "")


def test_output_messages(agent):
    with open_terminal(agent, command="printf abc") as ws:
        assert ws.read_output() == b"abc"
        message = ws.last
        assert message["type"] == "output"
        assert (message["offset"], message["end"]) == (0, 3)
        assert TIMESTAMP.match(message["timestamp"])


@pytest.mark.parametrize("enter", ["\r", "\n"])
def test_enter(agent, enter):
    with open_terminal(agent) as ws:
        ws.type(f"echo A''B{enter}")
        ws.read_until("AB\r\n")


def test_control_keys(agent):
    with open_terminal(agent) as ws:
        ws.type("sh -c 'echo st\"\"art; exec sleep 1000'\n")
        ws.read_until("start\r\n")
        ws.type("\x03")
        assert ws.run("echo $?") == "0\n"  # of the echo before it
        ws.type("sh -c 'echo re\"\"ady; exec cat'\n")
        ws.read_until("ready\r\n")
        ws.type("x\n")
        ws.read_until("x\r\nx\r\n")
        ws.type("\x04")
        assert ws.run("echo back") == "back\n"
        ws.type("\x04")
        assert ws.read_exit()["code"] == 0


@pytest.mark.parametrize("code", [0, 1, 3, 255])
def test_exit_codes(agent, code):
    with open_terminal(agent) as ws:
        ws.type(f"exit {code}\n")
        message = ws.read_exit()
        assert (message["code"], message["exitCode"], message["exit_code"]) == (code, code, code)
        assert message["reason"] == "exit" and "signal" not in message
        assert TIMESTAMP.match(message["timestamp"])
        assert ws.read_close() == (1000, "")


def test_death_by_a_signal(agent):
    _, message = run(agent, "kill -9 $$")
    assert (message["exit_code"], message["reason"], message["signal"]) == (137, "signal", 9)


def test_resize(agent):
    with open_terminal(agent) as ws:
        assert ws.run("stty size") == "24 80\n"
        ws.send(type="resize", cols=132, rows=43)
        assert ws.run("stty size; echo $COLUMNS $LINES") == "43 132\n132 43\n"
    program = "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.05; done"
    with open_terminal(agent, shell="bash", command=program) as ws:
        ws.read_until("ready")
        ws.send(type="resize", cols=100, rows=30)
        ws.read_until("30 100\r\n")


def test_bad_messages_are_told(agent):
    with open_terminal(agent) as ws:
        ws.send(type="nonsense")
        assert ws.read_type("error")["details"]["field"] == "/type"
        ws.send(type="resize", cols=0, rows=24)
        assert ws.read_type("error")["details"]["field"] == "/cols"
        ws.output.clear()
        ws.end = None
        assert ws.run("stty size") == "24 80\n"


def test_ping(agent):
    with open_terminal(agent, command="sleep 1000") as ws:
        ws.send(type="ping")
        assert ws.read_type("pong")["timestamp"]


def test_input_after_the_end(agent):
    with open_terminal(agent, command="true") as ws:
        for _ in range(5):
            ws.connection.try_send(b"")
            ws.type("x" * 1000)
        ws.read_exit()


# What the shell is given


def test_environment(agent):
    output, _ = run(agent, 'echo "$TERM|$COLORTERM|${LC_ALL:-$LANG}|$HOME|$USER"; locale charmap; env')
    term, color, language, home, user = output.splitlines()[0].split("|")
    assert (term, color) == ("xterm-256color", "truecolor")
    assert "utf" in language.lower()
    assert user == pwd.getpwuid(os.getuid()).pw_name
    assert output.splitlines()[1] == "UTF-8"
    assert "VM_AGENT_JWT" not in output
    assert str(agent.secret_file) not in output


def test_directories(agent):
    (agent.workspace / "sub").mkdir(exist_ok=True)
    assert run(agent, "pwd")[0] == f"{agent.workspace}\n"
    assert run(agent, "pwd", cwd="sub")[0] == f"{agent.workspace}/sub\n"
    assert run(agent, "pwd", cwd="/usr/lib/../bin")[0] == "/usr/bin\n"


@pytest.mark.parametrize("cwd", ["/no/such/directory", "/etc/passwd"])
def test_a_bad_directory(agent, cwd):
    with open_terminal(agent, cwd=cwd) as ws:
        error = ws.read_message()
        assert (error["type"], error["code"], error["details"]["field"]) == ("error", "WORKDIR_NOT_FOUND", "/cwd")
        message = ws.read_exit()
        assert isinstance(message["code"], int) and message["code"] != 0
        assert ws.read_close()[0] == 1000


def test_a_bad_shell(agent):
    with open_terminal(agent, shell="/no/such/shell") as ws:
        error = ws.read_message()
        assert (error["type"], error["code"], error["details"]["field"]) == ("error", "COMMAND_NOT_FOUND", "/shell")
        assert ws.read_exit()["code"] != 0


def test_shells(agent):
    with open_terminal(agent) as ws:
        assert ws.run("shopt -q login_shell && echo login; echo ${BASH_VERSION:+bash} $-").startswith("login\nbash ")
        assert "i" in ws.run("echo $-")
    with open_terminal(agent, shell="/bin/sh") as ws:
        assert ws.run("echo ${BASH_VERSION:-none}; echo hi") == "none\nhi\n"


def test_commands(agent):
    assert run(agent, "echo one; echo 'two  three' >&2; exit 4")[0] == "one\ntwo  three\n"
    assert run(agent, "exit 4")[1]["code"] == 4
    assert run(agent, "echo '€ \"$HOME\" &%+'")[0] == '€ "$HOME" &%+\n'


def test_it_is_a_terminal(agent):
    output, _ = run(agent, "tty; test -t 0 && test -t 1 && test -t 2 && echo yes; echo x > /dev/tty")
    assert output.startswith("/dev/pts/") and output.endswith("yes\nx\n")
    # It leads its session, and the terminal is its own.
    output, _ = run(agent, "ps -o pid=,sid=,tpgid= -p $$")
    pid, sid, group = output.split()
    assert pid == sid and int(group) > 0


def test_sizes(agent):
    assert run(agent, "stty size", cols=100, rows=50)[0] == "50 100\n"
    assert run(agent, "stty size", cols=1000)[0] == "24 1000\n"


def test_no_descriptors_leak(agent):
    with open_terminal(agent):
        output, _ = run(agent, "for fd in /proc/$$/fd/*; do readlink $fd; done")
        assert output.count("\n") == 3 and output.count("/dev/pts/") == 3


@pytest.mark.parametrize(
    "query, field",
    [
        ("cols=0", "/cols"),
        ("cols=65536", "/cols"),
        ("rows=-1", "/rows"),
        ("rows=x", "/rows"),
        ("cwd=", "/cwd"),
        ("cwd=" + "x" * 5000, "/cwd"),
        ("shell=", "/shell"),
        ("command=", "/command"),
        ("command=a%00b", "/command"),
        ("since=x", "/since"),
        ("since=-1", "/since"),
        ("session=", "/session"),
        ("session=a/b", "/session"),
        ("session=a%20b", "/session"),
        ("session=..%2f", "/session"),
        ("session=%C3%A9", "/session"),
        ("session=" + "x" * 65, "/session"),
    ],
)
def test_bad_parameters(agent, query, field):
    refuse(agent, query, 400, "INVALID_REQUEST", field)
    wait_until(lambda: agent.gauges()["terminals"] == 0, "none but those of other tests, which end")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_run_as(new_agent):
    agent = new_agent(run_as="nobody")
    os.chown(agent.workspace, pwd.getpwnam("nobody").pw_uid, -1)
    command = "id -un; stat -c %U $(tty); echo x > $(tty); touch here && echo wrote; echo $USER"
    assert run(agent, command)[0] == "nobody\nnobody\nx\nwrote\nnobody\n"
    with open_terminal(agent) as ws:
        assert ws.run("id -un") == "nobody\n"


def test_the_limit_on_terminals(new_agent):
    agent = new_agent(max_terminals=2)
    with open_terminal(agent, session="one") as one, open_terminal(agent) as two:
        response = refuse(agent, "", 429, "RATE_LIMIT_EXCEEDED")
        assert int(response.headers["Retry-After"]) >= 1 and "max-terminals" in response.json()["message"]
        refuse(agent, "session=three", 429, "RATE_LIMIT_EXCEEDED")
        with open_terminal(agent, session="one") as again:  # that is no new one
            assert again.read_message()["created"] is False
        assert two.run("echo fine") == "fine\n"
        two.close()
        wait_until(lambda: agent.gauges()["terminals"] == 1, "a free place")
        with open_terminal(agent) as three:
            assert three.run("echo fine") == "fine\n"
        one.close()
    agent.http.delete("/terminals/one").raise_for_status()


def test_the_limit_on_processes(new_agent):
    agent = new_agent(max_processes=1)
    with open_terminal(agent):
        assert "max-processes" in refuse(agent, "", 429, "RATE_LIMIT_EXCEEDED").json()["message"]
        assert agent.run("true").status_code == 429
        assert agent.gauges()["websockets"] == 1 and agent.gauges()["terminals"] == 1
    wait_until(lambda: agent.gauges()["processes_running"] == 0, "the shell's end")
    with open_terminal(agent) as ws:
        assert ws.run("echo fine") == "fine\n"


# What the frames are like


def test_characters_stay_whole(agent):
    """Quickly: every border between reads, frames and the ring's two halves hits a character somewhere."""
    for text, count in (("€", 1_000_000), ("😀", 700_000), ("aé€😀\\", 300_000), ('"', 500_000)):
        pattern = text.replace("\\", "\\\\").replace('"', '\\"')
        command = f"yes \"$(printf '%s' \"{pattern}\")\" | head -n {count} | tr -d '\\n'"
        with open_terminal(agent, shell="bash", command=command) as ws:
            ws.read_exit(60)
            assert ws.output.decode() == text * count


def test_characters_stay_whole_slowly(agent):
    """One byte at a time, with pauses between them."""
    octets = " ".join(f"'\\x{octet:02x}'" for octet in "€😀aé".encode())
    command = f"for octet in {octets}; do printf $octet; sleep 0.02; done"
    with open_terminal(agent, shell="bash", command=command) as ws:
        pieces = []
        while ws.exit is None:
            data = ws.read_output()
            if data is not None:
                pieces.append(data.decode())
        assert "".join(pieces) == "€😀aé" and len(pieces) >= 3


def test_what_is_no_character(agent):
    for octets, wanted in (
        ("\\xff", "\ufffd"),
        ("a\\xe2\\x82", "a\ufffd"),
        ("\\xe2\\x82x", "\ufffdx"),
        ("\\x80\\n", "\ufffd\n"),
    ):
        output, _ = run(agent, f"printf '{octets}'")
        assert output == wanted
    with open_terminal(agent, shell="bash", command="printf 'a\\xe2\\x82'; sleep 0.1; printf 'z'; sleep 0.1") as ws:
        ws.read_exit()
        assert ws.output.decode() == "a\ufffdz"
        assert ws.end == 4  # offsets count what the program wrote


def test_control_characters(agent):
    everything = "".join(f"\\x{i:02x}" for i in range(1, 128))
    with open_terminal(agent, shell="bash", command=f"stty -opost; printf '{everything}\\0end'") as ws:
        ws.read_exit()
        assert bytes(ws.output) == bytes(range(1, 128)) + b"\0end"


def test_floods_come_in_large_frames(agent):
    """And not too large ones: lib.ws_raw looks at every frame. Escapes make output grow, too."""
    for command in ("head -c 8000000 /dev/zero | tr '\\0' x", "head -c 3000000 /dev/zero"):
        with open_terminal(agent, shell="bash", command=command) as ws:
            ws.read_exit(60)
            assert max(ws.sizes) > 16 * 1024
            assert len(ws.output) == int(command.split()[2])


def test_pauses_between_frames(agent):
    """For a client that loses frames which it reads together."""
    command = "for i in $(seq 1500); do echo $i; done; for i in $(seq 200); do echo $i; sleep 0.001; done"
    with open_terminal(agent, shell="bash", command=command) as ws:
        ws.read_exit(60)
        gaps = [later - earlier for earlier, later in zip(ws.times, ws.times[1:])]
    assert len(gaps) >= 20
    # Each one, if only this side were never late. Lateness moves frames together, but not their sum.
    assert sum(gaps) >= 0.0045 * len(gaps)
    assert statistics.median(gaps) >= 0.0045
    assert sorted(gaps)[len(gaps) // 5] >= 0.0035


BUSY = "while :; do echo x; sleep 0.001; done"


def test_frames_wait_for_the_pong(agent):
    """The next frame comes when the one before was read, however long that takes."""
    with open_terminal(agent, shell="bash", command=BUSY) as ws:
        for _ in range(5):
            ping = ws.read_frame()
            while ping.opcode != PING:
                ping = ws.read_frame()
            with pytest.raises(NotInTime):
                ws.read_frame(0.1 / time_factor())
            ws.send_frame(PONG, ping.payload)
            assert ws.read_frame().opcode == TEXT


def test_clients_that_answer_no_pings(agent):
    """They get their frames all the same."""
    with open_terminal(agent, shell="bash", command=BUSY) as ws:
        ws.answers_pings = False
        while len(ws.times) < 50:
            ws.read_output()
        assert ws.times[-1] - ws.times[10] < 10 * time_factor()


def test_pauses_before_the_exit_message(agent):
    gaps = []
    for _ in range(10):
        with open_terminal(agent, command="echo x") as ws:
            while True:
                frame = ws.read_message_frame()
                if b'"exit"' in frame.payload:
                    gaps.append(frame.at - last)
                    break
                last = frame.at
    assert statistics.median(gaps) >= 0.0045


@pytest.mark.plain_build
def test_echo_does_not_wait(agent):
    """A key after a silence, and the next one as soon as the one before was echoed."""
    with open_terminal(agent, command="stty -icanon; cat") as ws:
        times = []
        for key in "abcdefghijklmnopqrstuvwxyz" * 4:
            started = time.monotonic()
            ws.type(key)
            ws.read_until(key)
            times.append(time.monotonic() - started)
    assert statistics.median(times) < 0.004


def floor(command):
    """How long the same takes a bare terminal."""
    started = time.monotonic()
    pid, master = pty.fork()
    if pid == 0:
        os.execvp("bash", ["bash", "-c", command])
    size = 0
    try:
        while data := os.read(master, 65536):
            size += len(data)
    except OSError:
        pass
    os.close(master)
    os.waitpid(pid, 0)
    return time.monotonic() - started, size


@pytest.mark.plain_build
def test_pauses_cost_no_throughput(agent):
    command = "head -c 12000000 /dev/zero | base64"
    wanted, size = floor(command)
    started = time.monotonic()
    with open_terminal(agent, shell="bash", command=command) as ws:
        ws.read_exit(60)
        assert len(ws.output) == size
    assert time.monotonic() - started < 3 * wanted + 1, f"{wanted:.3f} s on a bare terminal"


def test_few_frames_for_small_output(agent):
    """One client stops after a thousand messages: lines that come together travel together."""
    with open_terminal(agent) as ws:
        assert ws.run("seq 5000").count("\n") == 5000
        assert len(ws.times) < 200


def test_many_at_once(agent):
    terminals = [open_terminal(agent, command="cat") for _ in range(40)]
    for round_ in range(3):
        for i, ws in enumerate(terminals):
            ws.type(f"{round_}:{i}\n")
        for i, ws in enumerate(terminals):
            ws.read_until(f"{round_}:{i}\r\n{round_}:{i}\r\n")
    for ws in terminals:
        ws.type("\x04")
        ws.read_exit()
    for ws in terminals:
        ws.connection.close()
