# SPDX-License-Identifier: Apache-2.0
"""Directories, and what happens to files as a whole: exists, stat, remove, mkdir, move, copy, chmod."""

import concurrent.futures
import datetime
import os
import stat

import pytest

from lib.expect import TIMESTAMP, expect_error, expect_json
from lib.files import ODD_NAMES, get, post, remove


@pytest.fixture
def space(agent, tmp_path_factory):
    directory = agent.workspace / tmp_path_factory.mktemp("space").name
    directory.mkdir()
    return directory


def tree(directory):
    """All paths below, with the content of files."""
    return {
        str(path.relative_to(directory)): path.read_text() if path.is_file() else None
        for path in directory.rglob("*")
    }


def expect_done(response):
    document = expect_json(response)
    assert document["success"] is True and document["path"] and document["message"]
    assert TIMESTAMP.match(document["timestamp"])
    return document


@pytest.mark.smoke
def test_exists(agent, space):
    (space / "file").touch()
    (space / "dangling").symlink_to("nowhere")

    def exists(path):
        document = expect_json(get(agent, "exists", path))
        return document["exists"], document["is_directory"]

    assert exists(space) == (True, True)
    assert exists(space / "file") == (True, False)
    for absent in (space / "none", space / "dangling", space / "file" / "below", space / ("a" * 300)):
        assert exists(absent) == (False, False)
    document = expect_json(get(agent, "exists", "/etc/passwd"))
    assert (document["exists"], document["reason"]) == (False, "PATH_NOT_ALLOWED")
    expect_error(agent.http.get("/files/exists"), 400, "MISSING_PARAMETER", "/path")


def test_stat(agent, space):
    (space / "file").write_text("12345")
    (space / "file").chmod(0o640)
    (space / "link").symlink_to("file")
    info = expect_json(get(agent, "stat", space / "file"))
    assert (info["name"], info["path"], info["size"]) == ("file", str(space / "file"), 5)
    assert (info["is_directory"], info["is_dir"], info["type"]) == (False, False, "file")
    assert (info["permissions"], info["mode"]) == ("-rw-r-----", "0640")
    was = (space / "file").stat()
    assert (info["inode"], info["uid"], info["gid"], info["links"]) == (was.st_ino, was.st_uid, was.st_gid, 1)
    assert info["modified_ns"] == was.st_mtime_ns
    modified = datetime.datetime.fromisoformat(info["modified_time"]).timestamp()
    assert modified == pytest.approx(was.st_mtime, abs=0.002)
    assert info["modified"] == info["modified_time"] == info["mod_time"]

    assert expect_json(get(agent, "stat", space / "link"))["real_path"] == str(space / "file")
    link = expect_json(get(agent, "stat", space / "link", follow="false"))
    assert (link["type"], link["target"]) == ("symlink", "file")
    assert expect_json(get(agent, "stat", space))["is_dir"] is True
    os.mkfifo(space / "fifo")
    assert expect_json(get(agent, "stat", space / "fifo"))["type"] == "special"
    expect_error(get(agent, "stat", space / "none"), 404, "FILE_NOT_FOUND")
    expect_error(get(agent, "stat", "/etc"), 403, "PATH_NOT_ALLOWED")


def test_times_that_are_out_of_the_ordinary(agent, space):
    for seconds in (-1, 0, 2**33):
        (space / "file").touch()
        os.utime(space / "file", (seconds, seconds))
        info = expect_json(get(agent, "stat", space / "file"))
        assert TIMESTAMP.match(info["modified_time"])


def test_remove(agent, space):
    outside = space / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    victim = space / "victim"
    (victim / "a" / "b").mkdir(parents=True)
    (victim / "a" / "file").touch()
    (victim / "link").symlink_to(outside)
    answer = expect_error(remove(agent, victim, recursive="false"), 409, "DIRECTORY_NOT_EMPTY")
    assert answer["path"] == str(victim)
    assert expect_done(remove(agent, victim))["removed"] == 5
    assert tree(space) == {"outside": None, "outside/kept": "x"}

    (space / "link").symlink_to(outside)
    expect_done(remove(agent, space / "link"))
    assert tree(space) == {"outside": None, "outside/kept": "x"}
    expect_error(remove(agent, space / "link"), 404, "FILE_NOT_FOUND")
    expect_error(remove(agent, "/etc/passwd"), 403, "PATH_NOT_ALLOWED")
    expect_error(agent.http.delete("/files/remove"), 400, "MISSING_PARAMETER", "/path")


