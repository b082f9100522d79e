# SPDX-License-Identifier: Apache-2.0
"""GET /files/download: bytes, ranges and conditions."""

import email
import email.policy
import email.utils
import io
import json
import os
import re
import shutil
import socket
import subprocess
import tarfile
import urllib.parse

import pytest

from lib.downloads import AUTHORIZATION, LARGE, MIB, fetch, make, open_files, pattern, settle, target
from lib.expect import expect_error
from lib.files import ODD_NAMES, get, write
from lib.waiting import wait_until


@pytest.fixture
def space(agent, tmp_path_factory):
    directory = agent.workspace / tmp_path_factory.mktemp("space").name
    directory.mkdir()
    return directory


@pytest.fixture(scope="module")
def old_files(agent):
    """Their tags are strong ones. It takes seconds to become old, so they do it together."""
    directory = agent.workspace / "old"
    directory.mkdir()
    sizes = {"small": 1000, "large": LARGE, "empty": 0}
    sizes |= {"to change, small": 1000, "to change, large": LARGE, "to replace": 1000}
    contents = {directory / name: make(directory / name, size, age=0) for name, size in sizes.items()}
    settle(*contents)
    return contents


@pytest.fixture(scope="module")
def samples(old_files):
    """Files that do not change."""
    return {path: content for path, content in old_files.items() if not path.name.startswith("to ")}


# Whole files


@pytest.mark.smoke
@pytest.mark.parametrize("size", [0, 1, 4096, 65535, 65536, 65537, LARGE, 5 * MIB + 1])
def test_bytes_are_equal(agent, space, size):
    content = make(space / "file.bin", size, age=0)
    response = fetch(agent, space / "file.bin")
    assert response.status_code == 200 and response.content == content
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["Content-Length"] == str(size)
    assert response.headers["Content-Disposition"] == 'attachment; filename="file.bin"'
    assert response.headers["Accept-Ranges"] == "bytes"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["X-Request-ID"] and "Content-Range" not in response.headers
    changed = email.utils.parsedate_to_datetime(response.headers["Last-Modified"])
    assert changed.timestamp() == int((space / "file.bin").stat().st_mtime)
    assert re.fullmatch(r'(W/)?"[^"]+"', response.headers["ETag"])
    wait_until(lambda: open_files(agent, space) == 0, "the file to be closed")


def test_head(agent, samples):
    for path in samples:
        plain = fetch(agent, path)
        # Range means nothing to HEAD.
        for extra in ({}, {"Range": "bytes=0-1"}):
            response = fetch(agent, path, extra, method="HEAD")
            assert (response.status_code, response.content) == (200, b"")
            for name in ("Content-Length", "Content-Type", "ETag", "Last-Modified", "Content-Disposition"):
                assert response.headers[name] == plain.headers[name]
        assert fetch(agent, f"{path}-none", method="HEAD").status_code == 404


def test_relative_paths_and_links(agent, space):
    write(agent, space / "file", "x")
    (space / "latest").symlink_to("file")
    assert fetch(agent, f"{space.name}/file").content == b"x"
    response = fetch(agent, space / "latest")
    assert response.content == b"x" and 'filename="latest"' in response.headers["Content-Disposition"]


def test_a_plus_that_was_not_escaped(agent, space):
    (space / "x+y").write_text("plus")
    response = agent.http.get(f"/files/download?path={space}/x+y")
    assert response.content == b"plus" and 'filename="x+y"' in response.headers["Content-Disposition"]


def test_files_that_do_not_know_their_size(new_agent):
    agent = new_agent(allowed_path="/")
    response = fetch(agent, "/proc/version")
    assert response.status_code == 200 and response.content.startswith(b"Linux ")
    assert int(response.headers["Content-Length"]) == len(response.content)
    assert "ETag" not in response.headers and "Last-Modified" not in response.headers
    part = fetch(agent, "/proc/version", {"Range": "bytes=0-4"})
    assert (part.status_code, part.content) == (206, b"Linux")
    assert expect_error(fetch(agent, "/dev/zero"), 400, "INVALID_PATH", "/path")["path"] == "/dev/zero"


# Names


def disposition(value):
    """The file's name in a Content-Disposition, for readers of filename* (RFC 6266), and for those of filename."""
    found = re.fullmatch(r"""attachment; filename="([^"\\]*)"(; filename\*=UTF-8''([\w.%!#$&+^`|~-]+))?""", value)
    assert found, value
    plain, extended, text = found.groups()
    return urllib.parse.unquote(text, errors="strict") if extended else plain, plain


@pytest.mark.parametrize("name", [*ODD_NAMES, "a'b", "per%41cent", "semi; filename=evil", "%%", "ends with."])
def test_odd_names(agent, space, name):
    write(agent, space / name, name)
    response = fetch(agent, space / name)
    assert response.status_code == 200 and response.content == name.encode()
    value = response.headers["Content-Disposition"]
    assert value.isascii() and value.isprintable()
    exact, plain = disposition(value)
    assert exact == name
    assert "/" not in plain and plain not in ("", ".", "..")
    # The same as the library's own parser of MIME headers understands it.
    message = email.message_from_string(f"Content-Disposition: {value}\n\n", policy=email.policy.HTTP)
    assert message.get_filename() == plain
    extended = re.sub('filename="[^"]*"; ', "", value)
    message = email.message_from_string(f"Content-Disposition: {extended}\n\n", policy=email.policy.HTTP)
    assert message.get_filename() == name


