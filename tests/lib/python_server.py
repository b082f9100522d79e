# SPDX-License-Identifier: Apache-2.0
"""Plays the agent towards the fork server of Python (proc/driver_protocol.h)."""

import array
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from lib.waiting import time_factor

RUNTIME = Path(__file__).resolve().parents[2] / "proc/runtimes/python"
ID_SIZE = 29
RESULT_TIMEOUT_S = 60


def python_with_libraries():
    """An interpreter that has numpy, pandas and matplotlib."""
    for python in (sys.executable, "/usr/bin/python3"):
        argv = [python, "-c", "import numpy, pandas, matplotlib"]
        if os.access(python, os.X_OK) and subprocess.run(argv, capture_output=True).returncode == 0:
            return python
    raise AssertionError("no python3 here has numpy, pandas and matplotlib, which these tests need")


class Result:
    def __init__(self, status, out, err, rich=b""):
        self.status = status  # negative: the signal
        self.out = out
        self.err = err
        self.rich = rich


def collect(pid, pipes, timeout=RESULT_TIMEOUT_S):
    """All output of a child, and its end; what it leaves running is not waited for."""
    deadline = time.monotonic() + timeout * time_factor()
    output = {fd: bytearray() for fd in pipes}
    pidfd = os.pidfd_open(pid)
    with selectors.DefaultSelector() as selector:
        for fd in (*pipes, pidfd):
            selector.register(fd, selectors.EVENT_READ)
        has_ended = False
        while not has_ended:
            ready = selector.select(max(deadline - time.monotonic(), 0))
            if not ready:
                os.kill(pid, signal.SIGKILL)
            for key, _ in ready:
                if key.fd == pidfd:
                    has_ended = True
                    continue
                data = os.read(key.fd, 1 << 16)
                output[key.fd] += data
                if not data:
                    selector.unregister(key.fd)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(pidfd)
    for fd in pipes:
        os.set_blocking(fd, False)
        try:
            while data := os.read(fd, 1 << 16):
                output[fd] += data
        except BlockingIOError:
            pass
        os.close(fd)
    return Result(status, *(bytes(output[fd]) for fd in pipes))


class Child:
    """Waits for its job."""

    def __init__(self, pid, placed, identity, stdin, pipes, job):
        self.pid = pid
        self.placed = placed
        self.identity = identity
        self.stdin = stdin
        self.pipes = pipes
        self.job = job

    def send_job(self, directory, script, environment, stdin="pipe"):
        entries = [f"{name}={value}" for name, value in environment.items()]
        data = b"".join(os.fsencode(text) + b"\0" for text in (directory, script, stdin, *entries))
        self.job.sendall(len(data).to_bytes(4, "little") + data)

    def run(self, directory, script, environment, stdin=b"", is_null=False):
        environment = {**environment, "VM_AGENT_EXECUTION_ID": self.identity}
        self.send_job(directory, script, environment, "null" if is_null else "pipe")
        os.write(self.stdin, stdin)
        return self.finish()

    def finish_quietly(self):
        """Of a child that got no job."""
        os.waitpid(self.pid, 0)
        for fd in (self.stdin, *self.pipes):
            os.close(fd)

    def finish(self):
        os.close(self.stdin)
        result = collect(self.pid, self.pipes)
        self.failure = self.job.recv(8)
        self.job.close()
        return result


class PythonServer:
    """A fork server, ready. Children are this process's own."""

    def __init__(self, python, environment, preload=""):
        self.lock = threading.Lock()
        self.n_children = 0
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        argv = [python, str(RUNTIME / "server.py"), *([f"--preload={preload}"] if preload else [])]
        environment = {**environment, "VM_AGENT_EXECUTION_ID": "exec_".ljust(ID_SIZE, "0")}
        self.process = subprocess.Popen(
            argv, stdin=theirs, stderr=subprocess.PIPE, env=environment, start_new_session=True
        )
        theirs.close()
        self.control.settimeout(60 * time_factor())
        words = self.control.recv(1 << 18).split(b"\0")
        assert words[0] == b"ready", (words, self.process.stderr.read(), self.process.wait())
        self.directories = [os.fsdecode(path) for path in words[1:-1]]

    def child(self, cgroup_fd=None):
        stdin, out, err, rich = (os.pipe() for _ in range(4))
        ours, theirs = socket.socketpair()
        fds = [stdin[0], out[1], err[1], rich[1], theirs.fileno()] + ([cgroup_fd] if cgroup_fd is not None else [])
        with self.lock:
            self.n_children += 1
            identity = f"exec_{self.n_children:0{ID_SIZE - 5}d}"
            payload = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
            self.control.sendmsg([identity.encode()], payload)
            words = self.control.recv(4096).split(b"\0")
        for fd in fds[:4]:
            os.close(fd)
        theirs.close()
        assert words[0] == b"child", words
        return Child(int(words[1]), words[2] == b"1", identity, stdin[1], [out[0], err[0], rich[0]], ours)

    def close(self):
        """Returns the server's exit status."""
        self.control.close()
        self.process.stderr.close()
        return self.process.wait(10 * time_factor())


def run_process(argv, directory, environment, stdin=b"", is_null=False):
    """The same for a process of its own, with rich output at descriptor 4 of drivers."""
    identity = "exec_".ljust(ID_SIZE, "f")
    stdin_pipe, out, err = (os.pipe() for _ in range(3))
    null = os.open(os.devnull, os.O_RDONLY)
    process = subprocess.Popen(
        argv,
        cwd=directory,
        env={**environment, "VM_AGENT_EXECUTION_ID": identity},
        stdin=null if is_null else stdin_pipe[0],
        stdout=out[1],
        stderr=err[1],
        start_new_session=True,
    )
    for fd in (null, stdin_pipe[0], out[1], err[1]):
        os.close(fd)
    os.write(stdin_pipe[1], stdin)
    os.close(stdin_pipe[1])
    result = collect(process.pid, [out[0], err[0]])
    process.returncode = result.status  # it has been waited for
    return result
