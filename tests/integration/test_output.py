# SPDX-License-Identifier: Apache-2.0
"""The output battery: what arrives is what was written, or its documented repair."""

import base64
import re
import threading
import time

import pytest

from lib import procfs, raw
from lib.expect import expect_json, expect_result

MIB = 1024 * 1024
MARKER = re.compile(r"\n\[\u2026 (\d+) bytes of output dropped \u2026\]\n")


def python(code):
    return {"command": "python3", "args": ["-c", f"import os, sys, time\n{code}"]}


def shell(command):
    return {"command": command}


def bash(command):
    return {"command": "bash", "args": ["-c", command]}


# name, request, the exact bytes of stdout, exit code
BATTERY = [
    ("nothing", shell("true"), b"", 0),
    ("a megabyte without a newline", python("os.write(1, b'x' * (1 << 20))" ), b"x" * MIB, 0),
    ("ten megabytes", python("sys.stdout.write('line\\n' * (2 << 20))"), b"line\n" * (2 * MIB), 0),
    ("NULs", shell(r"printf 'a\000b\000\000c'"), b"a\0b\0\0c", 0),
    ("control characters", python("os.write(1, bytes(range(32)) + b'\\x7f')"), bytes(range(32)) + b"\x7f", 0),
    ("quotes and backslashes", python(r"os.write(1, b'\"\\/\\u0041\"')"), rb'"\/\u0041"', 0),
    ("escape sequences", shell(r"printf '\033[31mred\033[0m'"), b"\x1b[31mred\x1b[0m", 0),
    ("carriage returns", shell(r"for n in 1 2 3; do printf '\r%s%%' $n; done"), b"\r1%\r2%\r3%", 0),
    ("no newline at the end", shell("printf abc"), b"abc", 0),
    ("windows newlines", shell(r"printf 'a\r\nb\r\n'"), b"a\r\nb\r\n", 0),
    ("every byte alone", python("for b in '\u00e9\u20ac\U0001f600'.encode() * 20: os.write(1, bytes([b])); time.sleep(0.001)"), "\u00e9\u20ac\U0001f600".encode() * 20, 0),
    ("a here document", shell("cat <<'END'\n$HOME \"quoted\" `x`\n\ttab\nEND\n"), b"$HOME \"quoted\" `x`\n\ttab\n", 0),
    ("exec", shell("echo before; exec echo after"), b"before\nafter\n", 0),
    ("set -e", shell("set -e; echo one; false; echo two"), b"one\n", 1),
    ("closed stdout", shell("echo before; exec 1>&-; echo lost; exit 3"), b"before\n", 3),
    ("both closed", shell("echo before; exec 1>&- 2>&-; exit 4"), b"before\n", 4),
    ("swapped streams", shell("exec 3>&1 1>&2 2>&3 3>&-; echo err; echo out >&2"), b"out\n", 0),
    ("a pipeline", shell("seq 1 20000 | sort -rn | head -n 1"), b"20000\n", 0),
    ("process substitution", bash("cat <(echo one) <(echo two)"), b"one\ntwo\n", 0),
    ("a child that ends later", shell("(sleep 0.05; echo child) & wait; echo parent"), b"child\nparent\n", 0),
    ("a byte order mark", python("os.write(1, b'\\xef\\xbb\\xbfx')"), b"\xef\xbb\xbfx", 0),
    ("noncharacters", python("os.write(1, '\\uffff\\ufffe\\U0010ffff'.encode())"), "\uffff\ufffe\U0010ffff".encode(), 0),
    ("line separators", python("os.write(1, '\\u2028\\u2029\\x85'.encode())"), "\u2028\u2029\x85".encode(), 0),
]  # fmt: skip


@pytest.mark.parametrize("name, request_, wanted, exit_code", [pytest.param(*row, id=row[0]) for row in BATTERY])
def test_battery(agent, name, request_, wanted, exit_code):
    result = expect_result(agent.http.post("/commands/run", json=request_), exit_code)
    assert result["stdout"].encode() == wanted
    assert result["stdout_bytes"] == len(wanted)
    assert not result["stdout_truncated"]
    exact = expect_result(agent.http.post("/commands/run", json={**request_, "encoding": "base64"}), exit_code)
    assert base64.b64decode(exact["stdout"], validate=True) == wanted


