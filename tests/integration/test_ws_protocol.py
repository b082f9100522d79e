# SPDX-License-Identifier: Apache-2.0
"""RFC 6455 frame by frame, as a table: what is sent, and what has to come back. Each case is sent in one segment and
byte by byte."""

import json
import struct

import pytest

from lib.agent import Agent
from lib.raw import ConnectionEnded
from lib.waiting import wait_until
from lib.ws_raw import (  # noqa: F401 (plain_home is for all tests here)
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    RawWebSocket,
    Terminal,
    decode,
    frame_bytes,
    plain_home,
)

MAX_MESSAGE = 1024
PATH = "/terminal?command=cat"
ASK = '{"type":"ping"}'
CUT_OFF = 1006


@pytest.fixture(scope="module")
def agent():
    agent = Agent(max_message=MAX_MESSAGE)
    yield agent
    agent.close()


def text(payload=ASK, **options):
    return frame_bytes(TEXT, payload, **options)


def more(payload=b"", **options):
    return frame_bytes(CONTINUATION, payload, **options)


def part(payload=b"", opcode=TEXT, **options):
    return frame_bytes(opcode, payload, fin=False, **options)


def control(opcode, payload=b"", **options):
    return frame_bytes(opcode, payload, **options)


def close(code, reason=b""):
    return frame_bytes(CLOSE, struct.pack("!H", code) + reason)


def padded(size):
    """A ping message of this size."""
    return ASK[:-1] + " " * (size - len(ASK)) + "}"


def in_pieces(message, size=1):
    """A message in fragments of @size bytes."""
    pieces = [message[i : i + size] for i in range(0, len(message), size)]
    return b"".join(
        frame_bytes(CONTINUATION if i else TEXT, piece, fin=i == len(pieces) - 1) for i, piece in enumerate(pieces)
    )


def send(ws, data, by_byte):
    if not by_byte:
        assert ws.connection.try_send(data)
        return
    for i in range(len(data)):
        if not ws.connection.try_send(data[i : i + 1]):
            return  # it has seen enough


@pytest.fixture(params=[False, True], ids=["at once", "by byte"])
def by_byte(request):
    return request.param


def wait_for_silence(ws):
    """What is answered to a ping of our own: everything before it has been dealt with."""
    ws.send_frame(PING, b"the end")
    found = []
    while True:
        frame = ws.read_other_than_pings()
        if frame.opcode == PONG and frame.payload == b"the end":
            return found
        found.append(frame)


# What is fine: the bytes, and how many "pong" messages and which pong frames come back.

