# SPDX-License-Identifier: Apache-2.0
"""GET /metrics/prometheus: the formats, and whether the numbers are true."""

import subprocess

import pytest

from lib import jobs, metrics, tokens, webhooks
from lib.expect import expect_error, expect_json
from lib.metrics import expect_changes
from lib.stream import CODE, COMMANDS, Stream
from lib.waiting import wait_until

PATH = "/metrics/prometheus"
TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
# What Prometheus 2.50 and 3.0 send.
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.fixture(scope="module")
def used_agent(agent):
    """With something in most of its numbers."""
    agent.run("true")
    agent.execute("print(1)", cache=True)
    agent.http.get("/no/such")
    agent.anonymous.get("/metrics")
    with Stream(agent, COMMANDS) as stream:
        stream.execute(command="true")
        stream.finish()
    return agent


@pytest.mark.smoke
@pytest.mark.parametrize(
    "accept, wanted",
    [
        (None, TEXT),
        ("*/*", TEXT),
        ("text/plain", TEXT),
        ("application/json", TEXT),
        ("application/openmetrics-text", OPENMETRICS),
        ("application/openmetrics-text; q=0", TEXT),
        ("text/plain;q=0.5, application/openmetrics-text;q=0.4", TEXT),
        (PROMETHEUS_2, OPENMETRICS),
        (PROMETHEUS_3, OPENMETRICS),
    ],
)
def test_the_format_is_chosen_by_accept(agent, accept, wanted):
    response = agent.http.get(PATH, headers={"Accept": accept} if accept else {})
    assert response.status_code == 200
    assert response.headers["Content-Type"] == wanted
    assert "Accept" in response.headers["Vary"]
    assert response.text.endswith("# EOF\n") == (wanted == OPENMETRICS)


