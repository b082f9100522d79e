# SPDX-License-Identifier: Apache-2.0
"""Looking at processes from outside, through /proc."""

import os
from pathlib import Path


def pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def status(pid):
    """The fields of /proc/PID/status, or None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def status_kib(pid, field):
    return int(status(pid)[field].split()[0])


def is_running(pid):
    """True while the process exists and is no zombie."""
    fields = status(pid)
    return fields is not None and fields["State"].strip()[0] not in "ZX"


def children(pid):
    """(pid, state letter, name) of every child, zombies included."""
    found = []
    for candidate in pids():
        fields = status(candidate)
        if fields and int(fields["PPid"]) == pid:
            found.append((candidate, fields["State"].strip()[0], fields["Name"].strip()))
    return found


def descendants(pid):
    found = []
    for child, _, _ in children(pid):
        found.append(child)
        found.extend(descendants(child))
    return found


def environment(pid):
    """The environment a process was started with; empty for zombies and for what is gone."""
    try:
        data = Path(f"/proc/{pid}/environ").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return {}
    pairs = (entry.split(b"=", 1) for entry in data.split(b"\0") if b"=" in entry)
    return {os.fsdecode(name): os.fsdecode(value) for name, value in pairs}


def executable(pid):
    """The program's path, or an empty string when there is no such process."""
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return ""


def command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def with_environment(name, value):
    """The processes that were started with NAME=value, and are no zombies."""
    wanted = f"{name}={value}".encode()
    found = []
    for pid in pids():
        try:
            data = Path(f"/proc/{pid}/environ").read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if wanted in data.split(b"\0") and is_running(pid):
            found.append(pid)
    return found


def describe(found):
    return "; ".join(f"{pid} [{command_line(pid).strip()[:100]}]" for pid in found)


def open_fds(pid):
    return {name: os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}