def test_kill_keeps_what_was_written(agent):
    result = expect_result(agent.run("echo before; echo err >&2; kill -KILL $$; echo after"), 137, "signal")
    assert result["stdout"] == "before\n"
    assert "err\n" in result["stderr"]


# name, bytes, what they become in text
REPAIRS = [
    ("lone continuation", b"a\x80b", "a\ufffdb"),
    ("two bad bytes", b"\xff\xfe", "\ufffd\ufffd"),
    ("cut at the end", b"abc\xe2\x82", None),
    ("cut in the middle", b"\xe2\x82x", None),
    ("overlong", b"\xc0\xaf", None),
    ("surrogate", b"\xed\xa0\x80", None),
    ("beyond unicode", b"\xf4\x90\x80\x80", None),
    ("latin-1", "caf\u00e9".encode("latin-1"), "caf\ufffd"),
    ("mixed with NULs", b"\0\xff\0", "\0\ufffd\0"),
]


@pytest.mark.parametrize("name, data, text", [pytest.param(*row, id=row[0]) for row in REPAIRS])
def test_invalid_utf8_is_repaired(agent, name, data, text):
    """Each bad sequence becomes U+FFFD, as WHATWG and Python's "replace" have it; the rest is untouched."""
    code = f"os.write(1, b'<'); os.write(1, {data!r}); os.write(1, b'>')"
    result = expect_result(agent.http.post("/commands/run", json=python(code)))
    wanted = data.decode("utf-8", errors="replace") if text is None else text
    assert result["stdout"] == f"<{wanted}>"
    exact = expect_result(agent.http.post("/commands/run", json={**python(code), "encoding": "base64"}))
    assert base64.b64decode(exact["stdout"]) == b"<" + data + b">"


@pytest.mark.parametrize("size", [4096, 65536, 262144])
@pytest.mark.parametrize("character", ["\u00e9", "\u20ac", "\U0001f600"])
def test_a_character_across_every_read_boundary(agent, size, character):
    """Runs of characters at every offset relative to a power of two, written in one go and in two."""
    code = (
        f"c = '{character}'.encode()\n"
        f"data = b''.join(b'a' * ({size} - n) + c + b'b' * (n - len(c)) for n in range(len(c), len(c) * 2 + 1))\n"
        f"os.write(1, data[:{size} - 1])\n"
        "rest = data[%d - 1:]\n"
        "while rest:\n    rest = rest[os.write(1, rest):]\n" % size
    )
    encoded = character.encode()
    wanted = b"".join(
        b"a" * (size - n) + encoded + b"b" * (n - len(encoded))
        for n in range(len(encoded), len(encoded) * 2 + 1)
    )
    result = expect_result(agent.http.post("/commands/run", json=python(code)))
    assert result["stdout"].encode() == wanted


def test_ten_megabytes_of_rubbish_do_not_hold_the_loop(agent):
    """Invalid bytes and NULs are the slowest to encode; somebody else's request must not notice."""
    code = "data = os.urandom(1 << 20)\nfor n in range(10):\n    sys.stdout.buffer.write(data)"
    result = expect_result(agent.http.post("/commands/run", json=python(code)))
    assert result["stdout_bytes"] == 10 * MIB
    assert not result["stdout_truncated"]


def numbers(count):
    return python(f"sys.stdout.write(''.join('%07d\\n' % n for n in range({count})))")


def test_head_and_tail_are_kept(new_agent):
    agent = new_agent(max_output="64K")
    result = expect_result(agent.http.post("/commands/run", json=numbers(100000)))
    assert result["stdout_truncated"] is True and result["stderr_truncated"] is False
    assert result["stdout_bytes"] == 800000
    head, dropped, tail = MARKER.split(result["stdout"])
    assert len(head) + len(tail) + int(dropped) == 800000
    assert len(head) + len(tail) <= 65536
    assert min(len(head), len(tail)) > 16384
    assert head.startswith("0000000\n0000001\n")
    assert tail.endswith("0099998\n0099999\n")


