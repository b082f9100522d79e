# SPDX-License-Identifier: Apache-2.0
"""Rich output: writing it without a driver's help, and what an answer that has some must look like."""

import json

# Python that writes lines to the driver's own descriptor, whatever they are.
PUT = """
import json, os
def write(data):
    while data:
        data = data[os.write(4, data):]
def put(**line):
    write(json.dumps(line).encode() + b"\\n")
def show(type, data, format="text"):
    put(type=type, format=format, data=data)
"""

PNG = "iVBORw0KGgo="

SINGLES = {
    "image/png": ["png"],
    "text/html": ["html"],
    "application/json": ["json", "json_output", "jsonOutput"],
    "image/svg+xml": ["svg"],
    "text/markdown": ["markdown"],
    "application/vnd.dataframe+json": ["dataframe"],
}


def code(text):
    return PUT + text


def run(agent, text, path="/execute", **fields):
    """The answer to Python with put(), show() and write()."""
    response = agent.http.post(path, json={"code": code(text), "language": "python", **fields})
    return response.json() if response.status_code == 200 else response.text


def data_of(document):
    return [output["data"] for output in document["rich_outputs"]]


def expect_singles(document):
    """The last output of each type is there by name, and nothing else is."""
    last = {output["type"]: output["data"] for output in document["rich_outputs"]}
    for type, names in SINGLES.items():
        for name in names:
            assert (name in document) == (type in last), (name, sorted(document))
            assert document.get(name) == last.get(type)


def facts(document):
    """What an answer says of rich output, in a form that two answers can be compared in."""
    names = ["rich_outputs", "rich_truncated", "rich_dropped", "result", *sum(SINGLES.values(), [])]
    return json.dumps({name: document[name] for name in names if name in document}, sort_keys=True)
