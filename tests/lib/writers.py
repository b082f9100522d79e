# SPDX-License-Identifier: Apache-2.0
"""Jobs that write for a while, and what they must have written, every byte of it."""

import threading

import httpx


def numbers(first, last, suffix=b"\n"):
    return b"".join(b"%d%s" % (n, suffix) for n in range(first, last + 1))


def paced(last, tick=0.01, stream=1):
    """Writes the numbers from 1, one after each tick, without a process for each."""
    return (
        f"exec 9<> <(:); for ((i = 1; i <= {last}; i++)); do echo $i >&{stream}; "
        f"read -t {tick} -u 9; done; true"
    )


def bash(script):
    return {"command": "/bin/bash", "args": ["-c", script]}


def output_of(agent, identifier, stream="stdout"):
    """All the bytes of one stream, in pieces as a client would read them."""
    data = b""
    while True:
        query = {"stream": stream, "offset": len(data)}
        response = agent.http.get(f"/execute/processes/{identifier}/output", params=query)
        assert response.status_code == 200, response.text
        assert int(response.headers["x-output-offset"]) == len(data)
        data += response.content
        if not response.content:
            return data


def request_in_thread(function, *arguments, **fields):
    """A request whose answer will never come."""

    def run():
        try:
            function(*arguments, **fields)
        except httpx.TransportError:
            pass

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread
