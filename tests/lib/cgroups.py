# SPDX-License-Identifier: Apache-2.0
"""Cgroups with limits, of whichever version this machine has, for an agent to be put into."""

import contextlib
import os
import uuid
from pathlib import Path

PERIOD = 100000  # microseconds


class Absent(Exception):
    """There are no such cgroups here, or they are not ours to make; says why."""


def mounts():
    """{controller: (mount point, is it version 2)} of what is mounted as a whole."""
    found, unified = {}, None
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        kind, _, options = rest.split(" ", 2)
        point = Path(fields.split()[4])
        if kind == "cgroup2":
            unified = unified or point
        elif kind == "cgroup":
            found.update({name: (point, False) for name in options.split(",")})
    if unified:
        for name in (unified / "cgroup.controllers").read_text().split():
            found.setdefault(name, (unified, True))
    return found


def limits(is_v2, cores, memory):
    """{controller: {file: text}}"""
    if is_v2:
        return {
            "cpu": {"cpu.max": f"{int(cores * PERIOD)} {PERIOD}"},
            "memory": {"memory.max": str(memory)},
        }
    return {
        "cpu": {"cpu.cfs_period_us": str(PERIOD), "cpu.cfs_quota_us": str(int(cores * PERIOD))},
        "cpuacct": {},
        "memory": {"memory.limit_in_bytes": str(memory)},
    }


class Cgroup:
    """One of each controller, of the same name. Use as a context; whatever is in it must have ended by then."""

    def __init__(self, cores, memory):
        self.name = f"test-{uuid.uuid4().hex}"
        self.directories = set()
        self.limits = (cores, memory)

    def __enter__(self):
        try:
            self._make()
        except (OSError, KeyError) as error:
            self.__exit__()
            raise Absent(f"no cgroups with cpu and memory limits can be made here: {error!r}") from None
        return self

    def __exit__(self, *_):
        for directory in self.directories:
            with contextlib.suppress(OSError):
                os.rmdir(directory)

    def _make(self):
        there = mounts()
        for controller, files in limits(there["cpu"][1], *self.limits).items():
            mount, is_v2 = there[controller]
            if is_v2:
                (mount / "cgroup.subtree_control").write_text(f"+{controller}")
            directory = mount / self.name
            directory.mkdir(exist_ok=True)
            self.directories.add(directory)
            for name, text in files.items():
                (directory / name).write_text(text)

    def add(self, pid):
        """All threads of the process, and what it starts from now on."""
        for directory in self.directories:
            (directory / "cgroup.procs").write_text(str(pid))
