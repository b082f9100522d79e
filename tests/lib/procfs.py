# SPDX-License-Identifier: Apache-2.0
"""Looking at processes from outside, through /proc."""

import os


def pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def read(pid, name):
    """The bytes of a file in /proc/PID, or None when there is no such process. Without a buffer, and a path object:
    all processes are looked at often."""
    try:
        with open(f"/proc/{pid}/{name}", "rb", buffering=0) as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None


def status(pid):
    """The fields of /proc/PID/status, or None when there is no such process."""
    data = read(pid, "status")
    if data is None:
        return None
    return dict(line.split(":", 1) for line in data.decode().splitlines() if ":" in line)


def status_kib(pid, field):
    return int(status(pid)[field].split()[0])


def cpu_ticks(pid):
    """What it has used itself, of processors, in units of the system's clock."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def is_running(pid):
    """True while the process exists and is no zombie."""
    fields = status(pid)
    return fields is not None and fields["State"].strip()[0] not in "ZX"


def children(pid):
    """(pid, state letter, name) of every child, zombies included."""
    found = []
    for candidate in pids():
        data = read(candidate, "stat")
        if data:
            name, _, rest = data.partition(b"(")[2].rpartition(b")")
            state, parent = rest.split(maxsplit=2)[:2]
            if int(parent) == pid:
                found.append((candidate, state.decode(), name.decode(errors="replace")))
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
        data = read(pid, "environ") or b""
    except PermissionError:
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
    return (read(pid, "cmdline") or b"").replace(b"\0", b" ").decode(errors="replace")


def with_environment(name, value):
    """The processes that were started with NAME=value, and are no zombies."""
    wanted = f"{name}={value}".encode()
    found = []
    for pid in pids():
        try:
            data = read(pid, "environ") or b""
        except PermissionError:
            continue
        if wanted in data and wanted in data.split(b"\0") and is_running(pid):
            found.append(pid)
    return found


def describe(found):
    return "; ".join(f"{pid} [{command_line(pid).strip()[:100]}]" for pid in found)


def open_fds(pid):
    return {name: os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}
