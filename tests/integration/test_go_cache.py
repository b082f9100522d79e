# SPDX-License-Identifier: Apache-2.0
"""Programs that Go source became are kept, and started again without a build. Most tests have a toolchain that is a
shell script: it writes down what it is asked for, and its programs are the lines of the source that begin with //sh."""

import os
import shutil
import uuid

import pytest

from lib.agent import base_path
from lib.expect import expect_error, expect_json, expect_result
from lib.waiting import wait_until

TOOLCHAIN = """#!/bin/sh
echo "$1" >>{calls}
for argument; do source=$last; last=$argument; done
case $1 in
env) printf '%s\\n' "$GO111MODULE" "${{FAKE_MODULE:-/dev/null}}" "$GOWORK" "$GOFLAGS" linux "${{GOARCH:-amd64}}" linux amd64 ;;
run)
    if grep -q BROKEN "$source"; then
        printf '# command-line-arguments\\n%s:2:1: BROKEN\\n' "$source"
        exit 1
    fi
    {{ echo '#!/bin/sh'; sed -n 's|^//sh ||p' "$source"; }} >"$last" && chmod 0755 "$last"
    ;;
esac
"""

# Every file costs 100000 of the 524288 KiB that there are.
LARGE = """#!/bin/sh
shift
for file; do echo "100000 $file"; done
"""


class Toolchain:
    """One that counts, with a cache of its own."""

    def __init__(self, agent):
        self.agent = agent
        self.directory = agent.workspace / uuid.uuid4().hex
        self.bin = self.directory / "bin"
        self.bin.mkdir(parents=True)
        self.calls = self.directory / "calls"
        self.cache = self.directory / "cache"
        self.cache.mkdir()
        self.version = self.directory / "VERSION"
        self.version.write_text("go1.0\n")
        self.environment = {"PATH": f"{self.bin}:{base_path()}", "XDG_CACHE_HOME": str(self.cache)}
        self.write("go", TOOLCHAIN.format(calls=self.calls))

    def write(self, name, text):
        path = self.bin / name
        path.write_text(text)
        path.chmod(0o755)

    def run(self, program="echo done", env=None, **fields):
        code = f"package main\n//sh {program}\n"
        return self.agent.execute(code, "go", env={**self.environment, **(env or {})}, **fields)

    def result(self, program="echo done", exit_code=0, reason="exit", **fields):
        return expect_result(self.run(program, **fields), exit_code, reason)

    def job(self, program="echo done"):
        """The same in the background, when it has ended."""
        document = {"code": f"package main\n//sh {program}\n", "language": "go", "env": self.environment}
        job = expect_json(self.agent.http.post("/execute/background", json=document))["process_id"]

        def read():
            return self.agent.http.get(f"/execute/processes/{job}").json()

        wait_until(lambda: read()["status"] not in ("queued", "running"), "end of the job")
        return read()

    def builds(self):
        return self.calls.read_text().split().count("run") if self.calls.exists() else 0

    def kept(self):
        directory = self.cache / "vm-agent" / "go"
        return sorted(directory.iterdir()) if directory.is_dir() else []


@pytest.fixture
def toolchain(agent):
    return Toolchain(agent)


@pytest.mark.smoke
def test_the_second_time_nothing_is_built(toolchain):
    results = [toolchain.result("echo out; echo err >&2; exit 3", 3) for _ in range(3)]
    for result in results:
        assert (result["stdout"], result["stderr"]) == ("out\n", "err\n")
    assert toolchain.builds() == 1
    (kept,) = toolchain.kept()
    assert kept.stat().st_mode & 0o777 == 0o700
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    assert toolchain.result("kill -9 $$", 137, "signal")["signal"] == 9
    assert toolchain.result("kill -9 $$", 137, "signal")["signal"] == 9
    assert toolchain.builds() == 2


def test_the_program_cannot_tell(toolchain, agent):
    """Environment, directory, arguments and input are the same, built or not."""
    program = "env | grep -v -e EXECUTION_ID -e ^_= | sort; pwd; echo $#; cat"
    results = [toolchain.result(program, stdin="in", env={"A": "1"})["stdout"] for _ in range(2)]
    assert toolchain.builds() == 1
    assert results[0] == results[1]
    assert f"{agent.workspace}\n0\nin" in results[0]


