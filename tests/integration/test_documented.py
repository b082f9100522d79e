# SPDX-License-Identifier: Apache-2.0
"""The check of all answers against the OpenAPI document, by answers that are not as they should be."""

import threading

import httpx
import pytest

from lib import answers
from lib.openapi import Document

PATH = "/files/exists"
GOOD = '{"exists":true,"path":"a","is_directory":false,"is_dir":false}'
ERROR = '{"error":"no","message":"no","code":"%s","request_id":"req_1","timestamp":"2026-01-15T10:30:00.123Z"}'

WRONG = {
    "a field is missing": (PATH, 200, "application/json", '{"exists":true,"path":"a","is_dir":false}', "is_directory"),
    "a field is another type": (PATH, 200, "application/json", GOOD.replace("true", '"yes"'), "/exists"),
    "a field is not documented": (PATH, 200, "application/json", GOOD.replace("{", '{"more":1,'), "more"),
    "a value is not documented": (PATH, 200, "application/json", GOOD.replace("{", '{"reason":"X",'), "/reason"),
    "no JSON": (PATH, 200, "application/json", "{", "Expecting"),
    "the content type": (PATH, 200, "text/html", None, "'text/html' is not documented"),
    "no content type": (PATH, 200, None, None, "'' is not documented"),
    "the status": (PATH, 418, "application/json", GOOD, "the status is not documented"),
    "the code": (PATH, 404, "application/json", ERROR % "TERMINAL_NOT_FOUND", "/code"),
    "a path with parameters": ("/execute/processes/x/wait", 418, "application/json", "{}", "not documented"),
}


@pytest.fixture(scope="module")
def document():
    return answers.document()


def test_what_is_right_is_no_finding(document):
    assert document.answer_findings("GET", PATH, 200, "application/json", GOOD) == []
    assert document.answer_findings("GET", PATH, 200, "application/json; charset=utf-8", GOOD) == []
    assert document.answer_findings("GET", PATH, 404, "application/json", ERROR % "FILE_NOT_FOUND") == []
    assert document.answer_findings("HEAD", PATH, 200, "application/json") == []
    assert document.answer_findings("GET", "/no/such/path", 404, "application/json", "{}") == []
    assert document.answer_findings("POST", PATH, 405, "application/json", "{}") == []


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_found(document, name):
    path, status, content_type, body, expected = WRONG[name]
    found = document.answer_findings("GET", path, status, content_type, body)
    assert len(found) == 1 and expected in found[0] and found[0].startswith("GET /"), found


def test_messages(document):
    good = '{"type":"overflow","event":"overflow","path":"/a","timestamp":"2026-01-15T10:30:00.123Z"}'
    assert document.message_findings("/files/watch", good) == []
    for text, expected in (
        (good.replace('"overflow",', '"overflowing",', 1), "not documented"),
        (good.replace("}", ',"more":1}'), "more"),
        (good.replace('"path":"/a",', ""), "path"),
        (good.replace("2026", "20x6"), "/timestamp"),
    ):
        found = document.message_findings("/files/watch", text)
        assert len(found) == 1 and expected in found[0], found


OUTPUT = "/execute/processes/x/output"
LAST = (
    b'{"type":"end","status":"completed","exit_code":0,"reason":"exit","next_offset":{"stdout":0,"stderr":0},'
    b'"timestamp":"2026-01-15T10:30:00.123Z"}'
)


def test_lines_and_events(document):
    def found(text, content_type="application/x-ndjson"):
        return document.item_findings("GET", OUTPUT, 200, content_type, text)

    assert found(b"\n" + LAST + b'\n{"half') == []
    assert found(b": heartbeat\n\nid: 0,0\ndata: " + LAST + b"\n\n", "text/event-stream") == []
    for line in (b"x", b"{}", LAST.replace(b"{", b'{"more":1,', 1)):
        assert found(line + b"\n") and found(b"data: " + line + b"\n", "text/event-stream"), line