GOOD = {
    "one frame": (text(), 1, []),
    "two fragments": (part(ASK[:7]) + more(ASK[7:]), 1, []),
    "many fragments": (in_pieces(ASK), 1, []),
    "an empty fragment at the beginning": (part() + more(ASK), 1, []),
    "an empty fragment in the middle": (part(ASK[:7]) + part(opcode=CONTINUATION) + more(ASK[7:]), 1, []),
    "an empty fragment at the end": (part(ASK) + more(), 1, []),
    "two messages": (text() + text(), 2, []),
    "a fragmented and a whole one": (in_pieces(ASK, 4) + text() + in_pieces(ASK, 5), 3, []),
    "the length in 16 bits": (text(size_of_size=2), 1, []),
    "the length in 64 bits": (text(size_of_size=8), 1, []),
    "125 bytes": (text(padded(125)), 1, []),
    "126 bytes": (text(padded(126)), 1, []),
    "the limit": (text(padded(MAX_MESSAGE)), 1, []),
    "the limit in fragments": (in_pieces(padded(MAX_MESSAGE), 300), 1, []),
    "the limit again and again": (text(padded(MAX_MESSAGE)) * 5, 5, []),
    "empty text": (text("") + text(), 1, []),
    "empty binary": (frame_bytes(BINARY) + text(), 1, []),
    "empty fragments": (part() + more() + text(), 1, []),
    "a ping": (control(PING, b"x"), 0, [b"x"]),
    "an empty ping": (control(PING), 0, [b""]),
    "a ping of 125 bytes": (control(PING, bytes(range(125))), 0, [bytes(range(125))]),
    "a ping between fragments": (part(ASK[:7]) + control(PING, b"x") + more(ASK[7:]), 1, [b"x"]),
    "a ping and a message": (control(PING, b"x") + text(), 1, [b"x"]),
    "a pong nobody asked for": (control(PONG, b"x") + text(), 1, []),
    "an empty pong": (control(PONG) + text(), 1, []),
    "a pong of 125 bytes": (control(PONG, b"x" * 125) + text(), 1, []),
    "pongs between fragments": (
        part(ASK[:5]) + control(PONG, b"x") + part(ASK[5:7], CONTINUATION) + control(PONG) + more(ASK[7:]),
        1,
        [],
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_good_frames(agent, name, by_byte):
    data, n_messages, pongs = GOOD[name]
    with RawWebSocket(agent, PATH) as ws:
        send(ws, data, by_byte)
        # The answers to frames of the library's own come before those of ours, so the order says nothing.
        answers = [ws.read_other_than_pings() for _ in range(n_messages + len(pongs))]
        assert [frame.payload for frame in answers if frame.opcode == PONG] == pongs
        messages = [decode(frame) for frame in answers if frame.opcode == TEXT]
        assert [message["type"] for message in messages] == ["pong"] * n_messages
        assert wait_for_silence(ws) == []
        assert ws.close() == 1000


def test_pings_one_after_the_other(agent):
    with RawWebSocket(agent, PATH) as ws:
        for i in range(100):
            ws.send_frame(PING, str(i))
            assert ws.read_pong() == str(i).encode()


def test_many_pings_at_once(agent):
    """Not each has to be answered, but what comes is in order, and nothing else happens."""
    with RawWebSocket(agent, PATH) as ws:
        ws.send_bytes(b"".join(frame_bytes(PING, str(i)) for i in range(1000)) + text())
        ws.send_bytes(text())
        pongs, n_messages = [], 0
        while n_messages < 2:
            frame = ws.read_other_than_pings()
            if frame.opcode == PONG:
                pongs.append(int(frame.payload))
            else:
                n_messages += decode(frame)["type"] == "pong"
        assert pongs == sorted(set(pongs)) and pongs[0] == 0


def test_pings_between_many_fragments(agent):
    """Each answered at once: before the next fragment is sent."""
    with RawWebSocket(agent, PATH) as ws:
        for i in range(len(ASK)):
            ws.send_frame(CONTINUATION if i else TEXT, ASK[i], fin=i == len(ASK) - 1)
            if i < len(ASK) - 1:
                ws.send_frame(PING, str(i))
                assert ws.read_other_than_pings().payload == str(i).encode()
        assert ws.read_message()["type"] == "pong"


# What is not: the bytes, and the close code. None: any end will do, with a code or without.

EURO = "€".encode()
UTF8 = {
    "a stray byte": b"\xff",
    "a stray continuation": b"\x80",
    "an overlong slash": b"\xc0\xaf",
    "an overlong euro": b"\xf0\x82\x82\xac",
    "a surrogate": b"\xed\xa0\x80",
    "beyond Unicode": b"\xf4\x90\x80\x80",
    "a lead byte of old": b"\xf8\x88\x80\x80\x80",
    "a broken sequence": b"\xe2\x82x",
    "an unfinished sequence": b"\xe2\x82",
}

BAD = {
    "a fragmented ping": (part(b"x", PING) + more(b"y"), 1002),
    "a fragmented pong": (part(b"x", PONG), 1002),
    "a fragmented close": (part(struct.pack("!H", 1000), CLOSE), 1002),
    "a ping of 126 bytes": (control(PING, b"x" * 126), None),
    "a ping of 300 bytes": (control(PING, b"x" * 300), None),
    "a pong of 126 bytes": (control(PONG, b"x" * 126), None),
    "a close of 126 bytes": (close(1000, b"x" * 124), None),
    "a ping with a long length": (control(PING, b"x", size_of_size=2), None),
    "a ping with a longer length": (control(PING, b"x", size_of_size=8), None),
    "a continuation of nothing": (more(ASK), 1002),
    "an unfinished continuation of nothing": (part(ASK, CONTINUATION), 1002),
    "text between fragments": (part(ASK[:7]) + text(), 1002),
    "binary between fragments": (part(ASK[:7]) + frame_bytes(BINARY, b"x"), 1002),
    "a beginning between fragments": (part(ASK[:7]) + part(ASK), 1002),
    "one byte too many": (text(padded(MAX_MESSAGE + 1)), 1009),
    "one byte too many in fragments": (in_pieces(padded(MAX_MESSAGE + 1), 300), 1009),
    "binary too large": (frame_bytes(BINARY, b"x" * (MAX_MESSAGE + 1)), 1009),
    "far too large": (b"\x81\xff" + struct.pack("!Q", 1 << 40) + b"mask" + b"x" * (2 * MAX_MESSAGE), 1009),
    "a negative length": (b"\x81\xff" + struct.pack("!Q", 1 << 63) + b"mask" + b"x" * 100, None),
    "half a close code": (control(CLOSE, b"\x03"), 1002),
    "a reason that is not UTF-8": (close(1000, b"\xff"), 1007),
    "a reason that ends too early": (close(1000, EURO[:2]), 1007),
    "UTF-8 over a border that is none": (part(b'{"' + EURO[:2]) + more(b'"}'), 1007),
    "text that ends too early": (part(b'{"') + more(EURO[:2]), 1007),
}
BAD |= {f"opcode {i}": (frame_bytes(i, b"x"), 1002) for i in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)}
BAD |= {f"opcode {i}, empty": (frame_bytes(i), 1002) for i in (3, 7, 11, 15)}
BAD |= {f"reserved bits {i}": (text(rsv=i), 1002) for i in range(1, 8)}
BAD |= {f"reserved bits in frame {i}": (frame_bytes(i, rsv=4), 1002) for i in (BINARY, CLOSE, PING, PONG)}
BAD |= {"reserved bits in a fragment": (part(ASK[:7]) + more(ASK[7:], rsv=2), 1002)}
BAD |= {f"text with {name}": (text(bad), 1007) for name, bad in UTF8.items()}
BAD |= {f"JSON with {name}": (text(b'{"type":"' + bad + b'"}'), 1007) for name, bad in UTF8.items()}
BAD |= {f"close with {i}": (close(i), 1002) for i in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999)}


