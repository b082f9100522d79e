# SPDX-License-Identifier: Apache-2.0
"""The fixtures: one agent per file for what needs no special options, and a maker for the rest."""

import signal

import httpx
import pytest

from lib import answers, economy
from lib.agent import BINARY, Agent
from lib.waiting import is_plain_build, wrapper


def pytest_configure():
    # Shells start what runs in the background without it, and all that is started here would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    economy.return_freed_memory()
    economy.load_authorities_once()
    if not BINARY.is_file():
        pytest.exit(f"{BINARY} is missing: build it first, or set AGENT_BINARY", returncode=2)
    answers.watch()


def pytest_report_header():
    return f"agent: {BINARY}, wrapper: {wrapper()}"


def pytest_collection_modifyitems(items):
    if is_plain_build():
        return
    skip = pytest.mark.skip(reason="meaningless with a sanitizer or under valgrind")
    for item in items:
        if "plain_build" in item.keywords:
            item.add_marker(skip)


def pytest_collection_finish():
    economy.keep_what_there_is()


@pytest.fixture(scope="module", autouse=True)
def no_garbage():
    """Of a file's tests, when they are over."""
    yield
    economy.forget_garbage()


def fail_undocumented(report):
    found = answers.take_findings()
    if not found:
        return
    text = "\n".join(["answers that are not as the OpenAPI document has them:", *found])
    if report.passed:
        report.outcome = "failed"
        report.longrepr = text
    else:
        report.sections.append(("undocumented answers", text))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Fails what got an answer that is not as documented, and adds the end of the agents' logs to a failure's report."""
    report = (yield).get_result()
    fail_undocumented(report)
    if report.failed:
        for name in ("agent", "new_agent"):
            value = item.funcargs.get(name)
            for agent in getattr(value, "agents", [value] if isinstance(value, Agent) else []):
                try:
                    report.sections.append((f"log of {agent.url}", agent.log_tail()))
                except FileNotFoundError:
                    pass


@pytest.fixture(scope="module")
def agent():
    """An agent with the default options, shared by the tests of a file."""
    agent = Agent()
    yield agent
    agent.close()


@pytest.fixture(autouse=True)
def agent_stays_alive(request):
    """Whatever a test sends, the agent is still there afterwards, unless it was stopped on purpose."""
    agent = request.getfixturevalue("agent") if "agent" in request.fixturenames else None
    yield
    if agent and not agent.is_closed:
        assert agent.is_alive(), f"the agent ended with {agent.process.returncode}\n{agent.log_tail()}"


@pytest.fixture
def new_agent():
    """new_agent(option=value, …) starts an agent for this test alone."""

    def start(**options):
        agent = Agent(**options)
        start.agents.append(agent)
        return agent

    start.agents = []
    yield start
    failures = []
    for agent in reversed(start.agents):
        try:
            agent.close()
        except (AssertionError, httpx.HTTPError) as error:
            failures.append(f"{type(error).__name__}: {error}")
    assert not failures, "\n".join(failures)