def test_head_alone_can_be_kept(new_agent):
    agent = new_agent(max_output="64K", output_keep="head")
    result = expect_result(agent.http.post("/commands/run", json=numbers(100000)))
    assert result["stdout_truncated"] is True
    head, dropped, tail = MARKER.split(result["stdout"])
    assert tail == ""
    assert len(head) == 65536 and len(head) + int(dropped) == 800000


def test_exactly_the_limit_is_not_truncated(new_agent):
    agent = new_agent(max_output="64K")
    for size in (65535, 65536):
        result = expect_result(agent.http.post("/commands/run", json=python(f"sys.stdout.write('x' * {size})")))
        assert not result["stdout_truncated"] and len(result["stdout"]) == size
    result = expect_result(agent.http.post("/commands/run", json=python("sys.stdout.write('x' * 65537)")))
    assert result["stdout_truncated"] and MARKER.search(result["stdout"])


def test_the_streams_have_limits_of_their_own(new_agent):
    agent = new_agent(max_output="64K")
    code = "sys.stderr.write('e' * 100000); sys.stdout.write('o' * 1000)"
    result = expect_result(agent.http.post("/commands/run", json=python(code)))
    assert not result["stdout_truncated"] and result["stdout"] == "o" * 1000
    assert result["stderr_truncated"] and result["stderr_bytes"] == 100000


def test_truncation_cuts_no_character(new_agent):
    agent = new_agent(max_output="1001")
    result = expect_result(agent.http.post("/commands/run", json=python("sys.stdout.write('\u20ac' * 5000)")))
    head, _, tail = MARKER.split(result["stdout"])
    assert set(head.rstrip("\ufffd")) == set(tail.lstrip("\ufffd")) == {"\u20ac"}
    assert head.count("\ufffd") <= 1 and tail.count("\ufffd") <= 2


def test_endless_output_ends_the_execution(new_agent):
    agent = new_agent(max_output="64K", max_discard="1M")
    result = expect_json(agent.run("yes", timeout=60))
    assert result["reason"] == "output_limit"
    assert result["success"] is False and result["exit_code"] != 0
    assert result["stdout_truncated"] is True
    agent.wait_until_idle()


@pytest.mark.plain_build
def test_a_flood_of_100_megabytes_stays_under_64(new_agent):
    agent = new_agent()
    result = expect_result(agent.run("head -c 104857600 /dev/zero | tr '\\0' x"))
    assert result["stdout_bytes"] == 100 * MIB
    assert result["stdout_truncated"] is True
    assert len(result["stdout"]) <= 16 * MIB + 100
    assert procfs.status_kib(agent.pid, "VmHWM") < 64 * 1024


@pytest.mark.plain_build
def test_memory_is_bounded_over_all_executions(new_agent):
    agent = new_agent(max_output_total="32M")
    results = []
    flood = "head -c 30000000 /dev/zero | tr '\\0' x; sleep 0.2"

    def run():
        results.append(expect_result(agent.run(flood)))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert all(result["stdout_bytes"] == 30000000 for result in results)
    assert procfs.status_kib(agent.pid, "VmHWM") < 128 * 1024


@pytest.mark.plain_build
def test_no_growth_over_many_requests(new_agent):
    agent = new_agent()

    def resident():
        return agent.gauges()["resident_bytes"]

    def many(count):
        for _ in range(count):
            assert agent.http.get("/health").status_code == 200

    many(1000)
    for _ in range(30):
        expect_result(agent.run("true", args=[]))
    before = resident()
    many(5000)
    for _ in range(100):
        expect_result(agent.run("true", args=[]))
    assert resident() - before < MIB


def test_a_slow_reader_gets_everything(agent):
    """The answer is sent at the pace of the client; the memory of others is not its concern."""
    request = raw.post("/commands/run", python("sys.stdout.write('y' * (8 << 20))"), agent.http.headers)
    with raw.RawConnection(agent.port, receive_buffer=4096) as connection:
        connection.send(request)
        head = connection.read_head()
        assert head.status_code == 200
        start = time.monotonic()
        assert agent.anonymous.get("/health").status_code == 200
        assert time.monotonic() - start < 5
        body = b""
        if "Content-Length" in head.headers:
            body = connection.read_bytes(int(head.headers["Content-Length"]))
        else:
            for chunk in iter(connection.read_chunk, b""):
                body += chunk
    assert body.count(b"y") >= 8 << 20
