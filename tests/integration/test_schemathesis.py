# SPDX-License-Identifier: Apache-2.0
"""Requests that are made up from the OpenAPI document, and their answers: none is an error of the server, all are
documented, in status, type and form. Longer: ./dev schemathesis 200."""

import copy
import os

import pytest

from lib import contract

EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES") or 0)


def report(done):
    return f"{done.stdout[-20000:]}\n{done.stderr[-5000:]}"


# With a sanitizer it would be the longest test by far; the other tests have most of these requests.
@pytest.mark.plain_build
@pytest.mark.timeout(0 if EXAMPLES else 300)
def test_every_operation_answers_as_it_is_documented(new_agent, tmp_path):
    agent = new_agent(**contract.options())
    done = contract.run(agent, tmp_path, examples=EXAMPLES)
    assert done.returncode == 0, report(done)
    assert agent.is_alive()


def wrong_documents():
    """Documents that this agent does not fulfil, each in one way."""
    spec = contract.document()
    path = "/cache/stats"
    spec["paths"] = {path: spec["paths"][path]}

    undocumented = copy.deepcopy(spec)
    undocumented["paths"][path]["get"]["responses"] = {"404": {"description": "There is none"}}
    other_form = copy.deepcopy(spec)
    form = {"type": "object", "required": ["no_such_member"]}
    other_form["paths"][path]["get"]["responses"]["200"]["content"]["application/json"] = {"schema": form}
    closed = {**copy.deepcopy(spec), "paths": {"/ping": contract.document()["paths"]["/ping"]}}
    closed["paths"]["/ping"]["get"]["security"] = [{"bearer": []}]
    return {"Undocumented status code": undocumented, "violates schema": other_form, "authentication": closed}


@pytest.mark.plain_build
@pytest.mark.parametrize("finding", ["Undocumented status code", "violates schema", "authentication"])
def test_what_is_not_as_documented_is_found(new_agent, tmp_path, finding):
    agent = new_agent(**contract.options())
    done = contract.run(agent, tmp_path, wrong_documents()[finding], arguments=["--phases=examples,coverage"])
    assert done.returncode == 1, report(done)
    assert finding.lower() in done.stdout.lower(), report(done)