def test_promtool_has_no_complaint(used_agent):
    tool = metrics.promtool()
    if not tool:
        assert not metrics.is_debian(), "no promtool: ./dev test unpacks it from the package prometheus into .dev/"
        pytest.skip("no promtool, and no Debian that has it")
    text = used_agent.http.get(PATH).content
    done = subprocess.run([tool, "check", "metrics"], input=text, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_openmetrics_says_what_each_family_is(used_agent):
    found = metrics.families(used_agent)
    assert found["build"].type == "info"
    (info,) = found["build"].samples
    version = used_agent.http.get("/info").json()["agent_version"]
    assert (info.name, info.labels) == ("vm_agent_build_info", {"version": version})
    assert found["http_requests"].type == "counter" and found["loop_lag_seconds"].type == "histogram"
    for name, family in found.items():
        assert family.documentation.endswith("."), name
        if family.unit:
            assert name.endswith(f"_{family.unit}") and family.unit in ("seconds", "bytes", "ratio")
        assert not any(ending in name for ending in ("_ms", "_milliseconds", "_percent", "_mb", "_kb")), name


def test_histograms_are_cumulative(used_agent):
    for name in ("http_request_duration_seconds", "execution_duration_seconds", "loop_lag_seconds"):
        series = {}
        for sample in metrics.families(used_agent)[name].samples:
            labels = tuple(value for label, value in sample.labels.items() if label != "le")
            series.setdefault(labels, []).append(sample)
        assert series
        for samples in series.values():
            buckets = [s for s in samples if s.name.endswith("_bucket")]
            counts = [s.value for s in buckets]
            bounds = [float(s.labels["le"]) for s in buckets]
            assert counts == sorted(counts) and bounds == sorted(set(bounds)) and bounds[-1] == float("inf")
            assert counts[-1] == next(s.value for s in samples if s.name.endswith("_count"))


def test_both_formats_say_the_same(used_agent):
    """But for what goes on meanwhile, of which the names are the same all the same."""
    names = [
        {line.split("{")[0].split(" ")[0] for line in text.splitlines() if not line.startswith("#")}
        for text in (
            used_agent.http.get(PATH).text,
            used_agent.http.get(PATH, headers=metrics.OPENMETRICS).text,
        )
    ]
    assert names[0] == names[1] and len(names[0]) > 50


# Truth


@pytest.fixture
def receiver():
    receiver = webhooks.Receiver()
    yield receiver
    receiver.close()


@pytest.mark.parametrize(
    "fields, outcome",
    [
        ({"code": "print(1)"}, "success"),
        ({"code": "raise SystemExit(3)"}, "error"),
        ({"code": "import os; os.kill(os.getpid(), 9)"}, "signal"),
        ({"code": "import time; time.sleep(100)", "timeout": 0.1}, "timeout"),
        ({"code": "while True: pass", "cpu_seconds": 1}, "cpu_limit"),
        ({"code": "print(1)", "workdir": "/no/such"}, "not_started"),
    ],
)
def test_executions_by_outcome(agent, fields, outcome):
    with expect_changes(agent, "executions_total", {("python", "sync", outcome): 1}):
        agent.http.post("/execute", json={"language": "python", **fields})


def test_executions_by_language_and_mode(agent):
    wanted = {
        ("bash", "sync", "success"): 1,
        ("command", "sync", "error"): 1,
        ("python", "stream", "success"): 1,
        ("command", "stream", "error"): 1,
        ("bash", "background", "success"): 1,
        ("command", "background", "error"): 1,
        ("command", "background", "killed"): 1,
        ("command", "background", "timeout"): 1,
        ("python", "background", "not_started"): 1,
    }
    with expect_changes(agent, "executions_total", wanted):
        agent.execute("true", "bash")
        agent.run("false")
        for path, message in ((CODE, {"code": "1"}), (COMMANDS, {"command": "false"})):
            with Stream(agent, path) as stream:
                stream.execute(**message)
                stream.finish()
        post = agent.http.post
        post("/execute/background", json={"code": "true", "language": "bash"})
        post("/commands/background", json={"command": "false"})
        post("/commands/background", json={"command": "sleep 100", "timeout": 0.1})
        post("/execute/background", json={"code": "1", "language": "python", "workdir": "/no/such"})
        running = expect_json(post("/commands/background", json={"command": "sleep 100"}))["process_id"]
        wait_until(lambda: jobs_status(agent, running) == "running", "the job")
        post(f"/execute/kill/{running}", json={"grace": 0})


def test_what_is_refused_was_no_execution(new_agent):
    agent = new_agent(max_processes=1)
    wanted = {("bash", "sync", "refused"): 1, ("python", "stream", "refused"): 1}
    with Stream(agent, COMMANDS) as running:
        running.execute(command="echo on; read line")
        running.read_until("on\n")
        before = metrics.snapshot(agent)
        with expect_changes(agent, "executions_total", wanted):
            expect_error(agent.execute("true", "bash"), 429, "RATE_LIMIT_EXCEEDED")
            with Stream(agent, CODE) as refused:
                refused.execute(code="1")
                assert refused.receive()["type"] == "error"
        after = metrics.snapshot(agent)
        assert (before["active_executions"], after["active_executions"]) == (1, 1)
        assert after["total_executions"] == before["total_executions"]
        assert after["executions"]["bash"]["outcomes"] == {"refused": 1}


def jobs_status(agent, process_id):
    document = expect_json(agent.http.get(f"/execute/processes/{process_id}"))
    jobs.expect_job(document)
    return document["status"]


def test_a_client_that_leaves_has_its_execution_killed(agent):
    with expect_changes(agent, "executions_total", {("command", "stream", "killed"): 1}):
        with Stream(agent, COMMANDS) as stream:
            stream.execute(command="echo on; sleep 100")
            stream.read_until("on\n")


def test_durations_are_those_of_the_executions(agent):
    def of_bash():
        found = metrics.samples(agent)
        return [found["execution_duration_seconds" + part, "bash"] for part in ("_sum", "_count")]

    before = of_bash()
    took = sum(
        expect_json(agent.execute(f"sleep {s}", "bash"))["execution_time"] for s in (0.05, 0.1)
    )
    after = of_bash()
    assert after[1] - before[1] == 2
    assert after[0] - before[0] == pytest.approx(took, abs=0.01)


def test_requests_by_route_and_status(agent):
    wanted = {("POST", "/commands/run", "2xx"): 3, ("POST", "/commands/run", "4xx"): 1, ("", "", "4xx"): 1}
    with expect_changes(agent, "http_requests_total", wanted | {("GET", PATH, "2xx"): 1}):
        for _ in range(3):
            agent.run("true")
        agent.http.post("/commands/run", json={})
        agent.http.get("/no/such/\"route\"\\")


def test_bytes_by_route(agent):
    code = "print('x' * 100000)" + " " * 5000
    before = metrics.samples(agent)
    response = agent.execute(code)
    after = metrics.samples(agent)
    received = metrics.changes(before, after, "http_received_bytes_total")["POST", "/execute"]
    assert received == len(response.request.content) > 5000
    sent = metrics.changes(before, after, "http_sent_bytes_total")["POST", "/execute"]
    assert sent == len(response.content) > 100000


def test_refused_tokens(agent):
    with expect_changes(agent, "http_refused_tokens_total", {(): 3}):
        agent.anonymous.get("/metrics")
        agent.anonymous.get("/metrics", headers={"Authorization": "Bearer no.such.token"})
        agent.anonymous.get("/metrics", headers=tokens.bearer(tokens.token("another secret of thirty-two bytes")))
        agent.anonymous.get("/ping")


def test_rate_limited_requests(new_agent):
    agent = new_agent(rate_limit=200)
    other = tokens.bearer(tokens.token(sub="another"))
    statuses = [agent.anonymous.get("/env", headers=other).status_code for _ in range(210)]
    assert statuses.count(429) > 0
    assert metrics.samples(agent)["http_rate_limited_requests_total",] == statuses.count(429)


def test_cache_and_warm_pools(new_agent):
    agent = new_agent()
    before = metrics.samples(agent)
    for _ in range(3):
        expect_json(agent.execute("print(7)", cache=True))
    after = metrics.samples(agent)
    assert metrics.changes(before, after, "cache_hits_total") == {(): 2}
    assert metrics.changes(before, after, "cache_misses_total") == {(): 1}
    assert after["cache_entries",] == 1 and after["cache_size_bytes",] > 0
    tried = sum(
        sum(metrics.changes(before, after, name).values()) for name in ("warm_hits_total", "warm_misses_total")
    )
    assert tried == 1
    described = metrics.snapshot(agent)["agent"]["warm"]
    for pool, values in described.items():
        assert after["warm_hits_total", pool] == values["hits"]
        assert {key[2]: n for key, n in after.items() if key[:2] == ("warm_misses_total", pool)} == values["misses"]


def test_webhooks_by_outcome(new_agent, receiver):
    agent = new_agent(webhook_max_tries=1, webhook_deny="::1/128", webhook_allow=["127.0.0.0/8", "localhost"])
    with expect_changes(agent, "webhooks_total", {("delivered",): 2, ("failed",): 1}):
        for path in ("/ok", "/ok", "/status/400"):
            webhooks.start(agent, receiver.url(path))
    assert metrics.snapshot(agent)["agent"]["webhooks_delivered"] == 2


def test_terminals_and_websockets(agent):
    with expect_changes(agent, "terminals_total", {(): 1}), expect_changes(agent, "websockets_total", {(): 2}):
        for path in (COMMANDS, "/terminal"):
            with Stream(agent, path):
                pass
    with expect_changes(agent, "websocket_received_bytes_total", {(): len('{"type": "ping"}')}):
        with Stream(agent, COMMANDS) as stream:
            stream.send(type="ping")
            assert stream.receive()["type"] == "pong"
    with Stream(agent, COMMANDS):
        wait_until(lambda: metrics.samples(agent)["open_websockets",] == 1, "the WebSocket")


def test_a_token_is_needed(agent):
    expect_error(agent.anonymous.get(PATH), 401, "AUTHENTICATION_REQUIRED")
