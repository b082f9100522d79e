# SPDX-License-Identifier: Apache-2.0
"""WebSockets by hand: frames as they are on the wire, for what a decent client library refuses to send, and for
looking at what it hides. Every frame that is read is checked for what the agent must never send."""

import base64
import hashlib
import json
import os
import shutil
import socket
import struct
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from lib import answers, tokens
from lib.agent import base_path
from lib.raw import ConnectionEnded, RawConnection, head
from lib.waiting import NotInTime, time_factor

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
CONTROL = 0x8  # the bit that control frames' opcodes have

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
MAX_FRAME = 512 * 1024  # that the agent may send; clients refuse twice as much


@pytest.fixture(scope="module", autouse=True)
def plain_home():
    """For tests with login shells, which import it: bash gets an empty home directory, so that nothing depends on the
    profile of whoever runs the tests. Version managers take seconds there, and leave locks behind when killed."""
    found = base_path()
    with tempfile.TemporaryDirectory(prefix="vm-agent-home-") as name, pytest.MonkeyPatch.context() as patch:
        home = Path(name)
        home.chmod(0o755)
        wrapper = home / "bash"
        wrapper.write_text(f'#!/bin/sh\nHOME={home} exec {shutil.which("bash", path=found)} "$@"\n')
        wrapper.chmod(0o755)
        patch.setattr("lib.agent.base_path", lambda: f"{home}:{found}")
        yield home


@dataclass
class Frame:
    opcode: int
    payload: bytes
    is_final: bool = True
    at: float = 0.0  # when its first byte was seen


def accept_of(key):
    return base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()


def handshake(path, headers=None, token=None, method="GET"):
    """An upgrade request. A header is left out when its value is None; @token "" means no Authorization."""
    fields = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": KEY,
    }
    if token != "":
        fields.update(tokens.bearer(token or tokens.token()))
    fields.update(headers or {})
    return head(method, path, {name: value for name, value in fields.items() if value is not None})


