# SPDX-License-Identifier: Apache-2.0
"""The agent is killed (SIGKILL) while it writes, uploads, unpacks and copies: what was there stays whole, and its
successor removes what it left unfinished.

AGENT_KILLS=200 makes the last test longer, AGENT_SEED repeats it."""

import functools
import hashlib
import io
import itertools
import os
import pwd
import random
import re
import tarfile
import threading

import httpx
import pytest

from lib import files
from lib.restart import kill_agent, start_agent, stop_agent
from lib.waiting import wait_until

N_KILLS = int(os.environ.get("AGENT_KILLS") or 10)
MIB = 1024 * 1024
TEMPORARY = re.compile(r"\.vm-agent-tmp-[0-9a-f]{24}")
BOUNDARY = "a-boundary"

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")


@functools.cache
def text(size, seed):
    """Printable, the same nowhere, and with its digest at the end: it cannot be mistaken for half of itself."""
    body = hashlib.shake_128(str(seed).encode()).hexdigest((size - 64) // 2).encode()
    return body + hashlib.sha256(body).hexdigest().encode()


@pytest.fixture(scope="module", autouse=True)
def texts():
    """Those of these tests, a hundred megabytes, go with them."""
    yield
    text.cache_clear()


def is_whole(content):
    return hashlib.sha256(content[:-64]).hexdigest().encode() == content[-64:]


def temporary_names(directory):
    """Those that are there, at any depth; trees change while they are walked."""
    found = []
    for path, directories, names in os.walk(directory):
        found += [os.path.join(path, name) for name in [*directories, *names] if TEMPORARY.fullmatch(name)]
    return found


def expect_no_litter(agent):
    wait_until(lambda: not temporary_names(agent.workspace), lambda: temporary_names(agent.workspace), 20)


def form(path, pieces):
    """A form with one file that comes in pieces."""
    yield f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="path"\r\n\r\n{path}\r\n'.encode()
    yield f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'.encode()
    yield from pieces
    yield f"\r\n--{BOUNDARY}--\r\n".encode()


def pieces_of(content, size=256 * 1024):
    return (content[at : at + size] for at in range(0, len(content), size))


class Client:
    """Requests by threads of its own, which end with the agent."""

    def __init__(self, agent):
        self.agent = agent
        self.http = httpx.Client(base_url=agent.url, headers=dict(agent.http.headers), timeout=60)
        self.threads = []
        self.failures = []
        self.is_over = threading.Event()

    def start(self, operation, *args):
        thread = threading.Thread(target=self._run, args=(operation, *args), daemon=True)
        thread.start()
        self.threads.append(thread)
        return thread

    def end(self):
        self.is_over.set()
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive()
        self.http.close()
        assert not self.failures, self.failures[0]

    def _run(self, operation, *args):
        try:
            response = operation(self.http, *args)
            if response.status_code != 200:
                self.failures.append(f"{operation.__name__}: {response.text}")
        except httpx.TransportError:
            pass
        except Exception as error:  # noqa: BLE001 for the thread that waits
            self.failures.append(repr(error))


# Each replaces what is called target, or makes a tree that is called target-SEED.


def write(http, space, seed):
    body = {"path": f"{space}/target", "content": text(4 * MIB, seed % 4).decode(), "sync": True}
    return http.post("/files/write", json=body)


def upload(http, space, seed):
    return http.post(
        "/files/upload",
        content=form(f"{space}/target", pieces_of(text(8 * MIB, seed % 4))),
        headers={"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"},
    )


def put(http, space, seed):
    content = pieces_of(text(8 * MIB, seed % 4))
    return http.put("/files/upload", params={"path": f"{space}/target"}, content=content)


def copy(http, space, seed):
    body = {"from": f"{space}/source-{seed % 2}", "to": f"{space}/target", "overwrite": True}
    return http.post("/files/copy", json=body)


def copy_tree(http, space, seed):
    return http.post("/files/copy", json={"from": f"{space}/tree", "to": f"{space}/target-{seed}"})


def replace(http, space, seed):
    """Of an edited text only the part that was not edited can be checked, so this has a file of its own."""
    body = {"path": f"{space}/edited", "old": "<", "new": f"<{seed}."}
    return http.post("/files/replace", json=body)


def batch(http, space, seed):
    content = text(MIB, seed % 4).decode()
    body = [{"path": f"{space}/{name}", "content": content} for name in ("target", "one", "two")]
    return http.post("/files/batch", json={"files": body, "sync": True})


def extract(http, space, seed):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(space / "tree", f"target-{seed}")
    params = {"path": str(space), "extract": "true"}
    return http.put("/files/upload", params=params, content=pieces_of(archive.getvalue()))


OPERATIONS = (write, upload, put, copy, copy_tree, replace, batch, extract)


class Space:
    """A directory of the workspace with contents, old and new ones, that can be told from torn ones."""

    N_FILES = 60
    EDITED = 2 * MIB

    def __init__(self, agent, uid=0):
        self.path = agent.workspace / "space"
        self.path.mkdir()
        (self.path / "target").write_bytes(text(3 * MIB, "old"))
        for i in range(2):
            (self.path / f"source-{i}").write_bytes(text(16 * MIB, i))
        (self.path / "edited").write_text("<" + "x" * self.EDITED)
        for i in range(self.N_FILES):
            directory = self.path / "tree" / str(i % 7) / str(i)
            directory.mkdir(parents=True)
            (directory / "file").write_bytes(text(32 * 1024, i))
        for path, directories, names in os.walk(agent.workspace):
            for name in [".", *directories, *names]:
                os.chown(os.path.join(path, name), uid, uid)
        self.targets = set()

    def check(self):
        for name in ("target", "source-0", "source-1", "one", "two"):
            if name in ("one", "two") and not (self.path / name).exists():
                continue
            assert is_whole((self.path / name).read_bytes()), name
        edited = (self.path / "edited").read_text()
        assert re.fullmatch(r"<(\d+\.)*x+", edited) and edited.count("x") == self.EDITED
        for tree in {"tree", *(entry.name for entry in self.path.glob("target-*"))} - self.targets:
            found = [file for file in (self.path / tree).rglob("*") if file.is_file()]
            assert len(found) == self.N_FILES, tree
            assert all(is_whole(file.read_bytes()) for file in found), tree
            self.targets.add(tree)


@pytest.fixture
def agent(new_agent):
    return new_agent()


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
def test_in_the_middle(agent, operation):
    """Killed when there is a temporary name, until the kill came before its end."""
    space = Space(agent)
    for attempt in itertools.count(1):
        client = Client(agent)
        thread = client.start(operation, space.path, attempt)
        while thread.is_alive() and not any(map(TEMPORARY.fullmatch, os.listdir(space.path))):
            pass
        kill_agent(agent)
        client.end()
        was_caught = bool(temporary_names(agent.workspace))
        start_agent(agent)
        space.check()
        expect_no_litter(agent)
        if was_caught:
            break
        assert attempt < 30
    space.check()


@needs_root
@pytest.mark.parametrize("operation", [put, copy_tree], ids=lambda operation: operation.__name__)
def test_as_another_user(new_agent, operation):
    agent = new_agent(run_as="nobody")
    space = Space(agent, pwd.getpwnam("nobody").pw_uid)
    client = Client(agent)
    client.start(operation, space.path, 1)
    wait_until(lambda: temporary_names(agent.workspace), "a temporary name", interval=0)
    kill_agent(agent)
    client.end()
    start_agent(agent)
    expect_no_litter(agent)
    space.check()


def start_stalled_uploads(client, names):
    """Uploads that stay in the middle, as both kinds of request."""

    def stalled():
        yield b"x" * 4 * MIB
        client.is_over.wait(60)

    def put_stalled(http, name):
        return http.put("/files/upload", params={"path": name}, content=stalled())

    def post_stalled(http, name):
        header = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        return http.post("/files/upload", content=form(name, stalled()), headers=header)

    for i, name in enumerate(names):
        client.start(post_stalled if i % 2 else put_stalled, name)


def test_uploads_at_any_place(agent):
    """Many at once, in directories of any name, which were made for them and stay."""
    names = [f"d/{name[:200]}/file" for name in files.ODD_NAMES if name not in ("~", "...")]
    client = Client(agent)
    start_stalled_uploads(client, names)
    wait_until(lambda: len(temporary_names(agent.workspace)) == len(names), "all uploads", 20)
    kill_agent(agent)
    client.end()
    assert len(temporary_names(agent.workspace)) == len(names)
    start_agent(agent)
    expect_no_litter(agent)
    assert not [name for _, _, found in os.walk(agent.workspace) for name in found]
    wait_until(lambda: f"removed={len(names)} left=0" in agent.log(), "a line in the log")
    # Whoever stops in order leaves nothing to the next.
    stop_agent(agent)
    start_agent(agent)
    assert agent.log().count(" removed=") == 1


def test_what_is_being_made_stays(agent):
    """The collector does not take the new agent's work for the old one's; and others' files are nobody's litter."""
    client = Client(agent)
    start_stalled_uploads(client, ["a/file", "b/file"])
    wait_until(lambda: len(temporary_names(agent.workspace)) == 2, "both uploads")
    kill_agent(agent)
    client.end()
    mine = agent.workspace / "a" / ".vm-agent-tmp-0123456789abcdef01234567"
    mine.write_text("mine")
    start_agent(agent)
    files.write(agent, "a/file", "new")
    wait_until(lambda: temporary_names(agent.workspace) == [str(mine)], "removal of the others")
    assert mine.read_text() == "mine"
    assert (agent.workspace / "a" / "file").read_text() == "new"


@pytest.mark.parametrize("damage", ["random", "cut", "missing", "directory"])
def test_a_damaged_journal(agent, damage):
    """Costs the removal of what it named, and nothing else."""
    client = Client(agent)
    start_stalled_uploads(client, ["a/file"])
    wait_until(lambda: temporary_names(agent.workspace), "the upload")
    files.write(agent, "b/file", "content")
    kill_agent(agent)
    client.end()
    journal = agent.directory / "run" / "state" / "unfinished"
    size = journal.stat().st_size
    assert 0 < size < 100_000
    if damage == "random":
        journal.write_bytes(os.urandom(3 * size))
    elif damage == "cut":
        os.truncate(journal, 60)
    else:
        journal.unlink()
        if damage == "directory":
            journal.mkdir()
    start_agent(agent)
    assert files.read(agent, "b/file")["content"] == "content"
    files.write(agent, "b/file", "new content")
    assert files.read(agent, "b/file")["content"] == "new content"
    assert len(temporary_names(agent.workspace)) == 1


def test_at_any_moment(agent):
    """All at the same time, again and again."""
    seed = int(os.environ.get("AGENT_SEED") or random.randrange(1 << 30))
    print(f"AGENT_SEED={seed}")
    chance = random.Random(seed)
    space = Space(agent)
    numbers = itertools.count(1)
    n_caught = 0

    def repeat(http, operation):
        while True:
            response = operation(http, space.path, next(numbers))
            # Another operation may just have replaced what this one is about.
            if response.status_code not in (200, 409, 503) or client.is_over.is_set():
                return response

    for _ in range(N_KILLS):
        client = Client(agent)
        for operation in chance.sample(OPERATIONS, 3):
            client.start(repeat, operation)
        client.is_over.wait(chance.uniform(0.0, 0.3))
        kill_agent(agent)
        client.end()
        n_caught += bool(temporary_names(agent.workspace))
        start_agent(agent)
        space.check()
        expect_no_litter(agent)
        for tree in space.path.glob("target-*"):  # they would fill the disk
            assert files.remove(agent, tree, recursive="true").status_code == 200
        space.targets -= {name for name in space.targets if name.startswith("target-")}
    assert n_caught > N_KILLS // 4
