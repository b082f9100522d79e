# SPDX-License-Identifier: Apache-2.0
"""Plays the service manager: the socket that services send their notifications to."""

import os
import socket
import threading
import time
from pathlib import Path

from lib.waiting import wait_until


class Manager:
    """A thread collects what comes, with the time when it came: [(monotonic seconds, text)]."""

    def __init__(self, directory, watchdog_s=None, on_message=None):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.path = Path(directory) / "notify"
        self.socket.bind(str(self.path))
        self.path.chmod(0o666)
        self.messages = []
        self.on_message = on_message or (lambda text: None)
        self.environment = {"NOTIFY_SOCKET": str(self.path)}
        if watchdog_s:
            self.environment["WATCHDOG_USEC"] = str(round(watchdog_s * 1e6))
        self.thread = threading.Thread(target=self._collect, daemon=True)
        self.thread.start()

    def _collect(self):
        while text := self.socket.recv(4096).decode():
            self.on_message(text)
            self.messages.append((time.monotonic(), text))

    def texts(self):
        return [text for _, text in self.messages]

    def times_of(self, text):
        return [when for when, message in self.messages if message == text]

    def wait_for(self, beginning, timeout=10):
        """The first message that begins so."""

        def find():
            return next((text for text in self.texts() if text.startswith(beginning)), None)

        return wait_until(find, lambda: f"{beginning}: {self.texts()}", timeout)

    def forget(self):
        """What was sent until now, even if nobody has read it yet."""
        self._send(b"forget")
        self.wait_for("forget")
        self.messages = []

    def _send(self, data):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(data, os.fspath(self.path))

    def close(self):
        self._send(b"")
        self.thread.join()
        self.socket.close()