def test_bytes_in_names_that_are_no_utf8(agent, space):
    raw = os.fsencode(space) + b"/caf\xe9"
    with open(raw, "wb") as file:
        file.write(b"x")
    os.symlink(b"caf\xe9", os.fsencode(space) + b"/link")
    assert fetch(agent, space / "link").content == b"x"
    assert agent.http.get(f"/files/download?path={space}/caf%E9").content == b"x"


# Ranges

RANGES = [
    # header, first byte, byte behind the last; None: everything
    ("bytes=0-0", 0, 1),
    ("bytes=0-", 0, None),
    ("bytes=5-9", 5, 10),
    ("bytes=-1", -1, None),
    ("bytes=-100", -100, None),
    ("bytes=-99999999999", 0, None),
    ("bytes=100-99999999999999999999999", 100, None),
    ("Bytes=1-2", 1, 3),
    ("bytes= 1-2 ,", 1, 3),
]


@pytest.mark.parametrize("value, first, end", RANGES)
def test_ranges(agent, samples, value, first, end):
    for path, content in samples.items():
        if not content:
            continue
        response = fetch(agent, path, {"Range": value})
        wanted = content[first:end]
        start = len(content) - len(wanted) if end is None else first
        assert response.status_code == 206 and response.content == wanted
        assert response.headers["Content-Length"] == str(len(wanted))
        expected = f"bytes {start}-{start + len(wanted) - 1}/{len(content)}"
        assert response.headers["Content-Range"] == expected
        assert response.headers["ETag"] == fetch(agent, path).headers["ETag"]


@pytest.mark.parametrize(
    "value", ["bytes=5-3", "bytes=", "bytes=a-b", "lines=1-2", "0-5", "bytes=0-1,5-6", "bytes=--1", "bytes 0-5"]
)
def test_ranges_that_mean_everything(agent, samples, value):
    for path, content in samples.items():
        response = fetch(agent, path, {"Range": value})
        assert response.status_code == 200 and response.content == content


@pytest.mark.parametrize("value", ["bytes={size}-", "bytes={size}-{size}", "bytes=-0", "bytes=9999999999-"])
def test_ranges_behind_the_end(agent, samples, value):
    for path, content in samples.items():
        response = fetch(agent, path, {"Range": value.format(size=len(content))})
        document = expect_error(response, 416, "RANGE_NOT_SATISFIABLE")
        assert document["path"] == str(path) and "Content-Disposition" not in response.headers
        assert response.headers["Content-Range"] == f"bytes */{len(content)}"


