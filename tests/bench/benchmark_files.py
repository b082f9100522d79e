# SPDX-License-Identifier: Apache-2.0
"""The benchmark of the file endpoints; docs/BENCHMARKS.md says what each figure means."""

import random
import shutil
import tempfile
import threading
from functools import partial
from pathlib import Path
from urllib.parse import quote

from report import Row, ratio_row, value_row
from servers import BenchError, Nginx, find_nginx
from tools import in_turn

GB = 10**9
PIECE = 1 << 20  # file_load's uploads repeat a buffer of this size
SMALL_SIZE = 4096
CONNECTIONS = 16
ENTRIES = 100_000
SOURCE_FILES, SOURCE_LINES = 4000, 600  # some 100 MB
SPARE_BYTES = 2 * GB  # that are left on the disk


def bench_files(b):
    """Files: downloads and uploads against nginx, lists against find, searches against grep, memory."""
    yield from transfer_rows(b)
    yield from list_rows(b)
    yield from search_rows(b)
    yield from memory_rows(b)


def bench_small_files(b):
    """Small files, both ways, against nginx: a part of "files"."""
    yield from transfer_rows(b, has_large=False)


def affordable(b, size):
    """@size, or what the disk has room for, and a note in that case."""
    room = shutil.disk_usage(b.scratch).free - SPARE_BYTES
    if room >= size:
        return size, ""
    if room < GB // 10:
        raise BenchError(f"no room for files in {b.scratch}")
    return room, f"{room / 1e9:.1f} GB only, because the disk has no room for more"


def write_large(path, size):
    """Content that is not the same everywhere, and in the page cache then."""
    piece = random.Random(1).randbytes(PIECE)
    with path.open("wb") as f:
        for at in range(0, size, PIECE):
            f.write(piece[:size - at])


# --- transfers ---

