# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document: it is valid, its examples fit, it is complete, and the agent serves it."""

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import OpenAPIV31SpecValidator

from lib import contract
from lib.agent import BINARY, base_environment
from lib.expect import expect_error

PATH = "/openapi.json"
METHODS = ("get", "post", "put", "patch", "delete")


@pytest.fixture(scope="module")
def spec():
    return contract.document()


def operations(spec):
    return [(method, path, row) for path, item in spec["paths"].items() for method, row in item.items()]


def resolve(spec, value):
    while "$ref" in value:
        parts = value["$ref"].removeprefix("#/").split("/")
        value = spec
        for part in parts:
            value = value[part]
    return value


def test_it_is_valid(spec):
    assert [error.message for error in OpenAPIV31SpecValidator(spec).iter_errors()] == []
    assert spec["openapi"].startswith("3.1.")


def test_it_has_all_routes_and_no_more(spec):
    done = subprocess.run(
        [str(BINARY), "routes"], env=base_environment(), capture_output=True, text=True, timeout=60, check=True
    )
    rows = {tuple(line.split()[:2]): line.split()[2] for line in done.stdout.splitlines()}
    documented = {(method.upper(), path): row for method, path, row in operations(spec)}
    assert documented.keys() == rows.keys()
    for place, row in documented.items():
        needs_token = bool(row["security"]) and {} not in row["security"]
        assert needs_token == (rows[place] == "jwt"), place
        assert ("401" in row["responses"]) == bool(row["security"]), place


def test_every_operation_says_what_it_is(spec):
    rows = operations(spec)
    tags = {tag["name"] for tag in spec["tags"]}
    assert len({row["operationId"] for _, _, row in rows}) == len(rows)
    for method, path, row in rows:
        assert method in METHODS
        assert row["summary"] and len(row["tags"]) == 1 and set(row["tags"]) <= tags, path
        named = {p["name"] for p in (resolve(spec, p) for p in row["parameters"]) if p["in"] == "path"}
        assert named == set(re.findall(r"{(\w+)}", path)), path
        assert any(status < "400" for status in row["responses"]), path


def examples(spec):
    """(place, schema, example) of everything that has one."""
    for method, path, row in operations(spec):
        place = f"{method} {path}"
        for parameter in (resolve(spec, p) for p in row["parameters"]):
            if "example" in parameter:
                yield f"{place} {parameter['name']}", parameter["schema"], parameter["example"]
        answers = {status: resolve(spec, answer) for status, answer in row["responses"].items()}
        for name, part in {"body": row.get("requestBody", {}), **answers}.items():
            for media in part.get("content", {}).values():
                values = [media["example"]] if "example" in media else []
                values += [example["value"] for example in media.get("examples", {}).values()]
                yield from ((f"{place} {name}", media["schema"], value) for value in values)


def test_examples_fit_their_schemas(spec):
    validators, findings, count = {}, [], 0
    for place, schema, example in examples(spec):
        key = repr(schema)
        if key not in validators:
            whole = {"components": spec["components"], "allOf": [schema]}
            validators[key] = Draft202012Validator(whole, format_checker=FormatChecker())
        findings += [f"{place}: {error.message}" for error in validators[key].iter_errors(example)]
        count += 1
    assert findings == []
    assert count > 200


def test_errors_name_their_codes(spec):
    everything = set(spec["components"]["schemas"]["Error"]["properties"]["code"]["enum"])
    for name, answer in spec["components"]["responses"].items():
        media = answer["content"]["application/json"]
        codes = media["schema"]["properties"]["code"]["enum"]
        assert codes and set(codes) <= everything, name
        assert set(media["examples"]) == set(codes), name


def test_types_limits_and_defaults_are_those_of_the_arguments(spec):
    body = spec["components"]["schemas"]["ExecuteRequest"]
    fields = body["properties"]
    assert body["required"] == ["code"]
    assert fields["code"]["type"] == "string"
    assert fields["timeout"]["type"] == ["number", "null"]
    assert fields["timeout"]["default"] == 60 and fields["timeout"]["minimum"] == 0.001
    assert fields["language"]["default"] == "python" and {"bash", None} <= set(fields["language"]["enum"])
    assert fields["memory_mb"]["minimum"] == 16 and "default" not in fields["memory_mb"]
    assert fields["env"]["propertyNames"] == {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}
    assert "workdir" in fields["working_dir"]["description"]


def test_it_is_served(agent, spec):
    first = agent.anonymous.get(PATH)
    assert first.status_code == 200
    assert first.headers["Content-Type"] == "application/json"
    assert first.json() == spec
    again = agent.anonymous.get(PATH)
    assert again.content == first.content and again.headers["ETag"] == first.headers["ETag"]
    head = agent.anonymous.head(PATH)
    assert head.headers["Content-Length"] == str(len(first.content)) and not head.content


def test_who_has_it_gets_none(agent):
    etag = agent.anonymous.get(PATH).headers["ETag"]
    for known in (etag, f'"other", {etag}', "*"):
        response = agent.anonymous.get(PATH, headers={"If-None-Match": known})
        assert response.status_code == 304 and not response.content
        assert response.headers["ETag"] == etag
    assert agent.anonymous.get(PATH, headers={"If-None-Match": '"other"'}).status_code == 200


def test_it_is_as_open_as_info(new_agent):
    agent = new_agent(public_info="false")
    expect_error(agent.anonymous.get(PATH), 401, "AUTHENTICATION_REQUIRED")
    assert agent.http.get(PATH).status_code == 200


def test_who_comes_first_comes_together(new_agent):
    """Requests that come before it is made wait for it."""
    agent = new_agent()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: httpx.get(agent.url + PATH, timeout=60), range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
