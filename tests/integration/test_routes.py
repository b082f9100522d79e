# SPDX-License-Identifier: Apache-2.0
"""The route table as `vm-agent routes` prints it: what is open is exactly what was reviewed."""

import subprocess

import pytest

from lib.agent import BINARY, base_environment
from lib.expect import expect_error

REVIEWED_OPEN_ROUTES = {
    ("GET", "/"),
    ("GET", "/ping"),
    ("GET", "/health"),
    ("GET", "/info"),
    ("GET", "/openapi.json"),
    ("GET", "/system"),
    ("GET", "/console/{file}"),  # there is none unless the console is on
}


def routes():
    done = subprocess.run(
        [str(BINARY), "routes"], env=base_environment(), capture_output=True, text=True, timeout=60, check=True
    )
    rows = [tuple(line.split()) for line in done.stdout.splitlines()]
    assert rows and all(len(row) == 3 for row in rows), done.stdout
    return rows


def test_the_table_is_well_formed():
    rows = routes()
    assert len({row[:2] for row in rows}) == len(rows)
    assert {row[0] for row in rows} <= {"GET", "POST", "PUT", "PATCH", "DELETE"}
    assert {row[2] for row in rows} <= {"jwt", "open"}
    wanted = {("POST", "/execute"), ("POST", "/commands/run"), ("GET", "/metrics/snapshot"), ("GET", "/terminal")}
    assert wanted <= {row[:2] for row in rows}


def test_exactly_the_reviewed_routes_are_open():
    assert {row[:2] for row in routes() if row[2] == "open"} == REVIEWED_OPEN_ROUTES


@pytest.mark.smoke
def test_every_other_route_wants_a_token(agent):
    for method, pattern, _ in routes():
        path = pattern.replace("{", "").replace("}", "")
        response = agent.anonymous.request(method, path)
        if pattern == "/console/{file}":
            expect_error(response, 404, "NOT_FOUND")
        elif (method, pattern) in REVIEWED_OPEN_ROUTES:
            assert response.status_code == 200, path
        else:
            expect_error(response, 401, "AUTHENTICATION_REQUIRED")


def test_info_lists_the_same_routes(agent):
    listed = set(agent.anonymous.get("/info").json()["endpoints"].values())
    assert listed == {f"{method} {path}" for method, path, _ in routes()}
