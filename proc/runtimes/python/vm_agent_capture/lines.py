# SPDX-License-Identifier: Apache-2.0
"""Lines of JSON to the agent: bounded in size and number, whole, in order.

Several threads and forked children may write. Within a process a lock orders them, between processes a lock of the
kernel's on the pipe; both are needed, as the kernel's belongs to the process. A signal handler that displays while the
same thread is in the midst of a line is refused (dropped), as waiting would be for ever."""

import os
import sys
import time
from _thread import RLock

MAX_OUTPUTS = 100
MAX_BYTES = 16 << 20  # of all lines together
MAX_LINE = 8 << 20

# User code may put other functions in their places, to simulate a clock, or a full disk.
_fstat, _getpid, _write_some = os.fstat, os.getpid, os.write
_gmtime, _now, _strftime = time.gmtime, time.time, time.strftime


_imported = {}


def quietly_import(name):
    """A module of the interpreter's own, without leaving it in sys.modules if it was not there."""
    module = _imported.get(name)
    if module is None:
        was_there = name in sys.modules
        module = _imported[name] = __import__(name)
        if not was_there:
            sys.modules.pop(name, None)
    return module


class _Output:
    """What was sent, and what must be known to send more."""

    def __init__(self):
        self.forget_process()
        self.n_outputs = 0
        self.n_bytes = 0
        self.n_dropped = 0
        self.n_groups = 0
        self.is_torn = False
        self.is_broken = False

    def forget_process(self):
        """In a forked child the lock may be held by a thread that does not exist there."""
        self.pid = _getpid()
        self.lock = RLock()
        self.is_busy = False


_output = _Output()


def prepare():
    """Imports what lines need."""
    quietly_import("fcntl")
    quietly_import("binascii")
    part("encode").prepare()


def new_group():
    """A name for outputs that are one object. Children of the execution's process have names of their own."""
    _output.n_groups += 1
    pid = _getpid()
    return str(_output.n_groups) if pid == state.pid else "%d-%d" % (pid, _output.n_groups)


def timestamp():
    """Now, as RFC 3339 has it, in UTC."""
    now = _now()
    return _strftime("%Y-%m-%dT%H:%M:%S", _gmtime(now)) + ".%03dZ" % (now % 1 * 1000)


def is_full():
    """Whether nothing more would be sent: a reason to spare the work of drawing. Counts as one that was dropped."""
    if _output.n_outputs < MAX_OUTPUTS and _output.n_bytes < MAX_BYTES:
        return False
    _output.n_dropped += 1
    return True


def emit(mime, form, data, metadata, is_encoded=False):
    """Sends one output; whether it was. With is_encoded data is JSON already."""
    encode = part("encode").encode
    try:
        text = '{"type":%s,"format":"%s","data":%s,"metadata":%s,"timestamp":"%s"}' % (
            encode(mime), form, data if is_encoded else encode(data), encode(metadata), timestamp())
        line = text.encode("utf-8", "replace")
    except MemoryError:
        line = None
    if line is None or len(line) > MAX_LINE:
        _output.n_dropped += 1
        return False
    return _send(line, True)


def send_result(text):
    """Sends the value of the last expression."""
    _send(('{"result":%s}' % part("encode").encode(text)).encode("utf-8", "replace"), False)


def say_dropped():
    """At the end: how many outputs there would have been beyond the limits."""
    if _output.n_dropped:
        _send(b'{"dropped":%d}' % _output.n_dropped, False)
        _output.n_dropped = 0


def _is_ours():
    """Whether the descriptor still is what it was: user code may have closed it, and opened something else."""
    try:
        status = _fstat(state.fd)
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == state.identity


def _send(line, is_output):
    if _getpid() != _output.pid:
        _output.forget_process()
    with _output.lock:
        if _output.is_busy:
            _output.n_dropped += is_output
            return False
        if is_output:
            if _output.n_outputs >= MAX_OUTPUTS or _output.n_bytes + len(line) > MAX_BYTES:
                _output.n_dropped += 1
                return False
            _output.n_outputs += 1
            _output.n_bytes += len(line)
        try:
            _output.is_busy = True
            return _write_alone(line)
        finally:
            _output.is_busy = False


def _write_alone(line):
    """Writes a line under the lock that other processes heed."""
    if _output.is_broken or not _is_ours():
        return False
    locks = quietly_import("fcntl")
    try:
        try:
            locks.lockf(state.fd, locks.LOCK_EX)
        except OSError:
            pass
        return _write(line + b"\n")
    finally:
        # Whatever happened: an exception of a signal handler's may have come right after it was locked.
        try:
            locks.lockf(state.fd, locks.LOCK_UN)
        except OSError:
            pass


def _write(line):
    # An exception out of a signal handler may have ended the last line in its midst.
    rest = memoryview(b"\n" + line if _output.is_torn else line)
    _output.is_torn = True
    try:
        while rest:
            rest = rest[_write_some(state.fd, rest):]
    except OSError:
        _output.is_broken = True
        return False
    _output.is_torn = False
    return True