def test_what_makes_another_program(toolchain):
    toolchain.result()
    toolchain.result("echo other")
    assert toolchain.builds() == 2
    for n, env in enumerate([{"GOFLAGS": "-x"}, {"CGO_ENABLED": "0"}, {"CC": "cc"}, {"GOARCH": "amd64"}]):
        for _ in range(2):
            toolchain.result(env=env)
            assert toolchain.builds() == 3 + n
    for _ in range(2):
        toolchain.result(env={"OTHER": "1"})
        assert toolchain.builds() == 6
    toolchain.write("go", TOOLCHAIN.format(calls=toolchain.calls) + "\n# another version\n")
    toolchain.result()
    assert toolchain.builds() == 7
    toolchain.version.write_text("go1.0.1\n")
    toolchain.result()
    assert toolchain.builds() == 8


def test_what_is_behind_a_wrapper_is_not_known(toolchain):
    """A go that is not beside the rest of its toolchain leads to any version."""
    toolchain.version.unlink()
    for n in 1, 2:
        toolchain.result()
        assert toolchain.builds() == n


@pytest.mark.parametrize("name", ["go.mod", "go.work"])
def test_in_a_module_it_is_built(toolchain, name):
    """Its packages may have changed."""
    below = toolchain.directory / "module" / "below"
    below.mkdir(parents=True)
    toolchain.result(workdir=str(below))
    (below.parent / name).touch()
    for directory in below, below.parent:
        for _ in range(2):
            before = toolchain.builds()
            toolchain.result(workdir=str(directory))
            assert toolchain.builds() == before + 1
    toolchain.result()
    assert toolchain.builds() == 5


def test_a_link_into_a_module(toolchain):
    """The toolchain sees where the directory really is."""
    below = toolchain.directory / "module" / "below"
    below.mkdir(parents=True)
    (below.parent / "go.mod").touch()
    link = toolchain.directory / "link"
    link.symlink_to(below)
    toolchain.result()
    toolchain.result(workdir=str(link))
    assert toolchain.builds() == 2


@pytest.mark.parametrize(
    "env",
    [
        {"GO111MODULE": "off"},
        {"GO111MODULE": "auto"},
        {"GOWORK": "/some/go.work"},
        {"GOFLAGS": "-overlay=/some/file"},
        {"GOFLAGS": "-modfile=/some/file"},
        {"FAKE_MODULE": "/some/go.mod"},
        {"GOARCH": "arm64"},
    ],
)
def test_what_is_never_kept(toolchain, env):
    for n in 1, 2:
        toolchain.result(env=env)
        assert toolchain.builds() == n
    assert not toolchain.kept()


def test_c_is_never_kept(toolchain):
    for n in 1, 2:
        toolchain.result('echo "C"')
        assert toolchain.builds() == n
    assert not toolchain.kept()


def test_errors_of_the_compiler(toolchain):
    for n in 1, 2:
        result = toolchain.result("BROKEN", 1)
        assert (result["stdout"], result["stderr"]) == ("", "main.go:2:1: BROKEN\n")
        assert toolchain.builds() == n
    assert not toolchain.kept()


def truncate(path):
    os.truncate(path, 5)


def empty(path):
    os.truncate(path, 0)


def overwrite(path):
    path.write_text("\x7fELF garbage")


def forbid(path):
    path.chmod(0o600)


def replace_by_directory(path):
    path.unlink()
    path.mkdir()


def replace_by_link(path):
    path.unlink()
    path.symlink_to("/bin/true")


DAMAGES = [truncate, empty, overwrite, forbid, replace_by_directory, replace_by_link, os.unlink]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_what_was_damaged_is_built_again(toolchain, damage):
    toolchain.result()
    damage(toolchain.kept()[0])
    assert toolchain.result()["stdout"] == "done\n"
    assert toolchain.builds() == 2
    assert toolchain.result()["stdout"] == "done\n"
    assert toolchain.builds() == (3 if damage is replace_by_directory else 2)


def spoil(path, text):
    """So that nobody sees it before it is to be executed: as if it had gone in the meantime."""
    stamp = path.stat().st_mtime_ns
    path.write_text(text)
    os.utime(path, ns=(stamp, stamp))