def frame_bytes(opcode, payload=b"", fin=True, rsv=0, mask=True, size_of_size=None):
    """A frame as it goes over the wire. @size_of_size: 2 or 8, for lengths that are longer than they need be."""
    if isinstance(payload, str):
        payload = payload.encode()
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    bit = 0x80 if mask else 0
    size = len(payload)
    if size_of_size == 8 or size > 0xFFFF:
        start = struct.pack("!BBQ", first, bit | 127, size)
    elif size_of_size == 2 or size > 125:
        start = struct.pack("!BBH", first, bit | 126, size)
    else:
        start = struct.pack("!BB", first, bit | size)
    if not mask:
        return start + payload
    key = os.urandom(4)
    repeated = key * (size // 4 + 1)
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(repeated[:size], "big")
    return start + key + masked.to_bytes(size, "big")


def message_bytes(**message):
    return frame_bytes(TEXT, json.dumps(message))


class RawWebSocket:
    """A connection after a successful handshake. @extra is sent in one piece with it."""

    def __init__(
        self, agent, path="/terminal", headers=None, token=None, extra=b"", receive_buffer=None, connection=None
    ):
        self.begin(connection or RawConnection(agent.port, receive_buffer=receive_buffer))
        token = agent_token(agent) if token is None else token
        try:
            self.connection.send(handshake(path, headers, token) + extra)
            self.response = self.connection.read_head()
            assert self.response.status_code == 101, self.response
            key = (headers or {}).get("Sec-WebSocket-Key", KEY)
            assert self.response.headers["Sec-WebSocket-Accept"] == accept_of(key)
        except BaseException:
            self.connection.close()
            raise

    @classmethod
    def over(cls, connection):
        """For a connection on which the handshake was made by other means."""
        ws = cls.__new__(cls)
        ws.begin(connection)
        return ws

    def begin(self, connection):
        self.connection = connection
        self.answers_pings = True
        self.pings = 0  # that came

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    # Out

    def send_bytes(self, data):
        self.connection.send(data)

    def send_frame(self, opcode, payload=b"", **options):
        self.connection.send(frame_bytes(opcode, payload, **options))

    def send(self, **message):
        self.connection.send(message_bytes(**message))

    def type(self, text):
        self.send(type="input", data=text)

    def send_close(self, code=1000, reason=""):
        self.send_frame(CLOSE, struct.pack("!H", code) + reason.encode())

    # In

    def read_frame(self, timeout=10.0):
        """The next frame of any kind. ConnectionEnded when there is none any more, NotInTime when none comes."""
        deadline = time.monotonic() + timeout * time_factor()
        self._need(2, deadline)
        at = time.monotonic()
        first, second = self.connection.pending[:2]
        opcode, size, used = first & 0xF, second & 0x7F, 2
        if size >= 126:
            used += 2 if size == 126 else 8
            self._need(used, deadline)
            size = int.from_bytes(self.connection.pending[2:used], "big")
        assert not first & 0x70, "reserved bits"
        assert not second & 0x80, "a server must not mask"
        assert size <= MAX_FRAME, f"a frame of {size} bytes"
        self._need(used + size, deadline)
        payload = self.connection.read_bytes(used + size)[used:]
        assert opcode in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG), f"opcode {opcode}"
        if opcode & CONTROL:
            assert first & 0x80 and size <= 125, "control frames are whole and short"
        else:
            assert size > 0, "an empty frame"
        return Frame(opcode, payload, bool(first & 0x80), at)

    def read_other_than_pings(self, timeout=10.0):
        """The next frame that is no ping; those are answered on the way."""
        deadline = time.monotonic() + timeout * time_factor()
        while True:
            frame = self.read_frame(max(deadline - time.monotonic(), 0) / time_factor())
            if frame.opcode != PING:
                return frame
            self.pings += 1
            if self.answers_pings:
                self.connection.try_send(frame_bytes(PONG, frame.payload))

    def read_message_frame(self, timeout=10.0):
        frame = self.read_other_than_pings(timeout)
        assert frame.opcode == TEXT and frame.is_final, frame
        return frame

    def read_message(self, timeout=10.0):
        """The next message, which must be a JSON object."""
        return decode(self.read_message_frame(timeout))

    def read_pong(self, timeout=10.0):
        """The payload of the next pong; messages before it are dropped."""
        while True:
            frame = self.read_other_than_pings(timeout)
            if frame.opcode == PONG:
                return frame.payload
            assert frame.opcode == TEXT, frame

    def read_type(self, wanted, timeout=10.0):
        """The next message of a type; others are dropped."""
        while True:
            message = self.read_message(timeout)
            if message["type"] == wanted:
                return message

    def read_close(self, timeout=10.0):
        """(code, reason) of the close frame, answered, and then the connection's end. (1006, "") when it ended
        without one; (1005, "") when it has no code. Messages before it are dropped."""
        try:
            frame = self.read_other_than_pings(timeout)
            while frame.opcode != CLOSE:
                frame = self.read_other_than_pings(timeout)
        except ConnectionEnded:
            return 1006, ""
        self.connection.try_send(frame_bytes(CLOSE, frame.payload[:2]))
        self.read_end(timeout)
        if len(frame.payload) < 2:
            assert not frame.payload
            return 1005, ""
        return int.from_bytes(frame.payload[:2], "big"), frame.payload[2:].decode()

    def read_end(self, timeout=10.0):
        """The end of the connection; nothing may come before it."""
        try:
            frame = self.read_frame(timeout)
        except ConnectionEnded:
            return
        raise AssertionError(f"not the end, but {frame}")

    def is_ended(self):
        """Whether the peer has left, without waiting."""
        self.connection.socket.settimeout(0)
        try:
            while True:
                self.connection._receive()
        except ConnectionEnded:
            return True
        except BlockingIOError:
            return False

    # The end

    def close(self):
        """The closing handshake, begun by us."""
        self.send_close()
        code, _ = self.read_close()
        self.connection.close()
        return code

    def cut(self):
        """Vanishes with a RST."""
        self.connection.reset()

    def _need(self, size, deadline):
        while len(self.connection.pending) < size:
            left = deadline - time.monotonic()
            if left <= 0:
                raise NotInTime(f"not in time: a frame, have {self.connection.pending[:100]!r}")
            self.connection.socket.settimeout(left)
            try:
                # A large frame is read in large pieces: appending many small ones is quadratic.
                data = self.connection.socket.recv(max(size - len(self.connection.pending), 65536))
            except TimeoutError:
                continue
            except (ConnectionResetError, BrokenPipeError):
                raise ConnectionEnded("reset") from None
            if not data:
                raise ConnectionEnded(f"closed after {self.connection.pending[:200]!r}")
            self.connection.pending += data