def test_ranges_of_an_empty_file(agent, samples):
    path = next(path for path in samples if path.name == "empty")
    assert fetch(agent, path, {"Range": "bytes=0-"}).status_code == 416
    assert fetch(agent, path, {"Range": "bytes=-5"}).status_code == 200


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
@pytest.mark.parametrize("have", [0, 1, 70_000, LARGE - 1])
def test_curl_resumes(agent, samples, tmp_path, have):
    path = next(path for path in samples if path.name == "large")
    (tmp_path / "part").write_bytes(samples[path][:have])
    command = ["curl", "-sS", "--fail", "-C", "-", "-o", str(tmp_path / "part"), "-w", "%{http_code}"]
    command += ["-H", f"Authorization: {AUTHORIZATION['Authorization']}", agent.url + target(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "206" if have else "200"), done.stderr
    assert (tmp_path / "part").read_bytes() == samples[path]


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
def test_curl_takes_the_name(agent, samples, tmp_path):
    path = next(path for path in samples if path.name == "large")
    command = ["curl", "-sS", "--fail", "-O", "-J", "-H", f"Authorization: {AUTHORIZATION['Authorization']}"]
    subprocess.run([*command, agent.url + target(path)], cwd=tmp_path, check=True, timeout=60)
    assert (tmp_path / "large").read_bytes() == samples[path]


# Conditions


def test_what_a_client_has_already(agent, samples):
    for path, content in samples.items():
        first = fetch(agent, path)
        etag, changed = first.headers["ETag"], first.headers["Last-Modified"]
        assert etag.startswith('"')
        for headers in (
            {"If-None-Match": etag},
            {"If-None-Match": f'"other", W/{etag}'},
            {"If-None-Match": "*"},
            {"If-Modified-Since": changed},
            {"If-None-Match": etag, "Range": "bytes=0-1"},
        ):
            for method in ("GET", "HEAD"):
                response = fetch(agent, path, headers, method)
                assert (response.status_code, response.content) == (304, b""), headers
                assert response.headers["ETag"] == etag and response.headers["Last-Modified"] == changed
        for headers in (
            {"If-None-Match": '"other"'},
            {"If-None-Match": '"other"', "If-Modified-Since": changed},
            {"If-Modified-Since": "Sun, 06 Nov 1994 08:49:37 GMT"},
            {"If-Modified-Since": "yesterday"},
            {"If-Match": etag},
            {"If-Match": "*"},
            {"If-Unmodified-Since": changed},
        ):
            response = fetch(agent, path, headers)
            assert response.status_code == 200 and response.content == content, headers


def test_conditions_that_fail(agent, samples):
    for path in samples:
        for headers in ({"If-Match": '"other"'}, {"If-Unmodified-Since": "Sun, 06 Nov 1994 08:49:37 GMT"}):
            document = expect_error(fetch(agent, path, headers), 412, "PRECONDITION_FAILED")
            assert document["path"] == document["details"]["path"] == str(path)


@pytest.mark.parametrize("name", ["small", "large"])
def test_the_rest_of_a_file_that_has_changed(agent, old_files, name):
    path, old = next(item for item in old_files.items() if item[0].name == f"to change, {name}")
    size = len(old)
    first = fetch(agent, path)
    etag, changed = first.headers["ETag"], first.headers["Last-Modified"]
    for validator in (etag, changed):
        rest = fetch(agent, path, {"Range": "bytes=500-", "If-Range": validator})
        assert rest.status_code == 206 and rest.content == old[500:]

    write(agent, path, pattern(size, b"new"))
    for validator in (etag, changed):
        rest = fetch(agent, path, {"Range": "bytes=500-", "If-Range": validator})
        assert rest.status_code == 200 and rest.content == pattern(size, b"new")
    assert fetch(agent, path, {"If-None-Match": etag}).status_code == 200

    # What was written a moment ago may change without a trace in its times.
    weak = fetch(agent, path).headers["ETag"]
    assert weak.startswith("W/")
    assert fetch(agent, path, {"Range": "bytes=500-", "If-Range": weak}).status_code == 200


def test_same_size_and_time(agent, old_files, space):
    """Only the inode, and the time of its change, tell these apart."""
    path = next(path for path in old_files if path.name == "to replace")
    etag = fetch(agent, path).headers["ETag"]
    before = path.stat()
    (space / "other").write_bytes(pattern(1000, b"other"))
    os.utime(space / "other", ns=(before.st_atime_ns, before.st_mtime_ns))
    os.rename(space / "other", path)
    response = fetch(agent, path, {"If-None-Match": etag})
    assert response.status_code == 200 and response.content == pattern(1000, b"other")


# Refusals


def test_refusals(agent, space):
    os.mkfifo(space / "fifo")
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(str(space / "socket"))
    (space / "loop").symlink_to("loop")
    (space / "dangling").symlink_to("nothing")
    (space / "out").symlink_to("/etc/passwd")
    write(agent, space / "file", "x")
    for path, status, code, field in (
        (space / "none", 404, "FILE_NOT_FOUND", None),
        (space / "dangling", 404, "FILE_NOT_FOUND", None),
        (space / "none/file", 404, "FILE_NOT_FOUND", None),
        ("/etc/shadow", 403, "PATH_NOT_ALLOWED", None),
        (space / "out", 403, "PATH_NOT_ALLOWED", None),
        (f"{space}/../../../../etc/passwd", 403, "PATH_NOT_ALLOWED", None),
        (space / "fifo", 400, "INVALID_PATH", "/path"),
        (space / "socket", 400, "INVALID_PATH", "/path"),
        (space / "loop", 400, "INVALID_PATH", "/path"),
        (space / "file/x", 400, "INVALID_PATH", "/path"),
        (space / ("a" * 256), 400, "INVALID_PATH", "/path"),
    ):
        document = expect_error(get(agent, "download", path), status, code, field)
        assert document["path"] == document["details"]["path"] == str(path)
    bound.close()
    expect_error(agent.http.get("/files/download"), 400, "MISSING_PARAMETER", "/path")
    expect_error(agent.anonymous.get(target(space / "file")), 401, "AUTHENTICATION_REQUIRED")
    wait_until(lambda: open_files(agent, space) == 0, "the file to be closed")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_files_that_the_user_may_not_read(new_agent):
    agent = new_agent(run_as="nobody")
    for name in ("file", "secret"):
        (agent.workspace / name).write_text(name)
    (agent.workspace / "secret").chmod(0o600)
    (agent.workspace / "closed").mkdir(mode=0o700)
    for path in ("secret", "closed", "closed/file"):
        assert expect_error(fetch(agent, path), 403, "PERMISSION_DENIED")["path"] == path
    assert fetch(agent, "file").content == b"file"
    # An archive has what is left.
    with tarfile.open(fileobj=io.BytesIO(fetch(agent, ".").content)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert "file" in names and "secret" not in names
    wait_until(lambda: "entries=2" in agent.log(), "a line in the log")


def test_nothing_of_the_file_is_in_an_error(agent, samples):
    path = next(iter(samples))
    response = fetch(agent, path, {"If-Match": '"other"', "Range": "bytes=0-3"})
    assert json.loads(response.content)["code"] == "PRECONDITION_FAILED"
    assert "Content-Disposition" not in response.headers and "Content-Range" not in response.headers
