# SPDX-License-Identifier: Apache-2.0
"""What the agent counts, as JSON and as Prometheus collects it."""

import contextlib
import shutil
from pathlib import Path

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from lib.agent import ROOT
from lib.expect import expect_json
from lib.waiting import wait_until

OPENMETRICS = {"Accept": "application/openmetrics-text"}
PREFIX = "vm_agent_"


def snapshot(agent, path="/metrics/snapshot"):
    return expect_json(agent.http.get(path))


def families(agent):
    """The families of the OpenMetrics answer, by name without the prefix."""
    response = agent.http.get("/metrics/prometheus", headers=OPENMETRICS)
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    found = {family.name: family for family in text_string_to_metric_families(response.text)}
    assert all(name.startswith(PREFIX) for name in found), list(found)
    return {name.removeprefix(PREFIX): family for name, family in found.items()}


def samples(agent):
    """Values by name without the prefix, and the values of its labels, in order: ("executions_total", "go", …)."""
    return {
        (sample.name.removeprefix(PREFIX), *sample.labels.values()): sample.value
        for family in families(agent).values()
        for sample in family.samples
    }


def changes(before, after, name):
    """By how much the samples of a name have changed: those that have, by the values of their labels."""
    return {
        key[1:]: after[key] - before.get(key, 0)
        for key in after
        if key[0] == name and after[key] != before.get(key, 0)
    }


@contextlib.contextmanager
def expect_changes(agent, name, wanted):
    """What happens inside changes the samples of this name like this, and no others of it."""
    before = samples(agent)
    yield
    last = {}

    def is_there():
        last["is"] = changes(before, samples(agent), name)
        return last["is"] == wanted

    wait_until(is_there, lambda: f"{name}: {last['is']} instead of {wanted}")


def promtool():
    """Its path; None: there is none."""
    return shutil.which("promtool") or shutil.which(str(ROOT / ".dev" / "prometheus" / "usr" / "bin" / "promtool"))


def is_debian():
    return Path("/etc/debian_version").exists()