def test_remove_does_not_guess(agent, space):
    """A blank is not taken for a plus where that would cost a file."""
    (space / "x+y").touch()
    expect_error(agent.http.delete(f"/files/remove?path={space}/x+y"), 404, "FILE_NOT_FOUND")
    assert os.listdir(space) == ["x+y"]


def test_mkdir(agent, space):
    path = space / "a" / "b"
    assert expect_done(post(agent, "mkdir", path=str(path)))["created"] is True
    assert expect_done(post(agent, "mkdir", path=str(path)))["created"] is False
    expect_done(post(agent, "mkdir", path=str(space / "private"), mode="0700"))
    assert stat.S_IMODE((space / "private").stat().st_mode) == 0o700
    (space / "file").touch()
    response = post(agent, "mkdir", path=str(space / "file"))
    assert response.status_code in (400, 409) and response.json()["path"] == str(space / "file")
    expect_error(
        post(agent, "mkdir", path=str(space / "c" / "d"), parents=False), 404, "DIRECTORY_NOT_FOUND"
    )
    expect_error(post(agent, "mkdir", path="/etc/x"), 403, "PATH_NOT_ALLOWED")
    expect_error(post(agent, "mkdir"), 400, "MISSING_PARAMETER", "/path")
    expect_error(post(agent, "mkdir", path="x", mode="8"), 400, "INVALID_REQUEST", "/mode")


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names(agent, space, name):
    path = str(space / name)
    expect_done(post(agent, "mkdir", path=path))
    assert expect_json(get(agent, "exists", path)) == {
        "exists": True, "path": path, "is_directory": True, "is_dir": True,
    }  # fmt: skip
    assert expect_json(get(agent, "stat", path))["name"] == name
    expect_done(post(agent, "move", **{"from": path, "to": str(space / "plain")}))
    expect_done(post(agent, "copy", **{"from": str(space / "plain"), "to": path}))
    assert sorted(os.listdir(space)) == sorted([name, "plain"])
    expect_done(remove(agent, path))
    assert os.listdir(space) == ["plain"]


def transfer(agent, verb, source, to, **fields):
    return post(agent, verb, **{"from": str(source), "to": str(to), **fields})


@pytest.mark.smoke
@pytest.mark.parametrize("verb", ["move", "copy"])
def test_move_and_copy(agent, space, verb):
    (space / "old" / "sub").mkdir(parents=True)
    (space / "old" / "sub" / "file").write_text("x")
    (space / "old" / "link").symlink_to("sub/file")
    document = expect_done(transfer(agent, verb, space / "old", space / "new" / "place"))
    assert document["from"] == str(space / "old") and document["to"] == str(space / "new" / "place")
    assert tree(space / "new" / "place") == {"sub": None, "sub/file": "x", "link": "x"}
    assert (space / "new" / "place" / "link").is_symlink()
    assert (space / "old").exists() == (verb == "copy")
    if verb == "copy":
        assert document["entries"] >= 3 and document["size"] == 1


@pytest.mark.parametrize("verb", ["move", "copy"])
def test_what_is_in_the_way(agent, space, verb):
    (space / "a").write_text("a")
    (space / "b").write_text("b")
    answer = expect_error(transfer(agent, verb, space / "a", space / "b"), 409, "FILE_ALREADY_EXISTS")
    assert answer["path"] == str(space / "b")
    assert tree(space) == {"a": "a", "b": "b"}
    expect_done(transfer(agent, verb, space / "a", space / "b", overwrite=True))
    assert (space / "b").read_text() == "a"


