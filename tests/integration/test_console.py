# SPDX-License-Identifier: Apache-2.0
"""The console as HTTP sees it: who gets the page, with which headers, and what belongs to it."""

import re

import pytest

from lib import raw
from lib.expect import expect_error, expect_json

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"
TYPES = {
    "console.css": "text/css; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "csp.js": "text/javascript; charset=utf-8",
    "agent.js": "text/javascript; charset=utf-8",
    "terminal.js": "text/javascript; charset=utf-8",
    "code.js": "text/javascript; charset=utf-8",
    "xterm.css": "text/css; charset=utf-8",
    "xterm.mjs": "text/javascript; charset=utf-8",
    "addon-fit.mjs": "text/javascript; charset=utf-8",
}
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{}'; connect-src 'self'; "
    "img-src 'self' data:; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
FILE_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


@pytest.fixture(scope="module")
def console():
    from lib.agent import Agent

    agent = Agent(console="true")
    if agent.anonymous.get("/console/console.js").status_code == 404:
        agent.close()
        pytest.skip("built without the console")
    yield agent
    agent.close()


def get_page(agent, accept=BROWSER, **headers):
    return agent.anonymous.get("/", headers={"Accept": accept, **headers})


def nonce_of(page):
    (nonce,) = re.findall(r'nonce="([^"]*)"', page.text)
    return nonce


@pytest.mark.parametrize("path", ["console.js", "xterm.mjs", "index.html", "x"])
def test_the_console_is_off_by_default(agent, path):
    assert expect_json(get_page(agent))["status"] == "running"
    assert "option console" in expect_error(agent.anonymous.get(f"/console/{path}"), 404, "NOT_FOUND")["message"]


@pytest.mark.smoke
def test_browsers_get_the_page(console):
    page = get_page(console)
    assert page.status_code == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.text.startswith("<!DOCTYPE html>")
    assert page.text.rstrip().endswith("</html>")
    assert int(page.headers["Content-Length"]) == len(page.content)


@pytest.mark.parametrize(
    "accept, is_page",
    [
        (BROWSER, True),
        ("text/html", True),
        ("TEXT/HTML", True),
        ("text/*", True),
        ("text/html;charset=utf-8;q=0.9, application/json;q=0.8", True),
        ("application/json; q=0.8 , text/html ; q=0.801", True),
        ("text/html;q=0.1", True),
        ("text/html, */*;q=0.9", True),
        ("*/*;q=0.1,text/html;q=0.2", True),
        ("application/*;q=0, */*", True),
        (",, text/html,", True),
        ("*/*", False),
        ("", False),
        ("application/json", False),
        ("application/json, text/plain, */*", False),
        ("text/html, application/json", False),
        ("text/html;q=0.5, application/json", False),
        ("text/html;q=0.5, */*", False),
        ("text/html;q=0", False),
        ("text/html;q=2", False),
        ("text/html;q=0.9999", False),
        ("text/html;q=x", False),
        ("text/html;q=", False),
        ("text/htmlx", False),
        ("xtext/html", False),
        ("text/plain", False),
        ("text/html;", True),
        (";q=1", False),
        ("q=1", False),
    ],
)
def test_the_accept_header_decides(console, accept, is_page):
    response = get_page(console, accept)
    assert response.headers["Vary"] == "Accept"
    if is_page:
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    else:
        assert expect_json(response)["status"] == "running"


def test_without_an_accept_header_it_is_json(console):
    with raw.RawConnection(console.port) as connection:
        connection.send(raw.head("GET", "/"))
        assert connection.read_response().json()["status"] == "running"


@pytest.mark.smoke
def test_the_headers_of_the_page_are_strict(console):
    page = get_page(console)
    assert page.headers["Content-Security-Policy"] == PAGE_POLICY.format(nonce_of(page))
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in page.headers


def test_every_page_has_a_nonce_of_its_own(console):
    nonces = {nonce_of(get_page(console)) for _ in range(20)}
    assert len(nonces) == 20
    assert all(re.fullmatch(r"[0-9a-f]{24}", nonce) for nonce in nonces)