def test_headers(document):
    assert document.header_findings("GET", OUTPUT, 200, ["Date", "X-Next-Offset", "x-request-id"]) == []
    assert document.header_findings("HEAD", OUTPUT, 404, ["X-Other"]) == []
    assert len(document.header_findings("GET", OUTPUT, 200, ["X-Next-Offset", "X-Other"])) == 1


def small_document(schema):
    content = {"application/json": {"schema": schema}}
    components = {
        "Base": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
        "Tree": {
            "type": "object",
            "properties": {"children": {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}}},
        },
    }
    return Document(
        {"paths": {"/x": {"get": {"responses": {"200": {"content": content}}}}}, "components": {"schemas": components}}
    )


def test_composed_schemas_are_closed_as_a_whole():
    narrower = {"type": "object", "properties": {"a": {"enum": ["1"]}, "b": {"type": "integer"}}}
    base = {"$ref": "#/components/schemas/Base"}
    for schema in ({"allOf": [base, narrower]}, {**base, **narrower}):
        document = small_document(schema)
        assert document.answer_findings("GET", "/x", 200, "application/json", '{"a":"1","b":1}') == []
        for text in ('{"a":"2"}', '{"b":1}', '{"a":"1","c":1}'):
            assert len(document.answer_findings("GET", "/x", 200, "application/json", text)) == 1, text


def test_a_schema_may_contain_itself():
    document = small_document({"$ref": "#/components/schemas/Tree"})
    assert document.answer_findings("GET", "/x", 200, "application/json", '{"children":[{"children":[]}]}') == []
    assert len(document.answer_findings("GET", "/x", 200, "application/json", '{"children":[],"c":1}')) == 1


def test_every_client_is_watched(agent, monkeypatch):
    """Those of threads and of other libraries, too; and streams when they have been read."""
    seen = []
    monkeypatch.setattr(answers.Document, "answer_findings", lambda _, *answer: seen.append(answer) or [])
    headers = agent.http.headers
    thread = threading.Thread(target=httpx.get, args=(f"{agent.url}/health",))
    thread.start()
    thread.join()
    with httpx.stream("GET", f"{agent.url}{PATH}?path=.", headers=headers) as response:
        assert len(seen) == 1
        response.read()
    agent.http.head(PATH, params={"path": "."})
    assert [(method, path, status) for method, path, status, *_ in seen] == [
        ("GET", "/health", 200),
        ("GET", PATH, 200),
        ("HEAD", PATH, 200),
    ]
    assert seen[1][4].startswith(b'{"exists":true') and seen[2][4] is None


def test_names_in_paths_may_have_slashes(agent, monkeypatch):
    seen = []
    monkeypatch.setattr(answers.Document, "answer_findings", lambda _, *answer: seen.append(answer[:3]) or [])
    agent.http.delete("/env/a%2Fb?x=/y")
    assert len(seen) == 1 and answers.document().operation(*seen[0][:2])[0] == "/env/{key}"


def test_streams_are_watched(agent):
    """Even if they are left before their end."""
    compile_schema = answers.document().compile
    answers.document().item_validator.cache_clear()
    try:
        answers.document().compile = lambda _: compile_schema(False)
        with agent.http.stream("GET", "/metrics/stream", params={"interval": 1}) as response:
            assert any(line.startswith("data:") for line in response.iter_lines())
    finally:
        del answers.document().compile
        answers.document().item_validator.cache_clear()
    assert any("/metrics/stream 200 text/event-stream" in finding for finding in answers.take_findings())


def test_other_servers_are_not_watched(monkeypatch):
    monkeypatch.setattr(answers, "Reader", None)
    assert not answers.is_agents(httpx.Response(200))
    with pytest.raises(httpx.ConnectError):
        httpx.get("http://127.0.0.1:1/health")


def test_a_finding_is_noted_once():
    answers.note(["one", "two", "one"])
    assert answers.take_findings() == ["one", "two"]
    assert answers.take_findings() == []