@pytest.mark.parametrize("verb", ["move", "copy"])
def test_which_path_is_at_fault(agent, space, verb):
    (space / "a").write_text("a")

    def expect(source, to, status, code, path, field=None, **fields):
        answer = expect_error(transfer(agent, verb, source, to, **fields), status, code, field)
        assert answer["path"] == str(path), answer

    expect(space / "none", space / "b", 404, "FILE_NOT_FOUND", space / "none")
    expect("/etc/passwd", space / "b", 403, "PATH_NOT_ALLOWED", "/etc/passwd")
    expect(space / "a", "/etc/b", 403, "PATH_NOT_ALLOWED", "/etc/b")
    expect(space / "a", space / ("b" * 256), 400, "INVALID_PATH", space / ("b" * 256), "/to")
    expect(space / "a", space / "c" / "d", 404, "DIRECTORY_NOT_FOUND", space / "c" / "d", parents=False)
    expect_error(post(agent, verb, to="x"), 400, "MISSING_PARAMETER", "/from")
    expect_error(post(agent, verb, source="x"), 400, "MISSING_PARAMETER", "/to")
    expect_done(post(agent, verb, source=str(space / "a"), destination=str(space / "z")))


def test_a_directory_into_itself(agent, space):
    (space / "a").mkdir()
    for verb in ("move", "copy"):
        response = transfer(agent, verb, space / "a", space / "a" / "b")
        assert response.status_code == 400, response.text
    assert tree(space) == {"a": None}


def test_chmod(agent, space):
    (space / "file").touch()
    answer = expect_done(post(agent, "chmod", path=str(space / "file"), mode="0751"))
    assert (answer["mode"], answer["permissions"]) == ("0751", "-rwxr-x--x")
    assert stat.S_IMODE((space / "file").stat().st_mode) == 0o751
    expect_error(post(agent, "chmod", path=str(space / "none"), mode="0644"), 404, "FILE_NOT_FOUND")
    expect_error(post(agent, "chmod", path="/etc/passwd", mode="0666"), 403, "PATH_NOT_ALLOWED")
    expect_error(post(agent, "chmod", path=str(space / "file")), 400, "MISSING_PARAMETER", "/mode")
    for mode in ("u", "u+q", "+x,", "u+x g+x", "g=u", "-", "01777777", "u+" + 63 * "x"):
        expect_error(post(agent, "chmod", path=str(space / "file"), mode=mode), 400, "INVALID_REQUEST", "/mode")
    expect_error(
        post(agent, "chmod", path=str(space / "file"), owner="no-such-user"), 400, "INVALID_REQUEST", "/owner"
    )
    expect_error(
        post(agent, "chmod", path=str(space / "file"), group="no-such-group"), 400, "INVALID_REQUEST", "/group"
    )


def modes(top):
    """The permissions of all that is below, links left out."""
    found = {}
    for path in sorted(top.rglob("*")):
        if not path.is_symlink():
            found[str(path.relative_to(top))] = oct(stat.S_IMODE(path.stat().st_mode))[2:]
    return found


def make_modes(top):
    (top / "d" / "e").mkdir(parents=True)
    (top / "d" / "file").touch()
    (top / "d" / "e" / "run").touch()
    (top / "d" / "link").symlink_to("../outside")
    (top / "d" / "up").symlink_to("..")
    (top / "outside").touch()
    os.mkfifo(top / "d" / "fifo")
    (top / "outside").chmod(0o640)
    for name, mode in (("d/e/run", 0o744), ("d/file", 0o600), ("d/fifo", 0o600), ("d/e", 0o755), ("d", 0o755)):
        (top / name).chmod(mode)


@pytest.mark.parametrize(
    "mode, expected, changed",
    [
        ("0750", ("750", "750", "750", "750", "750"), 5),
        ("u+rwX,g=rX,o=", ("750", "750", "750", "640", "640"), 5),
        ("go-rwx", ("700", "700", "700", "600", "600"), 3),
        ("a+x", ("755", "755", "755", "711", "711"), 3),
        ("+X", ("755", "755", "755", "600", "600"), 1),
        ("0600", ("600", "600", "600", "600", "600"), 3),
        ("u-x", ("655", "655", "644", "600", "600"), 3),
    ],
)
def test_chmod_of_a_tree(agent, space, mode, expected, changed):
    make_modes(space)
    body = {"path": str(space / "d"), "mode": mode, "recursive": True}
    answer = expect_done(post(agent, "chmod", **body))
    assert (answer["changed"], answer["mode"]) == (changed, "0" + expected[0])
    names = ("d", "d/e", "d/e/run", "d/fifo", "d/file")
    assert modes(space) == {**dict(zip(names, expected)), "outside": "640"}
    assert expect_done(post(agent, "chmod", **body))["changed"] == 0


