# SPDX-License-Identifier: Apache-2.0
"""Holds up some threads of a process, and not the others."""

import contextlib
import ctypes
import os

import pytest

PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207
WALL = 0x40000000

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def ptrace(request, thread, address=None, data=None):
    if libc.ptrace(request, thread, address, data) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextlib.contextmanager
def frozen_workers(agent):
    """All threads but the first one stand still: it is as if the disk did. They have been started before: by anything
    that is done with a file."""
    pid = agent.process.pid
    held = []
    agent.gauges()  # the machine's readings are there for some time, so that these can be asked for again
    try:
        for thread in map(int, os.listdir(f"/proc/{pid}/task")):
            if thread == pid:
                continue
            try:
                ptrace(PTRACE_SEIZE, thread)
            except PermissionError:
                pytest.skip("threads cannot be held up here")
            held.append(thread)
            ptrace(PTRACE_INTERRUPT, thread)
            os.waitpid(thread, WALL)
        assert held, "the agent has no workers"
        yield
    finally:
        for thread in held:
            ptrace(PTRACE_DETACH, thread)
