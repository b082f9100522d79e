# SPDX-License-Identifier: Apache-2.0
"""Holds answers against the agent's OpenAPI document, more strictly than the document itself: a field that is not in it
is a finding, too, so no answer has undocumented fields."""

import functools
import json
import re
import subprocess

import jsonschema_rs

JSON = "application/json"
LINES, EVENTS = "application/x-ndjson", "text/event-stream"
ITEMS = (LINES, EVENTS)  # have a schema of each of them
NO_CONTENT = (101, 204, 304)

# What any server may say, about the connection or to browsers and proxies.
COMMON_HEADERS = set(
    "cache-control connection content-length content-security-policy content-type date referrer-policy "
    "sec-websocket-accept sec-websocket-extensions sec-websocket-protocol transfer-encoding upgrade vary "
    "x-accel-buffering x-content-type-options".split()
)


def resolve(document, reference):
    """What "#/components/…" stands for."""
    value = document
    for name in reference.removeprefix("#/").split("/"):
        value = value[name.replace("~1", "/").replace("~0", "~")]
    return value


def closed(document, schema, outer=()):
    """The schema without references, in which objects have the documented fields only."""
    if isinstance(schema, list):
        return [closed(document, item, outer) for item in schema]
    if not isinstance(schema, dict):
        return schema
    reference = schema.get("$ref")
    if reference in outer:
        return {}  # a schema that contains itself; one level of it is checked
    if reference or "allOf" in schema:
        return closed(document, merged(document, schema), (*outer, reference) if reference else outer)
    result = {}
    for name, value in schema.items():
        if name in ("properties", "patternProperties"):
            result[name] = {field: closed(document, inner, outer) for field, inner in value.items()}
        elif name in ("items", "additionalProperties", "anyOf", "oneOf"):
            result[name] = closed(document, value, outer)
        elif name not in ("example", "examples", "description"):
            result[name] = value
    if result.get("properties"):
        result.setdefault("additionalProperties", False)
    return result


def merged(document, schema):
    """One object of what is referred to, those in allOf, and what stands beside them, as none of them could be closed
    alone. Of a field that several have, the last description counts: it is the narrower one."""
    result = {}
    parts = [resolve(document, schema["$ref"])] if "$ref" in schema else []
    beside = {name: value for name, value in schema.items() if name not in ("$ref", "allOf")}
    for part in [*parts, *schema.get("allOf", ()), beside]:
        if "$ref" in part or "allOf" in part:
            part = merged(document, part)
        for name, value in part.items():
            if name == "properties":
                result[name] = {**result.get(name, {}), **value}
            elif name == "required":
                result[name] = [*result.get(name, ()), *value]
            else:
                result[name] = value
    if "required" in result:
        result["required"] = sorted(set(result["required"]))
    return result


def pattern_of(template):
    """The paths that fit "/processes/{id}"."""
    parts = (part if not part.startswith("{") else None for part in re.split(r"(\{[^}]*\})", template))
    return re.compile("".join("[^/]+" if part is None else re.escape(part) for part in parts))


def plain_type(text):
    """A content type without its parameters."""
    return text.split(";")[0].strip().lower()