def test_chmod_of_a_tree_only_when_asked_for(agent, space):
    make_modes(space)
    assert expect_done(post(agent, "chmod", path=str(space / "d"), mode="0700"))["changed"] == 1
    assert modes(space)["d/file"] == "600" and modes(space)["d/e"] == "755"
    answer = expect_done(post(agent, "chmod", path=str(space / "d" / "file"), mode="u=r", recursive=True))
    assert (answer["changed"], answer["mode"]) == (1, "0400")
    expect_error(post(agent, "chmod", path="/etc", mode="0700", recursive=True), 403, "PATH_NOT_ALLOWED")
    expect_error(post(agent, "chmod", path=str(space / "x"), mode="0700", recursive=True), 404, "FILE_NOT_FOUND")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_chown_of_a_tree(agent, space):
    make_modes(space)
    body = {"path": str(space / "d"), "owner": "1234", "group": "1235", "recursive": True}
    assert expect_done(post(agent, "chmod", **body))["changed"] == 7
    for path in (space / "d", *(space / "d").rglob("*")):
        assert (path.lstat().st_uid, path.lstat().st_gid) == (1234, 1235), path
    assert (space / "outside").stat().st_uid == 0 and space.stat().st_uid == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_chown(agent, space):
    (space / "file").touch()
    answer = expect_done(post(agent, "chmod", path=str(space / "file"), owner="nobody", group="1234"))
    assert answer["gid"] == 1234 and answer["uid"] == (space / "file").stat().st_uid != 0


@pytest.mark.parametrize("verb", ["move", "copy"])
def test_a_file_into_a_directory_that_is_not_there(agent, space, verb):
    (space / "file").write_text("x")
    (space / "dir").mkdir()
    response = transfer(agent, verb, space / "file", f"{space}/none/")
    assert expect_error(response, 400, "INVALID_PATH", "/to")["path"] == f"{space}/none/"
    expect_error(transfer(agent, verb, space / "file", f"{space}/dir/"), 409, "FILE_ALREADY_EXISTS")
    assert tree(space) == {"file": "x", "dir": None}
    expect_done(transfer(agent, verb, space / "dir", f"{space}/other/"))
    assert (space / "other").is_dir()


@pytest.mark.parametrize("verb", ["move", "copy"])
@pytest.mark.parametrize(
    "source, to, overwrite, status, code, field",
    [
        ("file", "file", False, 409, "FILE_ALREADY_EXISTS", None),
        ("file", "dir", False, 409, "FILE_ALREADY_EXISTS", None),
        ("file", "dir", True, 400, "INVALID_PATH", "/to"),
        ("dir", "file", False, 409, "FILE_ALREADY_EXISTS", None),
        ("dir", "file", True, 400, "INVALID_PATH", "/to"),
        ("dir", "full", True, 409, "DIRECTORY_NOT_EMPTY", None),
        ("dir", "dir/below", False, 400, "INVALID_PATH", "/to"),
        ("file/", "new", False, 400, "INVALID_PATH", "/from"),
        ("file/x", "new", False, 400, "INVALID_PATH", "/from"),
        ("file", "file/x", False, 400, "INVALID_PATH", "/to"),
        ("none", "new", False, 404, "FILE_NOT_FOUND", None),
        ("file", "a" * 256, False, 400, "INVALID_PATH", "/to"),
        ("a" * 256, "new", False, 400, "INVALID_PATH", "/from"),
        ("out", "new/../../../../../../etc/new", False, 403, "PATH_NOT_ALLOWED", None),
    ],
)
def test_where_something_cannot_go(agent, space, verb, source, to, overwrite, status, code, field):
    (space / "file").write_text("x")
    (space / "dir" / "sub").mkdir(parents=True)
    (space / "full" / "sub").mkdir(parents=True)
    (space / "out").write_text("y")
    before = tree(space)
    expect_error(transfer(agent, verb, f"{space}/{source}", f"{space}/{to}", overwrite=overwrite), status, code, field)
    after = tree(space)
    after.pop("new", None)  # on the way to the last one
    assert after == before


