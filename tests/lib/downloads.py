# SPDX-License-Identifier: Apache-2.0
"""Files to download, and ways to do so."""

import hashlib
import os
import time
import urllib.parse

from lib import tokens
from lib.waiting import wait_until

MIB = 1024 * 1024
LARGE = 300_000  # sent by the kernel; smaller files are read
AUTHORIZATION = {"Authorization": f"Bearer {tokens.token()}"}


def pattern(size, seed=b""):
    """Bytes that are the same nowhere."""
    return hashlib.shake_128(b"%d" % size + seed).digest(size)


def make(path, size, age=3600):
    """A file that was changed long ago, so that its tag is a strong one. Its bytes."""
    content = pattern(size)
    path.write_bytes(content)
    if age:
        settle(path, age=age)
    return content


def settle(*paths, age=3600):
    """Sets the time of the last change, and waits for that of the inode, which cannot be set."""
    then = time.time() - age
    for path in paths:
        os.utime(path, (then, then))

    def is_old():
        return all(time.time() - path.stat().st_ctime > 3.1 for path in paths)

    wait_until(is_old, "the files to be old", timeout=10, interval=0.1)


def fetch(agent, path, headers=None, method="GET"):
    return agent.http.request(method, "/files/download", params={"path": str(path)}, headers=headers)


def target(path):
    return "/files/download?" + urllib.parse.urlencode({"path": str(path)}, quote_via=urllib.parse.quote)


def open_files(agent, directory):
    """How many descriptors of the agent lead into the directory."""
    links = []
    for entry in os.scandir(f"/proc/{agent.process.pid}/fd"):
        try:
            links.append(os.readlink(entry.path))
        except FileNotFoundError:
            pass
    return sum(link.startswith(str(directory)) for link in links)


def is_released(agent, directory):
    return agent.gauges()["requests_live"] == 1 and open_files(agent, directory) == 0