def test_pages_differ_in_nothing_but_the_nonce(console):
    """So there is no token in it, whoever asks."""
    first, second = get_page(console), get_page(console, **{"Authorization": console.http.headers["authorization"]})
    assert first.text.replace(nonce_of(first), "") == second.text.replace(nonce_of(second), "")
    assert console.http.headers["authorization"].split()[1] not in second.text
    assert "{{" not in first.text


def test_the_page_has_nothing_inline_and_nothing_foreign(console):
    text = get_page(console).text
    assert not re.search(r"<script(?![^>]*\bsrc=)", text)
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", text)
    for address in re.findall(r'(?:src|href)="([^"]*)"', text):
        assert address == "data:," or address.removeprefix("console/") in TYPES, address


@pytest.mark.parametrize("name", TYPES)
def test_the_files_of_the_page(console, name):
    response = console.anonymous.get(f"/console/{name}")
    assert response.status_code == 200
    assert response.headers["Content-Type"] == TYPES[name]
    assert response.headers["Content-Security-Policy"] == FILE_POLICY
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Cache-Control"] == "no-cache"
    assert len(response.content) > 300
    assert b"\0" not in response.content
    # Modules name each other by relative paths.
    for imported in re.findall(r"""(?m)^import (?:.* from )?'\./([^']+)'""", response.text):
        assert imported in TYPES


def test_a_file_that_is_known_is_not_sent_again(console):
    first = console.anonymous.get("/console/xterm.mjs")
    etag = first.headers["ETag"]
    assert re.fullmatch(r'"[0-9a-f]{16}"', etag)
    for known in (etag, f"W/{etag}", f'"other", {etag}'):
        again = console.anonymous.get("/console/xterm.mjs", headers={"If-None-Match": known})
        assert again.status_code == 304
        assert again.content == b""
        assert again.headers["ETag"] == etag
    for unknown in ('"other"', "", console.anonymous.get("/console/code.js").headers["ETag"]):
        again = console.anonymous.get("/console/xterm.mjs", headers={"If-None-Match": unknown})
        assert again.status_code == 200
        assert again.content == first.content


def test_a_304_has_no_size_and_ends_its_connection(console):
    """Some clients wait for the content if they are told how long it is, others if the connection goes on."""
    etag = console.anonymous.get("/console/code.js").headers["ETag"]
    with raw.RawConnection(console.port) as connection:
        connection.send(raw.head("GET", "/console/code.js", {"If-None-Match": etag}))
        response = connection.read_response(has_body=False)
        assert response.status_code == 304
        assert response.headers["Connection"] == "close" and "Content-Length" not in response.headers
        with pytest.raises(raw.ConnectionEnded):
            connection.read_response()


@pytest.mark.parametrize(
    "path", ["index.html", "x", "console.js/", "CONSOLE.JS", "..%2fconsole.js", "%2e%2e", "xterm.mjs.map", "x" * 500]
)
def test_other_files_are_404(console, path):
    expect_error(console.anonymous.get(f"/console/{path}"), 404, "NOT_FOUND")


@pytest.mark.parametrize("path, accept", [("/", BROWSER), ("/console/console.js", "*/*"), ("/console/xterm.mjs", "*/*")])
def test_head_is_get_without_the_body(console, path, accept):
    wanted = console.anonymous.get(path, headers={"Accept": accept})
    with raw.RawConnection(console.port) as connection:
        connection.send(raw.head("HEAD", path, {"Accept": accept}) + raw.head("GET", "/ping"))
        response = connection.read_response(has_body=False)
        assert response.status_code == 200
        for name in ("Content-Type", "Content-Length", "Cache-Control"):
            assert response.headers[name] == wanted.headers[name]
        assert connection.read_response().json()["message"] == "pong"


def test_other_methods_are_refused(console):
    expect_error(console.anonymous.post("/console/console.js"), 405, "METHOD_NOT_ALLOWED")
    expect_error(console.anonymous.post("/", headers={"Accept": BROWSER}), 405, "METHOD_NOT_ALLOWED")