@pytest.mark.parametrize("text", ["#!/no/such/program\n", "\x7fELF garbage"], ids=["gone", "garbage"])
def test_what_cannot_be_executed_is_built_again(toolchain, text):
    toolchain.result()
    spoil(toolchain.kept()[0], text)
    assert toolchain.result()["stdout"] == "done\n"
    assert toolchain.builds() == 2
    spoil(toolchain.kept()[0], text)
    assert toolchain.job()["stdout"] == "done\n"
    assert toolchain.builds() == 3
    assert toolchain.result()["stdout"] == "done\n"
    assert toolchain.builds() == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_what_belongs_to_others_is_not_started(toolchain):
    toolchain.result()
    (kept,) = toolchain.kept()
    os.chown(kept, 12345, 12345)
    toolchain.result()
    assert toolchain.builds() == 2
    os.chown(kept.parent, 12345, 12345)
    for n in 3, 4:
        toolchain.result()
        assert toolchain.builds() == n


def test_without_a_place_to_keep_it(toolchain):
    shutil.rmtree(toolchain.cache)
    toolchain.cache.touch()
    for n in 1, 2:
        assert toolchain.result()["stdout"] == "done\n"
        assert toolchain.builds() == n
    assert toolchain.result()["stderr"] == ""


def test_a_full_disk(toolchain):
    toolchain.write("cp", f"#!/bin/sh\nhead -c 7 <{toolchain.bin}/go >\"$3\"\nexit 1\n")
    for n in 1, 2:
        assert toolchain.result()["stdout"] == "done\n"
        assert toolchain.builds() == n
    assert not toolchain.kept()


def test_the_number_is_bounded(toolchain):
    """The least recently used ones go, and what was left unfinished for long."""
    toolchain.result("echo first")
    directory = toolchain.kept()[0].parent
    for n in range(70):
        path = directory / f"{n:064x}"
        path.write_text("x")
        os.utime(path, (1000 + n, 1000))
    for name, age in ("old.new", 1000), ("young.new", None):
        (directory / name).touch()
        if age:
            os.utime(directory / name, (age, age))
    toolchain.result("echo second")
    names = {path.name for path in toolchain.kept()}
    assert "young.new" in names and "old.new" not in names
    assert len(names) == 64 + 1
    assert not {f"{n:064x}" for n in range(8)} & names
    toolchain.result("echo first")
    toolchain.result("echo second")
    assert toolchain.builds() == 2


def test_the_size_is_bounded(toolchain):
    toolchain.write("du", LARGE)
    for n in range(5):
        toolchain.result(f"echo {n}")
    toolchain.result("echo 0")  # used: now the second is the oldest
    assert toolchain.builds() == 5
    toolchain.result("echo 5")
    assert len(toolchain.kept()) == 5
    toolchain.result("echo 0")
    assert toolchain.builds() == 6
    toolchain.result("echo 1")
    assert toolchain.builds() == 7


def test_in_the_background(toolchain):
    toolchain.result()
    assert toolchain.job()["stdout"] == "done\n"
    assert toolchain.builds() == 1


def test_without_a_home(toolchain):
    """Then it is beside Go's own cache, where only the user can have made the directory."""
    tmp = toolchain.directory / "tmp"
    tmp.mkdir(mode=0o777)
    env = {"TMPDIR": str(tmp), "HOME": "/no/such/home", "XDG_CACHE_HOME": ""}
    for _ in range(3):
        toolchain.result(env=env)
    # The directory is not there before the first build.
    assert toolchain.builds() == 2
    assert list(tmp.glob("go-*/vm-agent/go/*"))


@pytest.mark.skipif(shutil.which("go", path=base_path()) is None, reason="no go")
def test_the_real_one(agent):
    home = agent.workspace / uuid.uuid4().hex
    home.mkdir()
    env = {"XDG_CACHE_HOME": str(home), "GOCACHE": os.environ.get("GOCACHE") or os.path.expanduser("~/.cache/go-build")}
    code = 'import "os"\nfmt.Println(len(os.Args))\nfmt.Fprint(os.Stderr, "err")\nos.Exit(4)'
    seconds = []
    for _ in range(2):
        result = expect_result(agent.execute(code, "go", env=env, timeout=300), 4)
        assert (result["stdout"], result["stderr"]) == ("1\n", "err")
        seconds.append(result["execution_time"])
    assert len(list((home / "vm-agent" / "go").iterdir())) == 1
    assert seconds[1] < seconds[0] / 2
    expect_error(agent.execute(code, "go", workdir="/no/such/place"), 400, "WORKDIR_NOT_FOUND", "/workdir")
