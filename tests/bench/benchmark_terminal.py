# SPDX-License-Identifier: Apache-2.0
"""The benchmark of terminals; docs/BENCHMARKS.md says what each figure means."""

import time
from contextlib import ExitStack, contextmanager
from functools import partial

from report import Row, ratio_row, value_row
from servers import BenchError, Peer
from terminals import BASH, CAT, AgentTerminals, BarePty, FixedTerminals, PeerTerminals, Websocketd
from tools import in_turn

FLOOD_MIB = 50
STALL_LINES = 4_000_000  # of ten bytes: more than all buffers on the way can hold
STALL_S = 30
SETTLE_LIMIT_S = 20


def bench_terminal(b):
    """Keys, floods, stalls and crowds on /terminal, against what other servers do with them."""
    program, reason = Peer.install(b.tools.directory / "peer")
    if not program:
        yield Row("terminal: npm peer", "skipped", note=reason)

    def peer():
        return PeerTerminals(Peer(program, b.tools.directory / "peer" / "home"))

    yield from echo_rows(b, peer if program else None)
    yield from flood_rows(b)
    yield from stall_rows(b, peer if program else None)
    yield from crowd_rows(b, peer if program else None)
    yield from connect_rows(b)


def bare(b, argv):
    return FixedTerminals(BarePty(b.tools.directory / "reference_pty", argv), "plain")


@contextmanager
def running(*sides):
    """The same terminals, once their servers have started."""
    with ExitStack() as stack:
        for side in sides:
            stack.enter_context(side.server)
            side.prepare()
        yield sides if len(sides) > 1 else sides[0]


def echo(b, argv, gap_ms, count, side):
    """The figures of @count keys on a new terminal."""
    with side.open(argv) as paths:
        return b.tools.ws(side, "echo", paths, count, gap_ms=gap_ms, prompt=argv == BASH)


def echo_rows(b, peer):
    """From a key to its echo, as a typist would have it, and as fast as it goes."""
    for argv in (CAT, BASH):
        sides = {"ours": AgentTerminals(b.agent())}
        if argv == CAT:
            sides["websocketd"] = FixedTerminals(Websocketd(argv), "lines")
        if peer:
            sides["npm peer"] = peer()
        sides["bare"] = bare(b, argv)
        with running(*sides.values()):
            for gap_ms, count in ((10, 200), (0, 1000)):
                results = in_turn(b.rounds, *(partial(echo, b, argv, gap_ms, b.few(count), side)
                                              for side in sides.values()))
                results = dict(zip(sides, results))
                for name in list(sides)[1:]:
                    typed = "typed" if gap_ms else "no gap"
                    bars = {"websocketd": 1.0, "npm peer": 0.6} if gap_ms else {}
                    for key, bar in (("p50_us", bars.get(name)), ("p99_us", None)):
                        yield ratio_row(f"key on {argv[0]}, {typed}, / {name}, {key[:3]}", "us",
                                        [figures[key] for figures in results["ours"]],
                                        [figures[key] for figures in results[name]], at_most=bar)


def flood(b, side):
    """MB/s of output, and the processor time in ms that the server itself took for each."""
    with side.open(BASH) as paths, \
            b.tools.ws_stages(side, "flood", paths, FLOOD_MIB, prompt=True) as next_stage:
        next_stage()
        before = side.server.own_cpu_ms()
        figures = next_stage()
        megabytes = figures["bytes"] / 1e6
        return megabytes / figures["seconds"], (side.server.own_cpu_ms() - before) / megabytes


def flood_rows(b):
    """head -c 50M /dev/zero | base64."""
    with running(AgentTerminals(b.agent()), bare(b, BASH)) as sides:
        ours, floor = in_turn(b.rounds, *(partial(flood, b, side) for side in sides))
    yield ratio_row("flood, / bare", "MB/s",
                    *([speed for speed, _ in side] for side in (ours, floor)), at_least=0.95)
    yield ratio_row("flood, server CPU, / bare", "ms/MB",
                    *([cpu for _, cpu in side] for side in (ours, floor)))