def agent_token(agent):
    return tokens.token(agent.secret)


def decode(frame):
    message = json.loads(frame.payload.decode())  # raises when it is not UTF-8
    assert isinstance(message, dict) and isinstance(message["type"], str), message
    return message


class Terminal(RawWebSocket):
    """A terminal's client that keeps what it got, and checks that the offsets are those of the bytes."""

    n_runs = 0  # of all, so that the marks are never found in what was there before

    def begin(self, connection):
        super().begin(connection)
        self.last = None  # message that was read
        self.end = None  # offset behind the last byte
        self.output = bytearray()
        self.times = []  # of the output frames
        self.sizes = []
        self.exit = None

    def read_output(self, timeout=10.0):
        """The next output message's bytes; None when the next message is another one. Either is in .last then."""
        return self.take(self.read_message_frame(timeout))

    def take(self, frame):
        """The same for a frame that was read."""
        message = decode(frame)
        answers.check_message("/terminal", frame.payload.decode())
        self.last = message
        if message["type"] != "output":
            if message["type"] == "exit":
                self.exit = message
            elif message["type"] in ("attached", "gap"):
                self.end = message["offset"] if message["type"] == "attached" else message["to"]
            return None
        data = message["data"].encode()
        if self.end is None:
            self.end = message["offset"]
        assert message["offset"] == self.end, f"{message['offset']} after {self.end}"
        self.end = message["end"]
        if "\ufffd" not in message["data"]:
            assert self.end == message["offset"] + len(data)
        self.output += data
        self.times.append(frame.at)
        self.sizes.append(len(frame.payload))
        return data

    def read_until(self, mark, timeout=20.0):
        """Until @mark is in the output; returns everything from what was read before to the mark's end, and forgets
        it."""
        mark = mark.encode() if isinstance(mark, str) else mark
        deadline = time.monotonic() + timeout * time_factor()
        searched = 0
        while True:
            found = self.output.find(mark, max(searched - len(mark), 0))
            if found >= 0:
                taken = bytes(self.output[: found + len(mark)])
                del self.output[: found + len(mark)]
                return taken
            searched = len(self.output)
            if time.monotonic() > deadline:
                raise NotInTime(f"not in time: {mark!r} in {bytes(self.output[-500:])!r}")
            self.read_output(timeout)
            assert self.exit is None, f"{self.exit} before {mark!r} in {bytes(self.output[-500:])!r}"

    def read_exit(self, timeout=20.0):
        """Until the exit message; returns it. The output before it is in .output."""
        while self.exit is None:
            self.read_output(timeout)
        return self.exit

    def run(self, line, timeout=20.0):
        """Types a line for the shell and returns what it printed. The marks are put together by the shell, so that
        the echo of the line has none of them."""
        Terminal.n_runs += 1
        n = Terminal.n_runs
        self.type(f"echo BE''GIN{n}; {line}; echo E''ND{n}\n")
        self.read_until(f"BEGIN{n}\r\n", timeout)
        end = f"END{n}\r\n"
        return self.read_until(end, timeout).decode()[: -len(end)].replace("\r\n", "\n")


def shut_write(ws):
    ws.connection.socket.shutdown(socket.SHUT_WR)