def test_a_copy_onto_itself(agent, space):
    (space / "file").write_text("x")
    (space / "link").symlink_to("file")
    (space / "twin").hardlink_to(space / "file")
    for to in ("file", "link", "twin"):
        response = transfer(agent, "copy", space / "file", space / to, overwrite=True)
        assert response.status_code == 400 and response.json()["code"] == "INVALID_PATH"
    assert tree(space) == {"file": "x", "link": "x", "twin": "x"} and (space / "link").is_symlink()


def test_what_a_copy_keeps(agent, space):
    """Modes, times, links and holes; hard links become files of their own."""
    old = space / "old"
    old.mkdir(mode=0o750)
    (old / "file").write_text("x")
    (old / "file").chmod(0o4711)
    os.utime(old / "file", ns=(10**18, 10**18 + 7))
    (old / "twin").hardlink_to(old / "file")
    (old / "link").symlink_to("/nowhere")
    with open(old / "holes", "wb") as file:
        file.truncate(64 * 1024 * 1024)
        file.seek(32 * 1024 * 1024)
        file.write(b"data")
    os.mkfifo(old / "fifo")
    os.utime(old, ns=(10**18, 10**18))
    document = expect_done(transfer(agent, "copy", old, space / "new"))
    assert (document["entries"], document["skipped"]) == (5, 1)
    new = space / "new"
    assert sorted(os.listdir(new)) == ["file", "holes", "link", "twin"]
    for name in (".", "file", "twin"):
        was, now = (old / name).stat(), (new / name).stat()
        assert (now.st_mode, now.st_mtime_ns) == (was.st_mode, was.st_mtime_ns), name
    assert os.readlink(new / "link") == "/nowhere"
    assert (new / "file").stat().st_ino != (new / "twin").stat().st_ino
    assert (new / "holes").read_bytes() == (old / "holes").read_bytes()
    assert (new / "holes").stat().st_blocks <= (old / "holes").stat().st_blocks + 64


def test_what_is_mounted_and_what_is_linked_stays(agent, space):
    """Neither a link at the end, with a slash or without, nor one in the tree leads a removal out."""
    outside = space / "outside"
    (outside / "sub").mkdir(parents=True)
    (outside / "file").write_text("x")
    (space / "victim").mkdir()
    (space / "victim" / "up").symlink_to("..")
    (space / "victim" / "out").symlink_to(outside)
    (space / "victim" / "twin").hardlink_to(outside / "file")
    (space / "link").symlink_to(outside)
    expect_done(remove(agent, space / "victim"))
    expect_done(remove(agent, f"{space}/link/"))
    assert tree(space) == {"outside": None, "outside/sub": None, "outside/file": "x"}
    expect_error(remove(agent, f"{outside}/file/"), 400, "INVALID_PATH", "/path")
    expect_error(remove(agent, f"{outside}/sub/.."), 400, "INVALID_PATH", "/path")
    expect_done(remove(agent, f"{outside}/sub/."))
    assert tree(space) == {"outside": None, "outside/file": "x"}


