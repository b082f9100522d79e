# SPDX-License-Identifier: Apache-2.0
"""A fork whose child is its parent's sibling, so that the agent reaps it as it reaps everything that it starts.

The kernel has it (CLONE_PARENT), libc's fork() has not. The system call is made by ctypes with the GIL held, between
what os.fork() calls before and after. There is one thread only, so libc's own locks are free.
"""

import ctypes
import errno
import os

CLONE_PARENT = 0x00008000
CLONE_CHILD_CLEARTID = 0x00200000
CLONE_CHILD_SETTID = 0x01000000
CLONE_INTO_CGROUP = 0x200000000
PR_GET_TID_ADDRESS = 40
CLONE3 = 435

# machine: clone, does its fourth argument hold the thread's storage, get_robust_list, set_robust_list
CALLS = {"x86_64": (56, False, 274, 273), "aarch64": (220, True, 100, 99)}


class CloneArguments(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_uint64)
        for name in (
            "flags pidfd child_tid parent_tid exit_signal stack stack_size tls set_tid set_tid_size cgroup".split()
        )
    ]


class Cloner:
    """Raises OSError where this cannot work."""

    def __init__(self):
        library = ctypes.PyDLL(None, use_errno=True)
        self.before = library.PyOS_BeforeFork
        self.after_in_child = library.PyOS_AfterFork_Child
        self.after_in_parent = library.PyOS_AfterFork_Parent
        for function in (self.before, self.after_in_child, self.after_in_parent):
            function.restype = None
        self.syscall = library.syscall
        self.syscall.restype = ctypes.c_long
        try:
            self.clone, self.is_storage_fourth, self.get_robust_list, self.set_robust_list = CALLS[os.uname().machine]
        except KeyError:
            raise OSError(errno.ENOSYS, "unknown machine") from None
        self.has_clone3 = True

        address = ctypes.c_void_p()
        library.prctl.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_long, ctypes.c_long, ctypes.c_long]
        if library.prctl(PR_GET_TID_ADDRESS, ctypes.addressof(address), 0, 0, 0) != 0 or not address.value:
            raise OSError(ctypes.get_errno(), "PR_GET_TID_ADDRESS")
        self.tid_address = address.value

        # The kernel forgets it for children. Whoever forks tells it again.
        self.robust_list = ctypes.c_void_p()
        self.robust_size = ctypes.c_size_t()
        self.call(
            self.get_robust_list, 0, ctypes.addressof(self.robust_list), ctypes.addressof(self.robust_size)
        )

    def call(self, number, *arguments):
        result = self.syscall(ctypes.c_long(number), *[ctypes.c_long(a) for a in arguments])
        return -ctypes.get_errno() if result < 0 else result

    def clone_legacy(self, flags):
        tid = self.tid_address
        return self.call(self.clone, flags, 0, 0, *((0, tid) if self.is_storage_fourth else (tid, 0)))

    def clone_once(self, cgroup_fd):
        flags = CLONE_PARENT | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID
        if not self.has_clone3:
            return self.clone_legacy(flags) if cgroup_fd is None else -errno.ENOSYS
        arguments = CloneArguments(flags=flags, child_tid=self.tid_address)
        if cgroup_fd is not None:
            arguments.flags |= CLONE_INTO_CGROUP
            arguments.cgroup = cgroup_fd
        return self.call(CLONE3, ctypes.addressof(arguments), ctypes.sizeof(arguments))

    def fork(self, cgroup_fd=None):
        """Returns (pid, placed), with pid 0 in the child. Raises OSError."""
        self.before()
        pid = self.clone_once(cgroup_fd)
        if pid == 0:
            self.call(self.set_robust_list, self.robust_list.value, self.robust_size.value)
            self.after_in_child()
            return 0, True
        self.after_in_parent()
        if pid > 0:
            return pid, True
        if pid == -errno.ENOSYS and self.has_clone3:
            self.has_clone3 = False
            return self.fork(cgroup_fd)
        if cgroup_fd is not None and pid not in (-errno.EAGAIN, -errno.ENOMEM):
            pid, _ = self.fork()  # it may not put a child there, or cannot
            return pid, False
        raise OSError(-pid, os.strerror(-pid))
