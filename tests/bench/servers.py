# SPDX-License-Identifier: Apache-2.0
"""The servers that are measured.

Each listens on 127.0.0.1 on a free port and ends with its `with` block.
"""

import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path

STANDARD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
START_LIMIT_S = 15
STOP_LIMIT_S = 10


class BenchError(Exception):
    """Something could not be run, or did not answer what it should."""


def environment():
    """The same small environment for both sides of every comparison.

    PATH is the system's, plus the directories of interpreters that are installed elsewhere: a
    wrapper script in front of an interpreter would cost more than what is measured.
    """
    path = STANDARD_PATH
    for program in ("node", "go"):
        found = shutil.which(program)
        if found and not shutil.which(program, path=path):
            path += ":" + str(Path(found).parent)
    return {"PATH": path, "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8"}


def free_port():
    """A port nobody listens on, below the range that the kernel gives to outgoing connections.

    Inside that range a client that keeps trying to connect can meet itself.
    """
    for _ in range(100):
        port = random.randint(15000, 31000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise BenchError("no free port")


def cpu_ms(pid):
    """Processor time of one process, all of its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1e3 / os.sysconf("SC_CLK_TCK")


class Server:
    """A child that answers HTTP; `start_ms` is the time from fork to its first 200."""

    health_path = "/health"
    token = None

    def __init__(self, name, argv, port, env=None, cwd=None):
        self.name, self.argv, self.port = name, [str(a) for a in argv], port
        self.env, self.cwd = env or environment(), cwd
        self.process = None
        self.start_ms = None

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()

    def _start(self):
        begin = time.perf_counter()
        # A session of its own: Ctrl-C in the terminal reaches this program only, which then ends
        # its servers. The log is written as in production, but to nowhere: it would be gigabytes.
        self.process = subprocess.Popen(self.argv, env=self.env, cwd=self.cwd,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, start_new_session=True)
        while not self._is_healthy():
            if self.process.poll() is not None:
                raise BenchError(f"{self.name} ended at its start: {self._complaint()}")
            if time.perf_counter() - begin > START_LIMIT_S:
                raise BenchError(f"{self.name} did not answer within {START_LIMIT_S} s")
            time.sleep(0.0002)
        self.start_ms = (time.perf_counter() - begin) * 1e3

    def _is_healthy(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as s:
                s.sendall(f"GET {self.health_path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
                return s.recv(4096).startswith(b"HTTP/1.1 200")
        except OSError:
            return False

    def _complaint(self):
        """Starts the failing program once more, to hear why."""
        try:
            again = subprocess.run(self.argv, env=self.env, cwd=self.cwd,
                                   stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                   timeout=2)
            return (again.stderr or again.stdout).strip()[-500:] or f"status {again.returncode}"
        except subprocess.TimeoutExpired:
            return f"status {self.process.returncode}, but not the second time"

    def pin(self, cpu):
        """Keeps every thread it has on one processor."""
        for task in os.listdir(f"/proc/{self.process.pid}/task"):
            os.sched_setaffinity(int(task), {cpu})

    def resident_kb(self):
        """Resident memory of the server and of every process below it, in units of 1000 bytes."""
        total = 0
        for pid in self._tree():
            with suppress(FileNotFoundError, ProcessLookupError):  # a child that has just ended
                status = Path(f"/proc/{pid}/status").read_text().splitlines()
                total += sum(int(line.split()[1]) * 1.024 for line in status if line.startswith("VmRSS:"))
        return total

    def proportional_kb(self):
        """Memory of the server and of every process below it; what several share counts once."""
        total = 0
        for pid in self._tree():
            with suppress(FileNotFoundError, ProcessLookupError):
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                total += sum(int(line.split()[1]) * 1.024 for line in rollup if line.startswith("Pss:"))
        return total

    def _tree(self):
        """The pids of the server and of every process below it."""
        pids, found = [self.process.pid], []
        while pids:
            pid = pids.pop()
            found.append(pid)
            with suppress(FileNotFoundError, ProcessLookupError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    pids += [int(p) for p in (task / "children").read_text().split()]
        return found

    def own_kb(self):
        """Resident memory of the server's process alone."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        resident = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(resident[0].split()[1]) * 1.024

    def own_cpu_ms(self):
        """Processor time of the server's process alone, all of its threads."""
        return cpu_ms(self.process.pid)

    def n_descriptors(self):
        """Its open descriptors, but for those of empty cgroups, of which the agent keeps a few for the next ones."""
        names = []
        for link in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                names.append(os.readlink(link))
        return sum(not name.startswith("/sys/fs/cgroup/") for name in names)

    def n_children(self):
        """Its direct children, those included that have ended but were not waited for."""
        total = 0
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            with suppress(FileNotFoundError):  # a thread that has just ended
                total += len((task / "children").read_text().split())
        return total

    def request(self, method, path, body=None):
        """The bytes of a request for the load generator."""
        payload = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", "Host: bench"]
        if self.token:
            lines.append(f"Authorization: Bearer {self.token}")
        if body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(payload)}"]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + payload

    def ask(self, method, path, body=None, with_token=True):
        """One request outside of any measurement; returns the status and the body's bytes."""
        headers = {"Content-Type": "application/json"}
        if self.token and with_token:
            headers["Authorization"] = f"Bearer {self.token}"
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