@pytest.mark.parametrize(
    "path",
    ["/", "//", "/.", "/..", "/etc", "/etc/", "/tmp", "/tmp/", "/tmp/.", "/proc/self", "/proc/self/root/etc/passwd",
     "/proc/self/cwd/x", "/proc/1/root", "/dev/null", "/dev/shm/../../etc/passwd"],
)  # fmt: skip
def test_what_is_never_removed(agent, path):
    response = remove(agent, path)
    assert response.status_code in (400, 403) and response.json()["code"] in ("PATH_NOT_ALLOWED", "INVALID_PATH")
    assert os.path.isdir("/tmp") and os.path.isfile("/etc/passwd")


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "//etc//passwd",
        "/tmp/../etc/passwd",
        "../../../../../../etc/passwd",
        "SPACE/../../../../../etc/passwd",
        "SPACE/link",
        "SPACE/chain",
        "SPACE/etc/passwd",
        "SPACE/up/etc/passwd",
        "SPACE/root/etc/passwd",
        "/proc/self/root/etc/passwd",
        "/proc/thread-self/root/etc/passwd",
        "/proc/1/root/etc/passwd",
        "/dev/fd/../../../etc/passwd",
    ],
)
def test_no_verb_leads_out(agent, space, path):
    (space / "link").symlink_to("/etc/passwd")
    (space / "chain").symlink_to("link")
    (space / "etc").symlink_to("/etc")
    (space / "up").symlink_to("../" * 20)
    (space / "root").symlink_to("/proc/self/root")
    (space / "mine").write_text("x")
    was, names = os.stat("/etc/passwd"), os.listdir("/etc")
    path, mine = path.replace("SPACE", str(space)), str(space / "mine")
    is_link = path in (str(space / "link"), str(space / "chain"))
    responses = [
        *(get(agent, verb, path, pattern="root") for verb in ("read", "list", "stat", "download", "search")),
        post(agent, "write", path=path, content=""),
        post(agent, "write", path=path, content="", append=True),
        post(agent, "write", path=path, content="", overwrite=False),
        post(agent, "mkdir", path=f"{path}/x"),
        post(agent, "chmod", path=path, mode="0777"),
        post(agent, "replace", path=path, old="root", new="toor"),
        post(agent, "batch", files=[{"path": path, "content": ""}]),
        post(agent, "copy", **{"from": path, "to": str(space / "copy")}),
        post(agent, "copy", **{"from": mine, "to": path, "overwrite": True}),
        agent.http.put("/files/upload", params={"path": path}, content=b""),
    ]
    if not is_link:  # a link can be removed, and moved, for itself
        responses += [
            remove(agent, path),
            post(agent, "move", **{"from": path, "to": str(space / "moved")}),
            post(agent, "move", **{"from": mine, "to": path, "overwrite": True}),
        ]
    for response in responses:
        assert response.status_code == 403, (response.request.url, response.request.content, response.text)
        assert response.json()["code"] == "PATH_NOT_ALLOWED"
    assert expect_json(get(agent, "exists", path))["exists"] is False
    now = os.stat("/etc/passwd")
    assert (now.st_ctime_ns, now.st_mode, now.st_size) == (was.st_ctime_ns, was.st_mode, was.st_size)
    assert os.listdir("/etc") == names
    assert sorted(os.listdir(space)) == ["chain", "etc", "link", "mine", "root", "up"]


@pytest.mark.parametrize("verb", ["exists", "stat", "remove"])
@pytest.mark.parametrize("path", ["", "a\0b", "x" * 4096, "\0"])
def test_paths_that_are_none(agent, verb, path):
    response = remove(agent, path) if verb == "remove" else get(agent, verb, path)
    if verb == "exists" and len(path) > 4000:
        assert expect_json(response)["exists"] is False
    else:
        assert response.status_code == 400 and response.json()["details"]["field"] == "/path", response.text


@pytest.mark.parametrize("verb, name", [("mkdir", "path"), ("chmod", "path"), ("move", "from"), ("copy", "to")])
@pytest.mark.parametrize("value", [1, [], {}, True, "", "a\0b", "x/" * 2048])
def test_wrong_types(agent, space, verb, name, value):
    fields = {
        "mkdir": {"path": "x"},
        "chmod": {"path": "x", "mode": "0644"},
        "move": {"from": "x", "to": "y"},
        "copy": {"from": "x", "to": "y"},
    }[verb]
    expect_error(post(agent, verb, **{**fields, name: value}), 400, "INVALID_REQUEST", f"/{name}")


def test_makers_of_one_directory(agent, space):
    """Exactly one of them has made it, and all are content."""
    path = str(space / "a" / "b" / "c")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: expect_done(post(agent, "mkdir", path=path)), range(8)))
    assert sum(answer["created"] for answer in answers) == 1
    (space / "dangling").symlink_to("nowhere")
    expect_done(post(agent, "mkdir", path=str(space / "dangling")))
    assert (space / "nowhere").is_dir() and (space / "dangling").is_symlink()
    expect_done(post(agent, "mkdir", path=f"{space}/slash/", mode="2750"))
    assert stat.S_IMODE((space / "slash").stat().st_mode) == 0o2750