@pytest.mark.parametrize("name", BAD)
def test_bad_frames(agent, name, by_byte):
    data, code = BAD[name]
    with RawWebSocket(agent, PATH) as ws:
        send(ws, data, by_byte)
        try:
            frame = ws.read_other_than_pings()
            assert frame.opcode == CLOSE, frame
            found = int.from_bytes(frame.payload[:2], "big")
            frame.payload[2:].decode()
        except ConnectionEnded:
            found = CUT_OFF
        assert found == code or (code is None and found in (1002, CUT_OFF))


def test_bad_frames_end_the_connection(agent):
    """Whether or not the other side plays along."""
    broken = []
    for data in (text(rsv=4), text(b"\xff"), text("x" * (MAX_MESSAGE + 1)), control(CLOSE, b"\x03")):
        broken.append(RawWebSocket(agent, PATH))
        broken[-1].send_bytes(data)
    for ws in broken:
        assert ws.read_other_than_pings().opcode == CLOSE
        ws.read_end(timeout=10)
        ws.connection.close()
    wait_until(lambda: agent.gauges()["websockets"] == 0, "the end of all")


# The closing handshake


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999])
@pytest.mark.parametrize("reason", ["", "so long", "€", "x" * 123], ids=["none", "short", "euro", "long"])
def test_close_codes_are_echoed(agent, code, reason):
    with RawWebSocket(agent, PATH) as ws:
        ws.send_close(code, reason)
        frame = ws.read_other_than_pings()
        assert frame.opcode == CLOSE and int.from_bytes(frame.payload[:2], "big") == code
        assert frame.payload[2:].decode() in ("", reason)
        ws.read_end()


def test_close_without_a_code(agent):
    with RawWebSocket(agent, PATH) as ws:
        ws.send_frame(CLOSE)
        assert ws.read_close() in ((1005, ""), (1000, ""))


@pytest.mark.parametrize("behind", [text(), control(PING, b"x"), close(1000), close(3000), text(b"\xff")])
def test_nothing_counts_behind_a_close(agent, behind):
    with RawWebSocket(agent, PATH) as ws:
        ws.send_bytes(close(1000) + behind)
        frame = ws.read_other_than_pings()
        assert frame.opcode == CLOSE and frame.payload == struct.pack("!H", 1000)
        ws.read_end()