class Document:
    """An OpenAPI document, and what it says about answers. Schemas are compiled when they are first needed."""

    def __init__(self, document):
        self.document = document
        self.templates = [(pattern_of(path), path) for path in document["paths"] if "{" in path]
        self.find_path = functools.lru_cache(4096)(self._find_path)
        self.content = functools.cache(self._content)
        self.validator = functools.cache(self._validator)
        self.headers = functools.cache(self._headers)
        self.item_validator = functools.cache(self._item_validator)
        self.message_validator = functools.cache(self._message_validator)

    @classmethod
    def of(cls, binary):
        """What the agent prints about itself."""
        text = subprocess.run([binary, "openapi"], check=True, stdout=subprocess.PIPE, timeout=60).stdout
        return cls(json.loads(text))

    def _find_path(self, path):
        if path in self.document["paths"]:
            return path
        return next((template for pattern, template in self.templates if pattern.fullmatch(path)), None)

    def operation(self, method, path):
        """(template, the operation's document), or None for what the agent has no endpoint for."""
        template = self.find_path(path)
        found = template and self.document["paths"][template].get("get" if method == "HEAD" else method.lower())
        return (template, found) if found else None

    def _content(self, method, template, status):
        """What is documented for the status: content type -> its description. None: nothing."""
        found = self.document["paths"][template][method.lower()]["responses"].get(str(status))
        if found is None:
            return None
        response = resolve(self.document, found["$ref"]) if "$ref" in found else found
        return {plain_type(name): content for name, content in response.get("content", {}).items()}

    def _validator(self, method, template, status, content_type):
        return self.compile(self.content(method, template, status)[content_type].get("schema", True))

    def compile(self, schema):
        return jsonschema_rs.Draft202012Validator(closed(self.document, schema), validate_formats=True)

    def answer_findings(self, method, path, status, content_type, body=None):
        """What is wrong with an answer, as sentences. body: the text if all of it is there, and it is JSON."""
        operation = self.operation(method, path)
        if operation is None:
            return []
        method = "GET" if method == "HEAD" else method
        where = f"{method} {operation[0]} {status}"
        content = self.content(method, operation[0], status)
        if content is None:
            return [f"{where}: the status is not documented; the answer was {(body or b'')[:300]!r}"]
        content_type = plain_type(content_type or "")
        if status in NO_CONTENT:
            return []
        if content_type not in content:
            return [f"{where}: {content_type!r} is not documented, only {sorted(content)}"]
        if body is None:
            return []
        return [
            f"{where}: {text}"
            for text in findings(self.validator(method, operation[0], status, content_type), body)
        ]

    def header_findings(self, method, path, status, names):
        """Headers of an answer that was no error which are not documented."""
        operation = self.operation(method, path)
        if operation is None or status >= 400:
            return []
        documented = self.headers("GET" if method == "HEAD" else method, operation[0], status)
        return [
            f"{method} {operation[0]} {status}: the header {name} is not documented"
            for name in map(str.lower, names)
            if name not in documented and name not in COMMON_HEADERS and not name.startswith("access-control-")
        ]

    def _headers(self, method, template, status):
        found = self.document["paths"][template][method.lower()]["responses"].get(str(status), {})
        response = resolve(self.document, found["$ref"]) if "$ref" in found else found
        return {name.lower() for name in response.get("headers", ())}

    def item_findings(self, method, path, status, content_type, text):
        """What is wrong with lines of JSON, or events that have it as their data, as far as they are complete."""
        operation = self.operation(method, path)
        where = (method, operation and operation[0], status)
        content_type = plain_type(content_type)
        if operation is None or content_type not in (self.content(*where) or {}):
            return []  # found already
        lines = text.split(b"\n")[:-1]
        if content_type == EVENTS:
            lines = [line.removeprefix(b"data:") for line in lines if line.startswith(b"data:")]
        validator = self.item_validator(*where, content_type)
        place = f"{method} {operation[0]} {status} {content_type}"
        return [f"{place}: {finding}" for line in lines if line.strip() for finding in findings(validator, line)]

    def _item_validator(self, method, template, status, content_type):
        return self.compile(self.content(method, template, status)[content_type].get("x-item-schema", False))

    def message_schema(self, template, name):
        """Of a message that the agent sends, or None."""
        messages = self.document["paths"][template]["get"]["x-websocket"]["server"]
        return next((message["schema"] for message in messages if message["name"] == name), None)

    def _message_validator(self, template, name):
        schema = self.message_schema(template, name)
        return schema and self.compile(schema)

    def message_findings(self, path, text):
        """What is wrong with a message that the agent has sent."""
        operation = self.operation("GET", path)
        if operation is None or "x-websocket" not in operation[1]:
            return []
        name = json.loads(text).get("type")
        where = f"{operation[0]} {name!r}"
        validator = self.message_validator(operation[0], name)
        if validator is None:
            return [f"{where}: the message is not documented: {text[:300]}"]
        return [f"{where}: {finding}" for finding in findings(validator, text)]


def findings(validator, text):
    """What is wrong with a JSON text."""
    try:
        value = json.loads(text)
    except ValueError as error:
        return [f"{error} in {text[:300]!r}"]
    if validator.is_valid(value):
        return []
    return [
        f"/{'/'.join(map(str, error.instance_path))}: {error.message[:400]}" for error in validator.iter_errors(value)
    ]
