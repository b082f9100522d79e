# SPDX-License-Identifier: Apache-2.0
"""Halts a process at a moment of its work."""

import contextlib
import ctypes
import os

import pytest

from lib.frozen import PTRACE_DETACH, PTRACE_INTERRUPT, PTRACE_SEIZE, WALL, ptrace

PTRACE_SYSCALL, PTRACE_GET_SYSCALL_INFO, PTRACE_O_TRACESYSGOOD = 24, 0x420E, 1
ENTRY = 1


class _SyscallInfo(ctypes.Structure):
    _fields_ = [
        ("op", ctypes.c_uint8),
        ("_", ctypes.c_uint8 * 7),
        ("pointers", ctypes.c_uint64 * 2),
        ("number", ctypes.c_uint64),
        ("arguments", ctypes.c_uint64 * 8),
    ]


def _entered(pid):
    """The number of the system call at whose entry it halts, or None."""
    info = _SyscallInfo()
    ptrace(PTRACE_GET_SYSCALL_INFO, pid, ctypes.sizeof(info), ctypes.addressof(info))
    return info.number if info.op == ENTRY else None


@contextlib.contextmanager
def halted_at_syscall(pid, number, begin):
    """Halts it before the next system call @number after begin()."""
    try:
        ptrace(PTRACE_SEIZE, pid, None, PTRACE_O_TRACESYSGOOD)
    except PermissionError:
        pytest.skip("processes cannot be held up here")
    try:
        ptrace(PTRACE_INTERRUPT, pid)
        os.waitpid(pid, WALL)
        begin()
        while _entered(pid) != number:
            ptrace(PTRACE_SYSCALL, pid)
            os.waitpid(pid, WALL)
        yield
    finally:
        ptrace(PTRACE_DETACH, pid)