def test_close_between_fragments(agent):
    with RawWebSocket(agent, PATH) as ws:
        ws.send_bytes(part(ASK[:7]) + close(1000))
        assert ws.read_close() == (1000, "")


# Frames without a mask


@pytest.mark.parametrize("frame", [text(mask=False), control(PING, b"x", mask=False), close(1000)])
def test_unmasked_frames(agent, frame):
    """They must not be sent, and harm nobody: answered or refused, but nothing breaks."""
    with RawWebSocket(agent, PATH) as ws:
        ws.send_bytes(frame)
        try:
            ws.read_other_than_pings()
        except ConnectionEnded:
            pass


def test_masks_of_zeros(agent):
    with RawWebSocket(agent, PATH) as ws:
        ws.send_bytes(bytes([0x81, 0x80 | len(ASK)]) + bytes(4) + ASK.encode())
        assert ws.read_message()["type"] == "pong"


# What is in the messages


NO_MESSAGES = {
    "no JSON": ("hello", "INVALID_JSON", None),
    "JSON cut off": ('{"type":"ping"', "INVALID_JSON", None),
    "two": (ASK * 2, "INVALID_JSON", None),
    "white space": ("  ", "MISSING_PARAMETER", "/type"),
    "a list": ("[]", "INVALID_JSON", None),
    "a string": ('"ping"', "INVALID_JSON", None),
    "null": ("null", "INVALID_JSON", None),
    "a NUL byte": ('{"type":"ping\0"}', "INVALID_JSON", None),
    "deep nesting": ("[" * 500 + "]" * 500, "INVALID_JSON", None),
    "no type": ("{}", "MISSING_PARAMETER", "/type"),
    "a number as type": ('{"type":1}', "MISSING_PARAMETER", "/type"),
    "an unknown type": ('{"type":"execute"}', "INVALID_REQUEST", "/type"),
    "a type with NUL": ('{"type":"input\\u0000","data":""}', "MISSING_PARAMETER", "/type"),
    "a ping with NUL": ('{"type":"ping\\u0000"}', "MISSING_PARAMETER", "/type"),
    "a long type": (json.dumps({"type": "x" * 900}), "INVALID_REQUEST", "/type"),
    "no data": ('{"type":"input"}', "MISSING_PARAMETER", "/data"),
    "data of another kind": ('{"type":"input","data":5}', "INVALID_REQUEST", "/data"),
    "no rows": ('{"type":"resize","cols":80}', "MISSING_PARAMETER", "/rows"),
    "no columns": ('{"type":"resize","cols":0,"rows":1}', "INVALID_REQUEST", "/cols"),
    "too many columns": ('{"type":"resize","cols":65536,"rows":1}', "INVALID_REQUEST", "/cols"),
    "half a row": ('{"type":"resize","cols":80,"rows":1.5}', "INVALID_REQUEST", "/rows"),
}


@pytest.mark.parametrize("name", NO_MESSAGES)
def test_bad_messages(agent, name):
    """They are told, and the connection goes on."""
    data, code, field = NO_MESSAGES[name]
    with RawWebSocket(agent, PATH, headers={"X-Request-ID": "bad-message"}) as ws:
        ws.send_frame(TEXT, data)
        error = ws.read_message()
        assert (error["type"], error["code"], error["request_id"]) == ("error", code, "bad-message")
        assert error["error"] == error["message"] != ""
        assert (error.get("details") or {}).get("field") == field
        ws.send(type="ping")
        assert ws.read_message()["type"] == "pong"


def test_binary_input_goes_to_the_terminal(agent):
    with Terminal(agent, "/terminal?command=stty%20-echo%20%26%26%20echo%20ready%20%26%26%20od%20-An%20-tx1") as ws:
        ws.read_until("ready")
        ws.send_frame(BINARY, b"\xff\xfe\n\x04")
        ws.read_until("ff fe 0a")
    with Terminal(agent, "/terminal?command=cat") as ws:
        ws.send_frame(BINARY, '{"type":"ping"} €\n')
        ws.read_until('{"type":"ping"} €\r\n{"type":"ping"} €\r\n')  # the echo, and cat
        ws.send_frame(BINARY, b"in ", fin=False)
        ws.send_frame(CONTINUATION, b"pieces\n")
        ws.read_until("in pieces\r\nin pieces\r\n")