class Side:
    """One of the two servers of the same files: how it calls them."""

    def __init__(self, b, server, agent):
        self.b, self.server, self.agent, self.files = b, server, agent, agent.workspace

    def target(self, name, put=False):
        if self.server is not self.agent:
            return f"/{name}"
        return f"/files/{'upload' if put else 'download'}?path={name}"

    def _transfer(self, target, size, count, clients, **options):
        before = self.server.own_cpu_ms()
        figures = self.b.tools.files(self.server, self.agent.token, target, size, count, clients,
                                     **options)
        figures["cpu_ms"] = self.server.own_cpu_ms() - before
        return figures

    def download(self, name, size, count=1, clients=1):
        return self._transfer(self.target(name), size, count, clients)

    def upload(self, size, count=1, clients=1):
        """Into an empty directory each time; what is written is looked at.

        One large file is removed at once. Many stay until the end, because file systems are slow at making files when
        many have just been removed.
        """
        directory = Path(tempfile.mkdtemp(prefix="put", dir=self.files))
        try:
            figures = self._transfer(self.target(f"{directory.name}/{{}}.bin", put=True), size,
                                     count, clients, put=True, statuses=(200, 201))
            self._check(directory, size, count)
        finally:
            if count == 1:
                shutil.rmtree(directory)
        return figures

    def _check(self, directory, size, count):
        files = list(directory.iterdir())
        if len(files) != count or any(f.stat().st_size != size for f in files):
            raise BenchError(f"{self.server.name}: uploads of {size} bytes are missing or short")
        with files[-1].open("rb") as f:
            first = f.read(PIECE)
            f.seek(size // PIECE // 2 * PIECE)
            if first[:4] != b"abcd" or not first.startswith(f.read(PIECE)):
                raise BenchError(f"{self.server.name}: an upload's content is wrong")


def transfer_rows(b, has_large=True):
    """Large and small files, both ways, against nginx with the same files and the same client."""
    program = find_nginx(b.tools.directory / "nginx")
    if not program:
        yield Row("files: nginx", "skipped", note="it is neither installed nor unpacked")
        return
    size, note = affordable(b, GB)
    count = b.few(10_000)
    with b.agent() as agent:
        (agent.workspace / "small").mkdir()
        for i in range(count):
            (agent.workspace / "small" / f"{i:06}.bin").write_bytes(
                i.to_bytes(4, "big") * (SMALL_SIZE // 4))
        if has_large:
            write_large(agent.workspace / "large.bin", size)
        with Nginx(program, b.scratch, agent.workspace) as nginx:
            sides = [Side(b, server, agent) for server in (agent, nginx)]
            for side in sides:
                check_content(side, "small/000007.bin")
                if has_large:
                    check_content(side, "large.bin")
            large, small = f"{size / 1e9:g} GB", f"{count:,} files of 4 kB"

            if has_large:
                results = in_turn(b.rounds, *(partial(s.download, "large.bin", size)
                                              for s in sides))
                yield from result_rows(f"download of {large}", "MB/s", results, 0.95, note)
            results = in_turn(b.rounds, *(partial(s.download, "small/{}.bin", SMALL_SIZE, count,
                                                  CONNECTIONS) for s in sides))
            yield from result_rows(f"download of {small}", "/s", results, 0.7)
            if has_large:
                results = in_turn(b.rounds, *(partial(s.upload, size) for s in sides))
                yield from result_rows(f"upload of {large}", "MB/s", results, 0.9, note)
            results = in_turn(b.rounds, *(partial(s.upload, SMALL_SIZE, count, CONNECTIONS)
                                          for s in sides))
            yield from result_rows(f"upload of {small}", "/s", results, 0.9)


def check_content(side, name):
    """Once, outside of any measurement, because file_load does not look at what it gets."""
    status, content = side.server.ask("GET", side.target(name))
    if status != 200 or content != (side.files / name).read_bytes():
        raise BenchError(f"{side.server.name}: {name} answered {status}, or is another file")


def result_rows(name, unit, results, at_least, note=""):
    key, scale = ("per_second", 1) if unit == "/s" else ("bytes_per_second", 1e6)
    ours, theirs = ([figures[key] / scale for figures in side] for side in results)
    row = ratio_row(f"{name}, / nginx", unit, ours, theirs, at_least=at_least)
    row.note = note
    yield row
    yield ratio_row(f"{name}, server CPU, / nginx", "ms",
                    *([max(figures["cpu_ms"], 1) for figures in side] for side in results))


# --- lists and searches ---

def by_hand(b, argv, count):
    """The figures of a program whose output is piped into memory."""
    figures = b.tools.floor(argv, count)
    return figures["p50_us"] / 1e3, figures["stdout_bytes"]


def list_rows(b):
    """One directory with many entries, by name."""
    count = b.few(4)
    with b.agent() as agent:
        directory = agent.workspace / "many"
        directory.mkdir()
        for i in range(ENTRIES):
            (directory / f"entry-{i:06}.txt").touch()
        request = agent.request("GET", "/files/list?path=many")

        def listed(*argv):
            duration, size = by_hand(b, argv, count)
            if size < ENTRIES * len("entry-000000.txt"):
                raise BenchError(f"{argv[0]} printed only {size} bytes")
            return duration

        lists, find, ls = in_turn(
            b.rounds,
            lambda: b.tools.load(agent, request, count, expect=f'"count":{ENTRIES},'),
            lambda: listed("find", directory, "-ls"),
            lambda: listed("ls", "-la", directory))
    total = [figures["p50_us"] / 1e3 for figures in lists]
    name = f"list of {ENTRIES:,} entries"
    yield value_row(f"{name}, first byte of the body", "ms",
                    [figures["first_p50_us"] / 1e3 for figures in lists], at_most=50)
    yield ratio_row(f"{name}, / find -ls", "ms", total, find, at_most=3)
    yield ratio_row(f"{name}, / ls -la", "ms", total, ls)


def write_sources(directory):
    """Something like programs: words, indentation, lines of all lengths; the same every time."""
    chance = random.Random(2)
    words = ["".join(chance.choices("etaoinshrdlucmfw_", k=chance.randint(2, 11)))
             for _ in range(3000)]
    lines = []
    for _ in range(20_000):
        text = " ".join(chance.choices(words, k=chance.randint(0, 10)))
        lines.append("    " * chance.randint(0, 4) + text + chance.choice((";", "(", ") {", "")))
    for i in range(SOURCE_FILES):
        text = chance.choices(lines, k=SOURCE_LINES)
        if i % (SOURCE_FILES // 8) == 7:
            text[SOURCE_LINES // 2] = f"    return needle_{i}_in_hay(value); /* found */"
        folder = directory / f"module{i % 40:02}" / f"part{i % 7}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"source{i:04}.c").write_text("\n".join(text) + "\n")
    return 8  # lines with a needle


def search_rows(b):
    """A few hits in a tree of sources."""
    count = b.few(4)
    with b.agent() as agent:
        directory = agent.workspace / "sources"
        hits = write_sources(directory)
        megabytes = sum(f.stat().st_size for f in directory.rglob("*.c")) / 1e6
        for kind, pattern, options in (("a text", "_in_hay(value)", ["-F"]),
                                       ("an expression", "needle_[0-9]+_(in|of)_hay", ["-E"]),
                                       ("an expression without a text", "[a-z]+_[0-9]+_[a-z]+",
                                        ["-E"])):
            request = agent.request("GET", f"/files/search?path=sources&pattern={quote(pattern)}"
                                           f"&regex={'false' if kind == 'a text' else 'true'}")

            def found(argv):
                duration, size = by_hand(b, argv, count)
                if not 0 < size < 100 * hits * len(str(directory)):
                    raise BenchError(f"grep printed {size} bytes")
                return duration

            ours, grep = in_turn(
                b.rounds,
                lambda: b.tools.load(agent, request, count,
                                     expect=f'"count":{hits},')["p50_us"] / 1e3,
                lambda: found(["grep", "-rn", *options, pattern, directory]))
            yield ratio_row(f"search of {megabytes:.0f} MB for {kind}, / grep -rn", "ms", ours,
                            grep, at_most=None if "without" in kind else 2)


# --- memory ---

class Watcher:
    """The largest sizes of the agent's memory in MB while the block runs, every 20 ms."""

    keys = ("VmRSS", "RssAnon")

    def __init__(self, agent):
        self.status = Path(f"/proc/{agent.process.pid}/status")
        self.most = self.now()
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self._watch)

    def now(self):
        lines = dict(line.split(":", 1) for line in self.status.read_text().splitlines())
        return {key: int(lines[key].split()[0]) * 1.024e-3 for key in self.keys}

    def _watch(self):
        while not self.is_over.wait(0.02):
            for key, size in self.now().items():
                self.most[key] = max(self.most[key], size)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.thread.join()


def memory_rows(b):
    """One very large file each way: what grows, and whether others are still answered."""
    size, note = affordable(b, GB if b.quick else 5 * GB)
    with b.agent() as agent:
        side = Side(b, agent, agent)
        with (agent.workspace / "sparse.bin").open("wb") as f:
            f.truncate(size)  # nothing of it is in the page cache at first
        health = agent.request("GET", "/health")
        for direction, transfer in (("download", partial(side.download, "sparse.bin")),
                                    ("upload", side.upload)):
            write_large(agent.workspace / "warm.bin", GB // 10)
            # Threads and buffers that are made once.
            side.download("warm.bin", GB // 10), side.upload(GB // 10)
            with Watcher(agent) as watcher:
                before = watcher.now()
                with b.tools.load_meanwhile(agent, health) as answers:
                    transfer(size)
            name = f"{direction} of {size / 1e9:.3g} GB"
            yield value_row(f"{name}, agent's own memory, growth", "MB",
                            [watcher.most["RssAnon"] - before["RssAnon"]], at_most=4)
            row = value_row(f"{name}, resident memory, growth", "MB",
                            [watcher.most["VmRSS"] - before["VmRSS"]], at_most=4)
            row.note = note
            yield row
            yield value_row(f"{name}, p99 of /health meanwhile", "ms", [answers["p99_us"] / 1e3],
                            at_most=20)
