# SPDX-License-Identifier: Apache-2.0
"""The agent under test: the real binary on a free port, with a workspace, a runtime directory and a secret of
its own, and a teardown that proves that nothing is left of it.

AGENT_BINARY chooses the build (build/vm-agent by default), AGENT_WRAPPER=valgrind runs it under valgrind."""

import contextlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import uuid
from pathlib import Path

import httpx

from lib import procfs, tokens
from lib.waiting import NotInTime, wait_until, wrapper

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("AGENT_BINARY") or ROOT / "build" / "vm-agent").resolve()

# Every process that the agent starts inherits this variable, so that no survivor can hide.
MARK = "TEST_AGENT_MARK"

CLIENT_TIMEOUT = 60
MEMORY = "/dev/shm"

LISTENING = re.compile(r'listening\b.*\baddress="?(?:[\d.]+|\[[^]]*\]):(\d+)')


def base_path():
    """The system's directories, and what else holds an interpreter: no version managers' wrapper scripts."""
    directories = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
    for program in ("go", "node"):
        if shutil.which(program, path=":".join(directories)) is None and shutil.which(program):
            directories.append(str(Path(shutil.which(program)).parent))
    return ":".join(directories)


def base_environment():
    """What the agent gets to see of the caller's environment: everything but options."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VM_AGENT_")}
    return {**kept, "PATH": base_path()}


def option_arguments(options):
    """{"max_body": 10, "allowed_path": ["/a", "/b"]} as command line arguments."""
    arguments = []
    for name, value in options.items():
        for item in value if isinstance(value, (list, tuple)) else [value]:
            arguments += [f"--{name.replace('_', '-')}", str(item)]
    return arguments


@contextlib.contextmanager
def in_memory():
    """Agents that start meanwhile have their directories in memory if there is such a place: with thousands of files,
    disks need a second for what takes a tenth of that there."""
    before = tempfile.tempdir
    if os.access(MEMORY, os.W_OK):
        tempfile.tempdir = MEMORY
    try:
        yield
    finally:
        tempfile.tempdir = before


class Agent:
    """Starts on construction. close() stops it and checks that it left nothing behind."""

    def __init__(self, secret=tokens.SECRET, environment=None, credentials=True, user=None, **options):
        self.mark = uuid.uuid4().hex
        self.user = user  # whom the agent itself runs as; None: as the tests do
        # Readable for others: with run-as, children of another user work in it.
        self.directory = Path(tempfile.mkdtemp(prefix="vm-agent-test-"))
        self.directory.chmod(0o755)
        self.workspace = self.directory / "workspace"
        self.workspace.mkdir()
        self.secret_file = self.directory / "secret"
        self.write_secret(secret)
        self.secret = secret
        self.log_file = self.directory / "log"
        if user:
            for path in (self.directory, self.workspace, self.secret_file):
                shutil.chown(path, user, pwd.getpwnam(user).pw_gid)
        self.options = {
            "listen": "127.0.0.1:0",
            "workspace": self.workspace,
            "runtime_dir": self.directory / "run",
            "jwt_secret_file": self.secret_file,
            **options,
        }
        self.port = None
        self.is_closed = False
        self.environment = environment or {}
        self.start_process()
        has_token = credentials and isinstance(secret, str)
        self._headers = tokens.bearer(tokens.token(secret)) if has_token else {}
        try:
            self.wait_until_ready()
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise
        self.url = f"http://127.0.0.1:{self.port}"
        self.open_clients()

    # Requests

    def open_clients(self):
        """http carries a token, anonymous does not. Both keep their connections."""
        self.http = httpx.Client(base_url=self.url, headers=self._headers, timeout=CLIENT_TIMEOUT)
        self.anonymous = httpx.Client(base_url=self.url, timeout=CLIENT_TIMEOUT)

    def close_clients(self):
        self.http.close()
        self.anonymous.close()

    def execute(self, code, language="python", **fields):
        return self.http.post("/execute", json={"code": code, "language": language, **fields})

    def run(self, command, **fields):
        return self.http.post("/commands/run", json={"command": command, **fields})

    def gauges(self):
        """What the agent says about itself: requests_live, processes_running and so on."""
        response = self.http.get("/metrics/snapshot")
        assert response.status_code == 200, response.text
        return response.json()["agent"]

    # The process

    def start_process(self):
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                self._wrapper_arguments() + [str(BINARY), *option_arguments(self.options)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env={**base_environment(), **self._sanitizer_options(), MARK: self.mark, **self.environment},
                start_new_session=True,
                **self._other_user(),
            )
        self.pid = self.process.pid

    def _other_user(self):
        if not self.user:
            return {}
        return {"user": self.user, "group": pwd.getpwnam(self.user).pw_gid, "extra_groups": []}

    def log(self):
        return self.log_file.read_text(errors="replace")

    def log_with(self, response):
        """The log when the response's access line is in it, which may come a moment later than the response."""
        line = f"access: request id={response.headers['X-Request-ID']} "
        return wait_until(lambda: line in (log := self.log()) and log, lambda: f"{line}\n{self.log_tail()}")

    def is_alive(self):
        return self.process.poll() is None

    def write_secret(self, secret):
        data = secret if isinstance(secret, bytes) else secret.encode()
        self.secret_file.write_bytes(data)
        self.secret_file.chmod(0o600)

    def signal(self, number):
        self.process.send_signal(number)

    def wait_for_exit(self, timeout=5.0):
        wait_until(lambda: not self.is_alive(), lambda: f"exit of the agent\n{self.log_tail()}", timeout)
        return self.process.returncode

    def wait_until_idle(self, timeout=5.0):
        """Until no request but our own and no process is left."""
        last = {}

        def is_idle():
            last.update(self.gauges())
            return (
                last["requests_live"] <= 1
                and last["processes_running"] == 0
                and last["processes_lingering"] == 0
            )

        try:
            wait_until(is_idle, lambda: f"idle agent, still has {last}", timeout)
        except NotInTime as error:
            raise NotInTime(f"{error}: {procfs.describe(procfs.descendants(self.pid))}") from None
        wait_until(lambda: not self.children(), lambda: f"childless agent: {self.children()}", timeout)

    def children(self):
        """The agent's children, zombies included, but for processes that wait for work and their servers."""
        found = procfs.children(self.pid)
        waiting = self.waiting() if found else set()
        # Who was there at the first look, and has since been waited for, is no child any more.
        return [child for child in found if child[0] not in waiting and procfs.status(child[0])]

    def waiting(self):
        """Processes that wait for work, and their servers."""
        try:
            pools = self.gauges().get("warm", {}).values()
        except (AssertionError, httpx.HTTPError, OSError):
            return set()
        return {pid for pool in pools for pid in [*pool["pids"], pool["server_pid"]] if pid}

    def survivors(self):
        """Live processes that come from this agent, without itself, and while it lives without those that wait."""
        found = [pid for pid in procfs.with_environment(MARK, self.mark) if pid != self.pid]
        waiting = self.waiting() if found and not self.is_closed and self.is_alive() else set()
        return [pid for pid in found if pid not in waiting and procfs.is_running(pid)]

    def log_tail(self, lines=30):
        return "\n".join(self.log().splitlines()[-lines:])

    # The end

    def close(self):
        """Checks that the agent is idle, stops it, and checks that it left nothing behind."""
        if self.is_closed:
            return
        self.is_closed = True
        try:
            if self.is_alive():
                self.end_jobs()
                self.wait_until_idle()
                self.signal(signal.SIGTERM)
                self.wait_for_exit()
            self.check_remains()
        finally:
            self._clean_up()
        shutil.rmtree(self.directory, ignore_errors=True)

    def keepers(self):
        """The parents of background jobs, which outlive the agent, as their directories name them."""
        found = []
        state = Path(self.options.get("state_dir") or Path(self.options["runtime_dir"]) / "state")
        for file in state.glob("jobs/*/keeper"):
            facts = dict(line.split("=", 1) for line in file.read_text().splitlines() if "=" in line)
            pid = int(facts.get("pid", 0))
            if pid and procfs.is_running(pid) and b"agent-keeper" in os.fsencode(procfs.executable(pid)):
                found.append(pid)
        return found

    def end_jobs(self):
        """They would outlive the agent."""
        for status in ("queued", "running") if self.keepers() else ():
            response = self.http.get("/execute/processes", params={"status": status, "limit": 1000})
            for job in response.json()["processes"]:
                self.http.post(f"/execute/kill/{job['process_id']}", json={"grace": 0})
        for pid in self.keepers():  # what has ended and left something running
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def check_remains(self):
        """What must be true after the agent's end, whatever it was doing."""
        assert self.process.returncode == 0, f"exit status {self.process.returncode}\n{self.log_tail()}"
        survivors = self.survivors()
        assert not survivors, f"survivors: {procfs.describe(survivors)}"
        for report in sorted(self.directory.glob("sanitizer.*")):
            raise AssertionError(f"sanitizer report:\n{report.read_text(errors='replace')[:8000]}")
        for report in sorted(self.directory.glob("valgrind.*")):
            text = report.read_text(errors="replace")
            assert "ERROR SUMMARY: 0 errors" in text, f"valgrind report:\n{text[-8000:]}"

    def _clean_up(self):
        self.close_clients()
        if self.is_alive():
            self.process.kill()
        self.process.wait()
        for pid in self.keepers() + self.survivors():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def wait_until_ready(self):
        def find_port():
            if not self.is_alive():
                raise AssertionError(f"the agent ended with {self.process.returncode}:\n{self.log_tail()}")
            match = LISTENING.search(self.log())
            return match and int(match.group(1))

        self.port = wait_until(find_port, lambda: f"listening agent\n{self.log_tail()}", timeout=10)

        def is_healthy():
            try:
                return httpx.get(f"http://127.0.0.1:{self.port}/health", timeout=10).status_code == 200
            except httpx.TransportError:
                return False

        wait_until(is_healthy, lambda: f"healthy agent\n{self.log_tail()}", timeout=10)

    def _wrapper_arguments(self):
        if wrapper() == "none":
            return []
        return [
            shutil.which("valgrind"),  # the agent's PATH may be any
            f"--log-file={self.directory}/valgrind.%p",
            "--error-exitcode=99",
            "--leak-check=full",
            "--show-leak-kinds=definite,indirect",
            "--errors-for-leak-kinds=definite,indirect",
            "--child-silent-after-fork=yes",
        ]

    def _sanitizer_options(self):
        log_path = f"log_path={self.directory}/sanitizer"
        return {
            "ASAN_OPTIONS": f"{log_path}:exitcode=99:detect_leaks=1",
            "UBSAN_OPTIONS": f"{log_path}:print_stacktrace=1:halt_on_error=1:exitcode=99",
        }