class Agent(Server):
    """vm-agent with its defaults; directories and secret of its own."""

    def __init__(self, program, scratch, options=(), path=None):
        home = Path(scratch) / f"agent-{secrets.token_hex(4)}"
        workspace = home / "workspace"
        workspace.mkdir(parents=True)
        secret = home / "secret"
        secret.touch(mode=0o600)
        secret.write_text(secrets.token_hex(32))
        config = home / "agent.conf"
        config.touch()  # an empty one, so that this machine's own does not count
        port = free_port()
        argv = [program, "--config", config, "--listen", f"127.0.0.1:{port}",
                "--workspace", workspace, "--runtime-dir", home / "run",
                "--jwt-secret-file", secret, *options]
        env = environment()
        if path:
            env["PATH"] = f"{path}:{env['PATH']}"
        super().__init__("vm-agent", argv, port, env)
        minted = subprocess.run([program, "token", "--jwt-secret-file", secret, "--ttl", "3600"],
                                env=self.env, capture_output=True, text=True, timeout=10)
        if minted.returncode != 0:
            raise BenchError(f"vm-agent token: {minted.stderr.strip()}")
        self.token = minted.stdout.strip()
        self.workspace = workspace


class Reference(Server):
    """reference_server.c."""

    def __init__(self, program):
        port = free_port()
        super().__init__("the reference server", [program, port], port)


NGINX_CONFIG = """\
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr crit;
{user}
events {{
    worker_connections 1024;
}}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    default_type application/octet-stream;
    keepalive_requests 1000000;
    client_max_body_size 0;
    client_body_temp_path {directory}/temporary;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    server {{
        listen 127.0.0.1:{port};
        root {directory};
        location = /health {{
            return 200;
        }}
        location /put {{
            dav_methods PUT;
        }}
    }}
}}
"""


def find_nginx(unpacked):
    """The installed program, or the one of a package that was only unpacked; None if there is neither."""
    program = Path(unpacked) / "usr" / "sbin" / "nginx"
    return shutil.which("nginx", path=environment()["PATH"]) or (program if program.exists() else None)


class Nginx(Server):
    """Debian's nginx for the files in @directory; in directories put… of it it takes uploads. It has one worker process.

    Where it also runs as a service that one is left alone: this one has a port and files of its own.
    """

    def __init__(self, program, scratch, directory):
        home = Path(scratch) / f"nginx-{secrets.token_hex(4)}"
        home.mkdir()
        port = free_port()
        config = home / "nginx.conf"
        config.write_text(NGINX_CONFIG.format(
            user="user root root;" if os.geteuid() == 0 else "", home=home, directory=directory,
            port=port))
        super().__init__("nginx", [program, "-p", home, "-c", config, "-e", "stderr"], port)

    def own_cpu_ms(self):
        """That of its worker; the master waits."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return sum(cpu_ms(pid) for pid in children.split())


class Peer(Server):
    """The sandbox agent that npm has, with a home of its own for what it writes."""

    package, version = "@sandbox-agent/cli-linux-x64", "0.4.2"
    health_path = "/v1/health"

    def __init__(self, program, home):
        port = free_port()
        Path(home).mkdir(exist_ok=True)
        argv = [program, "server", "--no-token", "--host", "127.0.0.1", "--port", port,
                "--no-telemetry"]
        super().__init__("the npm peer", argv, port, {**environment(), "HOME": str(home)}, home)

    @classmethod
    def install(cls, directory):
        """Returns the program's path and None, or None and the reason why it is not there."""
        program = directory / "node_modules" / cls.package / "bin" / "sandbox-agent"
        manifest = program.parent.parent / "package.json"
        if program.exists() and json.loads(manifest.read_text())["version"] == cls.version:
            return program, None
        if os.uname().machine != "x86_64":
            return None, f"{cls.package} is for x86_64 only"
        if not shutil.which("npm"):
            return None, "npm is not installed"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "package.json").write_text('{"private": true}\n')
        argv = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts",
                f"{cls.package}@{cls.version}"]
        try:
            npm = subprocess.run(argv, cwd=directory, stdin=subprocess.DEVNULL,
                                 capture_output=True, text=True, timeout=120)
        except subprocess.TimeoutExpired:
            return None, "npm install did not finish"
        if npm.returncode != 0 or not program.exists():
            return None, "npm install failed: " + npm.stderr.strip()[:200]
        program.chmod(0o755)  # all that its install script would do
        return program, None


def end_on_sigterm():
    """Makes SIGTERM an exception, so that the `with` blocks end the servers."""
    def handler(number, _frame):
        raise SystemExit(128 + number)
    signal.signal(signal.SIGTERM, handler)
