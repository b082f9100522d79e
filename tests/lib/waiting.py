# SPDX-License-Identifier: Apache-2.0
"""Waiting for a condition with a deadline, the only kind of waiting that tests do."""

import os
import socket
import time

# How much slower than a plain build the agent may be: every deadline is multiplied by it.
SLOWNESS = {"none": 1, "valgrind": 20}
SANITIZER_SLOWNESS = 4


class NotInTime(AssertionError):
    pass


# Seconds between looks: many are met at once, and what takes longer may be seen a little later.
FIRST_PAUSE, LAST_PAUSE, GROWTH = 0.002, 0.025, 1.25


def wait_until(condition, what, timeout=5.0, interval=None):
    """Returns the first true value of condition(); fails with `what` when there is none in time."""
    deadline = time.monotonic() + timeout * time_factor()
    pause = FIRST_PAUSE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise NotInTime(f"not in time: {what() if callable(what) else what}")
        time.sleep(pause if interval is None else interval)
        pause = min(pause * GROWTH, LAST_PAUSE)


def wrapper():
    name = os.environ.get("AGENT_WRAPPER") or "none"
    if name not in SLOWNESS:
        raise ValueError(f"AGENT_WRAPPER must be one of {', '.join(SLOWNESS)}, not {name}")
    return name


_has_sanitizer = None


def has_sanitizer():
    """Whether the binary under test was built with AddressSanitizer."""
    global _has_sanitizer
    if _has_sanitizer is None:
        from lib.agent import BINARY

        _has_sanitizer = b"__asan_init" in BINARY.read_bytes()
    return _has_sanitizer


def time_factor():
    return max(SLOWNESS[wrapper()], SANITIZER_SLOWNESS if has_sanitizer() else 1)


def is_plain_build():
    return time_factor() == 1


def listens(path):
    """Whether somebody listens on this Unix socket: there is a moment between its name and that, and httpx forgets to
    close what was refused."""
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(str(path)) == 0
