# SPDX-License-Identifier: Apache-2.0
"""Starts a Jupyter kernel and measures how long it takes to run a line of code.

    jupyter_kernel.py COUNT GAP_MS CODE

Each line on standard input asks for one measurement: "plain" or "quickack". The answer is a line of JSON. A kernel
that is asked by its own client spends some 40 ms of each execution waiting for a delayed ACK (Nagle's algorithm
at one end, the delay at the other); "quickack" takes that away, as a fair comparison has to.
"""

import json
import os
import socket
import sys
import time

from jupyter_client.manager import start_new_kernel

LIMIT_S = 60


def tcp_sockets():
    """Duplicates of all TCP sockets of this process: zmq does not tell which are its own."""
    sockets = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if not os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                continue
            candidate = socket.socket(fileno=os.dup(int(name)))
        except OSError:
            continue
        if candidate.family == socket.AF_INET and candidate.type == socket.SOCK_STREAM:
            sockets.append(candidate)
        else:
            candidate.close()
    return sockets


def execute(client, code, sockets):
    """Runs @code, and returns its output when reply and idle state are there: what a client waits for."""
    output = []
    for one in sockets:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)  # holds for a while only

    def on_output(message):
        if message["msg_type"] == "stream":
            output.append(message["content"]["text"])
        for one in sockets:
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    reply = client.execute_interactive(code, output_hook=on_output, timeout=LIMIT_S)
    if reply["content"]["status"] != "ok":
        raise SystemExit(f"the kernel answered {reply['content']}")
    return "".join(output)


def measure(client, count, gap_s, code, quickack):
    """Percentiles of @count executions with time between them, in microseconds."""
    sockets = tcp_sockets() if quickack else []
    expected = execute(client, code, sockets)
    times = []
    for _ in range(count):
        time.sleep(gap_s)
        begin = time.perf_counter()
        if execute(client, code, sockets) != expected:
            raise SystemExit("the kernel's output differs")
        times.append((time.perf_counter() - begin) * 1e6)
    for one in sockets:
        one.close()
    times.sort()
    return {"p50_us": times[len(times) // 2], "p99_us": times[len(times) * 99 // 100], "output": expected}


def main():
    count, gap_s, code = int(sys.argv[1]), int(sys.argv[2]) / 1000, sys.argv[3]
    manager, client = start_new_kernel(startup_timeout=LIMIT_S)
    try:
        for line in sys.stdin:
            print(json.dumps(measure(client, count, gap_s, code, line.strip() == "quickack")), flush=True)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


if __name__ == "__main__":
    main()
