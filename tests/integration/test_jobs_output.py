# SPDX-License-Identifier: Apache-2.0
"""GET /execute/processes/{id}/output without follow: bytes from an offset, or everything up to now."""

import base64
import json
import random

import pytest

from lib.expect import expect_error
from lib.job_output import Collector, cut_after, follow, get, path_of, raw, read_lines, writer
from lib.jobs import job_of, kill, start_code, start_id, wait_for, wait_for_end

KIB = 1024
MIB = 1024 * KIB


def once(agent, identifier, encoding="utf-8", offsets=(0, 0), **query):
    """One answer of lines."""
    collector = Collector(encoding, offsets)
    query = {"offset": collector.offset, "encoding": encoding, **query}
    with follow(agent, identifier, follow="false", **query) as response:
        read_lines(response, collector)
    assert collector.last
    return collector


@pytest.fixture(scope="module")
def ended(agent):
    """A job that has written text and bytes; its id and its output."""
    code, expected = writer(1, size=150_000, kind="bytes", piece=9000)
    identifier = start_code(agent, code)["process_id"]
    assert wait_for_end(agent, identifier)["status"] == "completed"
    return identifier, expected


@pytest.mark.smoke
def test_bytes(agent, ended):
    identifier, expected = ended
    for stream in ("stdout", "stderr"):
        data, numbers = raw(agent, identifier, stream)
        assert data == expected[stream]
        assert numbers == {
            "offset": 0, "next": 150_000, "total": 150_000, "lost": 0, "dropped": 0, "status": "completed",
        }  # fmt: skip


def test_small_answers_have_a_length(agent, ended):
    response = get(agent, ended[0], stream="stdout", limit=1000)
    assert response.headers["content-length"] == "1000"


def test_by_execution_id(agent):
    job = start_code(agent, "print('x')")
    wait_for_end(agent, job["process_id"])
    assert raw(agent, job["execution_id"])[0] == b"x\n"


def test_bytes_in_random_ranges(agent, ended):
    identifier, expected = ended
    generator = random.Random(7)
    for stream in ("stdout", "stderr"):
        data, offset = b"", 0
        while offset < 150_000:
            piece, numbers = raw(agent, identifier, stream, offset=offset, limit=generator.randint(1, 30_000))
            assert piece and numbers["offset"] == offset
            data += piece
            offset = numbers["next"]
        assert data == expected[stream]
        assert raw(agent, identifier, stream, offset=offset)[0] == b""


def test_a_large_answer(agent):
    size = 8 * MIB
    identifier = start_id(agent, f"yes | head -c {size + 10}")
    wait_for_end(agent, identifier)
    data, numbers = raw(agent, identifier, limit=size)
    assert data == b"y\n" * (size // 2)
    assert numbers["total"] == size + 10
    assert raw(agent, identifier)[1]["next"] == MIB
    assert raw(agent, identifier, offset=size)[0] == b"y\n" * 5


def test_large_answers_that_nobody_takes_are_bounded(agent):
    """And what they hold is given back."""
    identifier = start_id(agent, f"yes | head -c {8 * MIB}")
    wait_for_end(agent, identifier)
    query = {"stream": "stdout", "limit": 8 * MIB, "follow": "false"}
    refused = None
    streams = []
    try:
        while len(streams) < 20 and refused is None:
            stream = agent.http.stream("GET", path_of(identifier), params=query)
            response = stream.__enter__()
            streams.append(stream)
            if response.status_code != 200:
                response.read()
                refused = response
        assert 4 <= len(streams) <= 10
        expect_error(refused, 429, "RATE_LIMIT_EXCEEDED")
        assert refused.headers["Retry-After"] == "1"
    finally:
        for stream in streams:
            stream.__exit__(None, None, None)
    agent.wait_until_idle()
    assert len(raw(agent, identifier, limit=8 * MIB)[0]) == 8 * MIB


def test_while_it_runs(agent):
    identifier = start_id(agent, "echo one; read line; echo two", tty=True)
    wait_for(agent, identifier)
    with follow(agent, identifier) as response:
        collector = Collector()
        read_lines(response, collector, until=lambda: b"one" in collector.data["stdout"])
    data, numbers = raw(agent, identifier)
    assert (data, numbers["status"]) == (b"one\r\n", "running")
    assert raw(agent, identifier, offset=5)[0] == b""
    lines = once(agent, identifier)
    assert lines.data["stdout"] == b"one\r\n"
    assert (lines.last["type"], lines.last["status"]) == ("more", "running")
    assert lines.last["exit_code"] is None and lines.last["reason"] is None
    kill(agent, identifier)
    assert wait_for_end(agent, identifier)["status"] == "killed"
    lines = once(agent, identifier)
    assert (lines.last["type"], lines.last["status"]) == ("end", "killed")
    assert lines.last["signal"] in (9, 15)


def test_lines(agent):
    identifier = start_id(agent, "printf 'out\\n'; printf 'err' >&2; exit 3")
    wait_for_end(agent, identifier)
    lines = [json.loads(line) for line in get(agent, identifier).text.splitlines()]
    last = lines.pop()
    assert sorted(lines, key=lambda line: line["type"]) == [
        {"type": "stderr", "offset": 0, "next_offset": 3, "data": "err"},
        {"type": "stdout", "offset": 0, "next_offset": 4, "data": "out\n"},
    ]
    assert (last["type"], last["status"], last["exit_code"], last["reason"]) == ("end", "failed", 3, "exit")
    assert last["next_offset"] == {"stdout": 4, "stderr": 3}


@pytest.mark.parametrize("kind, encoding", [("text", "utf-8"), ("text", "base64"), ("bytes", "base64")])
def test_lines_within_random_limits(agent, kind, encoding):
    code, expected = writer(3, kind=kind)
    identifier = start_code(agent, code)["process_id"]
    wait_for_end(agent, identifier)
    generator = random.Random(4)
    total = Collector(encoding)
    n_answers = 0
    while total.last is None or total.last["type"] == "more":
        offsets = (total.offsets["stdout"], total.offsets["stderr"])
        part = once(agent, identifier, encoding, offsets, limit=generator.choice([1, 2, 3, 500, 5000, 50_000]))
        assert part.last["type"] == "end" or part.n_pieces > 0
        for stream in ("stdout", "stderr"):
            if encoding == "utf-8":
                assert part.data[stream].decode() is not None
            total.data[stream] += part.data[stream]
        total.offsets, total.last = part.offsets, part.last
        n_answers += 1
    assert total.data == expected
    assert n_answers > 3


def test_ill_formed_text_is_repaired_as_a_whole(agent):
    """Wherever it is cut, it is repaired as if it were not; and what never ends becomes one character."""
    text = b"a\xff\xe2\x82b\xf0\x9f\x98c\x80\x80\xc3\xa9\xed\xa0\x80\xe2\x82"
    code = f"import os\nfor b in {text!r}: os.write(1, bytes([b]))"
    identifier = start_code(agent, code)["process_id"]
    wait_for_end(agent, identifier)
    expected = text.decode(errors="replace")
    assert once(agent, identifier).data["stdout"].decode() == expected
    for limit in (1, 5, 7):
        result, offset = "", 0
        while True:
            lines = [json.loads(line) for line in get(agent, identifier, offset=offset, limit=limit).text.splitlines()]
            result += "".join(line["data"] for line in lines if "data" in line)
            offset = lines[-1]["next_offset"]["stdout"]
            if lines[-1]["type"] == "end":
                break
        assert result == expected
    encoded = json.loads(get(agent, identifier, encoding="base64").text.splitlines()[0])
    assert base64.b64decode(encoded["data"]) == text


def test_the_encoding_of_the_job_is_the_default(agent):
    job = start_code(agent, "import os; os.write(1, b'\\xff')", encoding="base64")
    wait_for_end(agent, job["process_id"])
    line = json.loads(get(agent, job["process_id"]).text.splitlines()[0])
    assert line["data"] == "/w=="
    line = json.loads(get(agent, job["process_id"], encoding="utf-8").text.splitlines()[0])
    assert line["data"] == "\ufffd"


def test_offsets(agent):
    identifier = start_id(agent, "printf 0123456789; printf abcdef >&2")
    wait_for_end(agent, identifier)
    assert raw(agent, identifier, offset=4)[0] == b"456789"
    assert raw(agent, identifier, "stderr", offset=4)[0] == b"ef"
    assert get(agent, identifier, stream="stdout", offset="3,1").content == b"3456789"
    assert get(agent, identifier, stream="stderr", offset="3,1").content == b"bcdef"
    assert once(agent, identifier, offsets=(3, 1)).data == {"stdout": b"3456789", "stderr": b"bcdef"}
    lines = [json.loads(line) for line in get(agent, identifier, offset=8).text.splitlines()]
    assert {line["type"]: line["data"] for line in lines[:-1]} == {"stdout": "89", "stderr": "abcdef"}


@pytest.mark.parametrize(
    "query, message",
    [
        ({"stream": "stdout", "offset": "11"}, "offset: 11 is beyond the end of stdout, which has 10 bytes so far"),
        ({"stream": "stderr", "offset": "1"}, "offset: 1 is beyond the end of stderr, which has 0 bytes so far"),
        ({"offset": "11"}, "beyond the end of stdout"),
        ({"offset": "10,1"}, "beyond the end of stderr"),
        ({"offset": "10,1", "follow": "true"}, "beyond the end of stderr"),
        ({"offset": "-1"}, "offset: expected N"),
        ({"offset": "1,"}, "offset: expected N"),
        ({"offset": "1,2,3"}, "offset: expected N"),
        ({"offset": "x"}, "offset: expected N"),
        ({"offset": str(2**63)}, "offset: expected N"),
        ({"stream": "out"}, "stream: "),
        ({"limit": "0"}, "limit: "),
        ({"limit": str(8 * MIB + 1)}, "limit: "),
        ({"encoding": "latin-1"}, "encoding: "),
        ({"follow": "perhaps"}, "follow: "),
    ],
)  # fmt: skip
def test_refused(agent, query, message):
    identifier = start_id(agent, "printf 0123456789")
    wait_for_end(agent, identifier)
    name = "offset" if "offset" in query else next(iter(query))
    error = expect_error(get(agent, identifier, **query), 400, "INVALID_REQUEST", f"/{name}")
    assert message in error["error"]


def test_unknown(agent):
    error = expect_error(get(agent, "proc_000000000000000000000000"), 404, "PROCESS_NOT_FOUND")
    assert "no such process: proc_0" in error["error"]
    assert get(agent, "x" * 65).status_code == 400


def test_without_a_token(agent, ended):
    assert agent.anonymous.get(path_of(ended[0])).status_code == 401


def test_of_a_job_without_output(agent):
    identifier = start_id(agent, "true")
    wait_for_end(agent, identifier)
    assert raw(agent, identifier)[0] == b""
    lines = once(agent, identifier)
    assert (lines.n_pieces, lines.last["type"]) == (0, "end")


def test_of_a_program_that_cannot_be_started(agent):
    response = agent.http.post("/commands/background", json={"command": "/no/such/program", "args": []})
    if response.status_code != 200:  # it is found out before
        return
    identifier = response.json()["process_id"]
    assert wait_for_end(agent, identifier)["status"] == "failed"
    assert raw(agent, identifier)[0] == b""
    assert once(agent, identifier).last["status"] == "failed"


def test_overrun(new_agent):
    """The log is a ring: what is gone is told."""
    agent = new_agent(job_log_size="64K")
    identifier = start_id(agent, "seq -w 0 99999; seq -w 0 99999 >&2")
    wait_for_end(agent, identifier)
    expected = "".join(f"{i:05}\n" for i in range(100_000)).encode()
    data, numbers = raw(agent, identifier)
    assert numbers["total"] == len(expected) == 600_000
    assert numbers["lost"] == numbers["offset"] >= 600_000 - 64 * KIB
    assert 60 * KIB < len(data) <= 64 * KIB and data == expected[numbers["offset"] :]
    # From the middle of what is there nothing is lost.
    offset = numbers["offset"] + 100
    data, numbers = raw(agent, identifier, offset=offset)
    assert (numbers["lost"], data) == (0, expected[offset:])
    for encoding in ("utf-8", "base64"):
        lines = once(agent, identifier, encoding)
        for stream in ("stdout", "stderr"):
            assert lines.lost[stream] + len(lines.data[stream]) == 600_000
            assert lines.lost[stream] > 0 and expected.endswith(lines.data[stream])


def test_overrun_of_text(new_agent):
    """Of a character whose beginning is gone nothing is shown."""
    agent = new_agent(job_log_size="64K")
    code = "import sys; sys.stdout.write('x' + '\\U0001f600' * 50000 + 'yy')"
    identifier = start_code(agent, code)["process_id"]
    wait_for_end(agent, identifier)
    lines = once(agent, identifier)
    text = lines.data["stdout"].decode()
    assert set(text) == {"\U0001f600", "y"}
    assert lines.lost["stdout"] + len(lines.data["stdout"]) == 200_003


def test_a_log_that_was_damaged(new_agent):
    agent = new_agent()
    identifier = start_id(agent, "echo hello")
    wait_for_end(agent, identifier)
    log = agent.directory / "run" / "state" / "jobs" / identifier / "stdout.log"
    log.write_bytes(b"no log")
    error = expect_error(get(agent, identifier, stream="stdout"), 404, "NOT_FOUND")
    assert error["error"] == "the log of stdout is damaged or was removed, so there is nothing to read"
    expect_error(get(agent, identifier), 404, "NOT_FOUND")
    assert get(agent, identifier, stream="stderr").status_code == 200
    log.unlink()
    log.mkdir()
    expect_error(get(agent, identifier, stream="stdout"), 404, "NOT_FOUND")
    job = job_of(agent, identifier)
    assert (job["status"], job["stdout"], job["stdout_truncated"]) == ("completed", "", True)


def test_a_client_that_leaves(agent, ended):
    for _ in range(10):
        with follow(agent, ended[0], follow="false", limit=MIB) as response:
            cut_after(response, 1)
    agent.wait_until_idle()
