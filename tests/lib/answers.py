# SPDX-License-Identifier: Apache-2.0
"""Every answer that a test gets, by whatever client of httpx or websockets, is held against the OpenAPI document of the
agent under test. What is found makes the test fail when it is over: tests expect errors and catch them, and clients run
in threads, so nothing is raised where it is found.

Of lines and events those are looked at that were read. Not looked at: JSON that is not read to its end, what is larger
than 1 MiB, and the answers to raw sockets."""

import functools

import httpx
import websockets.asyncio.client
import websockets.sync.client

from lib.openapi import ITEMS, JSON, Document, plain_type

MAX_SIZE = 1 << 20
MAX_FINDINGS = 20

_findings = []


@functools.cache
def document():
    from lib.agent import BINARY

    return Document.of(BINARY)


def take_findings():
    """What was found since the last call."""
    found, _findings[:] = _findings[:], []
    return found


def look(find, *arguments):
    """Notes what find() finds. A client must not be disturbed, whatever goes wrong here."""
    try:
        note(find(*arguments))
    except Exception as error:  # noqa: BLE001 it becomes a finding
        note([f"{arguments[:3]}: could not be checked: {error!r}"])


def note(found):
    _findings.extend(text for text in found if text not in _findings and len(_findings) < MAX_FINDINGS)


class Reader:
    """Collects an answer while its client reads it."""

    def __init__(self, request, response):
        self.method = request.method
        self.path = request.url.raw_path.decode("ascii").split("?")[0]
        self.status = response.status_code
        self.type = response.headers.get("content-type")
        self.has_items = plain_type(self.type or "") in ITEMS
        self.pieces = []
        self.size = 0
        has_body = self.method != "HEAD" and "content-encoding" not in response.headers
        self.wants_body = has_body and (self.has_items or plain_type(self.type or "") == JSON)
        look(document().header_findings, self.method, self.path, self.status, list(response.headers))
        if not self.wants_body or self.has_items:
            self.check(None)

    def add(self, piece):
        self.size += len(piece)
        if self.wants_body and self.size <= MAX_SIZE:
            self.pieces.append(piece)

    def end(self):
        """All of it was read."""
        if self.wants_body and not self.has_items:
            self.check(b"".join(self.pieces) if self.size <= MAX_SIZE else None)

    def close(self):
        """No more of it will be read."""
        if self.wants_body and self.has_items:
            look(document().item_findings, self.method, self.path, self.status, self.type, b"".join(self.pieces))
            self.wants_body = False

    def check(self, body):
        look(document().answer_findings, self.method, self.path, self.status, self.type, body)


class Body(httpx.SyncByteStream):
    """A body on its way to the client."""

    def __init__(self, stream, reader):
        self.stream = stream
        self.reader = reader

    def __iter__(self):
        for piece in self.stream:
            self.reader.add(piece)
            yield piece
        self.reader.end()

    def close(self):
        self.reader.close()
        self.stream.close()


class AsyncBody(httpx.AsyncByteStream):
    """The same for clients that do not block."""

    def __init__(self, stream, reader):
        self.stream = stream
        self.reader = reader

    async def __aiter__(self):
        async for piece in self.stream:
            self.reader.add(piece)
            yield piece
        self.reader.end()

    async def aclose(self):
        self.reader.close()
        await self.stream.aclose()


def is_agents(response):
    """Other servers of the tests do not name their requests."""
    return "x-request-id" in response.headers


def watch_requests():
    send, send_async = httpx.HTTPTransport.handle_request, httpx.AsyncHTTPTransport.handle_async_request

    @functools.wraps(send)
    def watched(self, request):
        response = send(self, request)
        if is_agents(response):
            response.stream = Body(response.stream, Reader(request, response))
        return response

    @functools.wraps(send_async)
    async def watched_async(self, request):
        response = await send_async(self, request)
        if is_agents(response):
            response.stream = AsyncBody(response.stream, Reader(request, response))
        return response

    httpx.HTTPTransport.handle_request = watched
    httpx.AsyncHTTPTransport.handle_async_request = watched_async


def check_message(path, text):
    """A message that came by a WebSocket: for clients of one's own."""
    if isinstance(text, str) and len(text) <= MAX_SIZE:
        look(document().message_findings, path.split("?")[0], text)


def watch_messages():
    connection, async_connection = websockets.sync.client.ClientConnection, websockets.asyncio.client.ClientConnection
    receive, receive_async = connection.recv, async_connection.recv

    @functools.wraps(receive)
    def watched(self, *arguments, **keywords):
        text = receive(self, *arguments, **keywords)
        check_message(self.request.path, text)
        return text

    @functools.wraps(receive_async)
    async def watched_async(self, *arguments, **keywords):
        text = await receive_async(self, *arguments, **keywords)
        check_message(self.request.path, text)
        return text

    connection.recv, async_connection.recv = watched, watched_async


@functools.cache
def watch():
    """From now on, in this process."""
    document()
    watch_requests()
    watch_messages()
