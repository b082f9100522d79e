# SPDX-License-Identifier: Apache-2.0
"""An agent in a mount namespace of its own: what is mounted for it nobody else sees, and it goes with the agent."""

import os
import shutil
import stat
import subprocess
from pathlib import Path
from unittest import mock

import pytest

from lib import agent as agents

PRIVATE = """#!/bin/sh
exec unshare --mount --propagation private {binary} "$@"
"""


def inside(agent, path):
    return Path(f"/proc/{agent.pid}/root{path}")


class PrivateAgent(agents.Agent):
    """Use may_mount() first. Its files are seen by way of inside()."""

    def __init__(self, directory, **options):
        script = directory / "private"
        script.write_text(PRIVATE.format(binary=agents.BINARY))
        script.chmod(0o755)
        with mock.patch("lib.agent.BINARY", script):
            super().__init__(**options)

    def inside(self, path):
        """The path by which the tests reach what the agent finds at @path."""
        return inside(self, path)

    def mount(self, *arguments):
        enter = ["nsenter", f"--mount=/proc/{self.pid}/ns/mnt"]
        subprocess.run([*enter, "mount", *map(str, arguments)], check=True)

    def mount_disk(self, path, options):
        """A file system of its own at @path, which is made."""
        self.inside(path).mkdir(exist_ok=True)
        self.mount("-t", "tmpfs", "-o", f"mode=777,{options}", "tmpfs", path)
        return path

    def bind(self, source, path, options="rw"):
        """@source is seen at @path, too."""
        self.inside(path).mkdir(exist_ok=True)
        self.mount("--bind", source, path)
        self.remount(path, f"bind,{options}")
        return path

    def remount(self, path, options):
        self.mount("-o", f"remount,{options}", path)

    def unmount(self, path):
        subprocess.run(["nsenter", f"--mount=/proc/{self.pid}/ns/mnt", "umount", str(path)], check=True)

    def snapshot(self, path):
        return snapshot(self.inside(path))


def snapshot(top):
    """What is below the directory: names with modes and contents."""
    found = {}
    for directory, names, files in os.walk(top):
        for name in names + files:
            entry = Path(directory, name)
            mode = entry.lstat().st_mode
            found[str(entry.relative_to(top))] = (mode, entry.read_bytes() if stat.S_ISREG(mode) else None)
    return found


def may_mount():
    """Skips the test where mounts are not to be had."""
    if not shutil.which("unshare") or not shutil.which("nsenter"):
        pytest.skip("no unshare and nsenter")
    command = ["unshare", "--mount", "--propagation", "private", "mount", "-t", "tmpfs", "tmpfs", "/tmp"]
    if subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("no right to mount")


WITHOUT = """#!/bin/sh
exec unshare --mount --propagation private sh -c '
    set -e
    mount -t tmpfs tmpfs {top}
    mount --make-private {top}
    for name in $(ls -A /); do
        if [ "$name" = {absent} ]; then
            continue
        elif [ -L "/$name" ]; then
            cp -P "/$name" {top}/
        elif [ -d "/$name" ]; then
            mkdir {top}/$name
            mount --rbind "/$name" {top}/$name
        fi
    done
    exec chroot {top} {binary} "$@"' sh "$@"
"""


class AgentWithout(agents.Agent):
    """Sees the system as it is, but for one of the directories in /. Use may_mount() first."""

    def __init__(self, directory, absent, **options):
        script, top = directory / "without", directory / "top"
        top.mkdir()
        script.write_text(WITHOUT.format(top=top, absent=absent, binary=agents.BINARY))
        script.chmod(0o755)
        with mock.patch("lib.agent.BINARY", script):
            super().__init__(**options)