def stall(b, side):
    """Resident MB with an idle terminal, while its client does not read, and when it has read all.

    The fourth is an error's text where something was lost. Idle is after the prompt: the libraries'
    code that the first connection needs is in memory by then.
    """
    stall_s = 5 if b.quick else STALL_S
    with running(side):
        idle = stalled = None
        try:
            with side.open(BASH) as paths, \
                    b.tools.ws_stages(side, "stall", paths, STALL_LINES, stall_s,
                                      prompt=True) as next_stage:
                next_stage()
                idle = side.server.own_kb() / 1e3
                next_stage()
                stalled = side.server.own_kb() / 1e3
                next_stage()
                return idle, stalled, side.server.own_kb() / 1e3, None
        except BenchError as e:
            if stalled is None:
                raise
            return idle, stalled, None, str(e)


def stall_rows(b, peer):
    """A client that stops reading under flood, and reads everything in the end."""
    idle, stalled, after, problem = stall(b, AgentTerminals(b.agent()))
    if problem:
        raise BenchError(problem)
    yield value_row("one idle terminal, server's memory", "MB", [idle])
    yield value_row("stalled client, growth while it stalls", "MB", [stalled - idle], at_most=4)
    yield value_row("stalled client, growth after all was read", "MB", [after - idle])
    if peer:
        _, theirs, _, problem = stall(b, peer())
        row = ratio_row("stalled client, server's memory then, / npm peer", "MB", [stalled],
                        [theirs])
        row.note = problem and f"the peer does not deliver everything: {problem}"
        yield row


def crowd(b, argv, count, side):
    """The server's own resident kB without a terminal and with @count of them, and the seconds."""
    with running(side):
        before = side.server.own_kb()
        with side.open(argv, count) as paths, \
                b.tools.ws_stages(side, "idle", paths, count, prompt=argv == BASH) as next_stage:
            figures = next_stage()
            return before, side.server.own_kb(), figures["seconds"]


def crowd_rows(b, peer):
    """Many terminals at once."""
    def per_terminal(side):
        before, after, _ = crowd(b, BASH, 100, side)
        return (after - before) / 100

    ours = per_terminal(AgentTerminals(b.agent()))
    yield ratio_row("100 idle terminals, memory for each, / bare", "kB", [ours],
                    [per_terminal(bare(b, BASH))])
    if peer:
        yield ratio_row("100 idle terminals, memory for each, / npm peer", "kB", [ours],
                        [per_terminal(peer())])

    _, after, seconds = crowd(b, CAT, 200, AgentTerminals(b.agent()))
    _, _, bare_seconds = crowd(b, CAT, 200, bare(b, CAT))
    yield value_row("200 terminals, server's memory", "MB", [after / 1e3], at_most=40)
    yield ratio_row("200 terminals, until each has echoed, / bare", "ms", [seconds * 1e3],
                    [bare_seconds * 1e3])


def settled(server, descriptors, children):
    """What is left once all that is still on its way out has gone, or the time is over."""
    end = time.monotonic() + SETTLE_LIMIT_S
    while True:
        left = server.n_descriptors(), server.n_children()
        if left <= (descriptors, children) or time.monotonic() > end:
            return left
        time.sleep(0.05)


def connect_rows(b):
    """Clients that come and go, every other one without a word."""
    count = 200 if b.quick else 1000
    with running(AgentTerminals(b.agent())) as side, side.open(CAT) as paths:
        descriptors, children = side.server.n_descriptors(), side.server.n_children()
        # What grows only once is filled first, as in bench_memory.
        b.tools.ws(side, "connects", paths, count)
        descriptors, children = settled(side.server, descriptors, children)
        before = side.server.own_kb()
        b.tools.ws(side, "connects", paths, count)
        left = settled(side.server, descriptors, children)
        after = side.server.own_kb()
    name = f"{count:,} connects, half of them cut"
    yield value_row(f"{name}, descriptors left", "", [left[0] - descriptors], at_most=0)
    yield value_row(f"{name}, children left", "", [left[1] - children], at_most=0)
    yield value_row(f"{name}, growth", "kB", [after - before], at_most=256)
