# SPDX-License-Identifier: Apache-2.0
"""Plays the agent for the JavaScript driver: gives it its descriptors and its job, and collects what it does."""

import dataclasses
import fcntl
import json
import os
import pathlib
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import time

from lib.waiting import time_factor

DRIVER = pathlib.Path(__file__).resolve().parents[2] / "proc/runtimes/javascript/driver.cjs"
NODE = shutil.which("node")
RICH_FD, JOB_FD = 4, 5
# What node looks at when it starts: who asks for other values than a waiting process was born with is served cold.
START_ONLY = ("LANG", "LC_ALL", "LC_MESSAGES")
FIRST_FREE_FD = 16
TIMEOUT_S = 30


@dataclasses.dataclass
class Outcome:
    stdout: bytes = b""
    stderr: bytes = b""
    status: int = 0  # exit code, or the negative number of a signal
    rich: list = dataclasses.field(default_factory=list)

    @property
    def result(self):
        results = [line["result"] for line in self.rich if "result" in line]
        assert len(results) <= 1, results
        return results[0] if results else None


def node_version():
    if NODE is None:
        return (0,)
    text = subprocess.run([NODE, "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(part) for part in text.strip().removeprefix("v").split(".")[:2])


def environment(**more):
    return {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LANG": "C.UTF-8"} | more


def place(fd):
    """A duplicate out of the way of the descriptors that a child is to have."""
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE_FD)


class Child:
    """A process with stdin, stdout, stderr and further descriptors, all of them pipes that we hold the other ends of."""

    def __init__(self, argv, cwd, env, stdin=None, rich=False, job=None):
        self.outputs = {}  # number in the child: our end
        ours, theirs = [], {}
        for number in (1, 2, *([RICH_FD] if rich else [])):
            self.outputs[number], end = os.pipe()
            theirs[number] = end
        if stdin is None:
            self.stdin, theirs[0] = None, os.open("/dev/null", os.O_RDWR)
        else:
            theirs[0], self.stdin = os.pipe()
        if job is not None:
            theirs[JOB_FD] = os.dup(job.fileno())
        actions = []
        for number, end in theirs.items():
            ours.append(place(end))
            os.close(end)
            actions.append((os.POSIX_SPAWN_DUP2, ours[-1], number))
        # posix_spawn knows no directory.
        argv = ["/usr/bin/env", f"--chdir={cwd}", *argv]
        default = (signal.SIGPIPE, signal.SIGXFSZ)
        self.pid = os.posix_spawn(argv[0], argv, env, file_actions=actions, setsid=True, setsigdef=default)
        for end in ours:
            os.close(end)
        self.is_over = False

    def feed(self, data):
        if self.stdin is not None:
            if data:
                os.write(self.stdin, data)
            os.close(self.stdin)
            self.stdin = None

    def finish(self, timeout=TIMEOUT_S):
        """Reads what there is until the end of the process, and of everything that holds its output."""
        deadline = time.monotonic() + timeout * time_factor()
        read = {number: bytearray() for number in self.outputs}
        with selectors.DefaultSelector() as selector:
            for number, fd in self.outputs.items():
                selector.register(fd, selectors.EVENT_READ, number)
            while selector.get_map():
                events = selector.select(max(0, deadline - time.monotonic()))
                if not events:
                    self.kill()
                    raise AssertionError(f"not over in time: {bytes(read[1])!r} {bytes(read[2])!r}")
                for key, _ in events:
                    data = os.read(key.fd, 1 << 16)
                    read[key.data] += data
                    if not data:
                        selector.unregister(key.fd)
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.is_over = True
        self.close()
        rich = [json.loads(line) for line in bytes(read.get(RICH_FD, b"")).splitlines()]
        return Outcome(bytes(read[1]), bytes(read[2]), status, rich)

    def kill(self):
        if not self.is_over:
            os.killpg(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.is_over = True
        self.close()

    def close(self):
        for fd in self.outputs.values():
            os.close(fd)
        self.outputs = {}
        if self.stdin is not None:
            os.close(self.stdin)
            self.stdin = None


def run_plain(script, cwd, stdin=None, env=None):
    """The reference: node itself. The script lies where the driver pretends that it does."""
    child = Child(["node", str(script)], cwd, env or environment(), stdin)
    child.feed(stdin)
    return child.finish()


def run_cold(script, cwd, stdin=None, env=None, rich=True):
    options = [f"--rich={RICH_FD}"] if rich else []
    child = Child(["node", str(DRIVER), *options, str(script)], cwd, env or environment(), stdin, rich)
    child.feed(stdin)
    return child.finish()


class Waiting:
    """A driver that waits for its job; it was born elsewhere, with another environment."""

    def __init__(self, stdin=True, rich=True, env=None):
        self.job, theirs = socket.socketpair()
        options = [f"--wait={JOB_FD}"] + ([f"--rich={RICH_FD}"] if rich else [])
        env = env or environment(VM_AGENT_EXECUTION_ID="exec_1", LEFT_OVER="1")
        self.child = Child(["node", str(DRIVER), *options], "/", env, b"" if stdin else None, rich, theirs)
        theirs.close()

    def give(self, script, cwd, stdin=None, env=None):
        strings = [str(cwd), str(script), "null" if stdin is None else "pipe"]
        strings += [f"{name}={value}" for name, value in (env or environment()).items()]
        body = b"".join(os.fsencode(text) + b"\0" for text in strings)
        self.job.sendall(struct.pack("=I", len(body)) + body)
        self.child.feed(stdin)

    def failure(self):
        """What the driver said about its start: stage and errno, or None."""
        data = self.job.recv(64)
        return struct.unpack("=ii", data) if data else None

    def finish(self):
        try:
            return self.child.finish()
        finally:
            self.job.close()


def run_waiting(script, cwd, stdin=None, env=None, rich=True):
    born_with = {name: value for name, value in (env or environment()).items() if name in START_ONLY}
    driver = Waiting(rich=rich, env=environment(VM_AGENT_EXECUTION_ID="exec_1", LEFT_OVER="1") | born_with)
    driver.give(script, cwd, stdin, env)
    return driver.finish()
