"""DAM's graphs against DAM's rules, evaluated unit by unit, for random timing.

The programs below are those of DAM's units, as in its own source: each has a clock, waits by yielding, and works on
FIFOs of token times. They share nothing with the simulator: no firing tables, no recurrence over firings. Rules:
https://github.com/stanford-ppl/DAM-RS, ``src/channel`` and ``src/view`` (master 8771934); units:
pyprogrammer/dam-experiments 50cdc3e and branch gina of DAM-RS (7163665).
"""

from dataclasses import fields

from hypothesis import given, settings
from hypothesis import strategies as st

from algorithms.registry import get_algorithm
from algorithms.workload.shape import Workload
from simulator import simulate


class Channel:
    """A FIFO: times of its tokens, and times at which its slots were given back."""

    def __init__(self, depth, latency, response_latency):
        self.depth, self.latency, self.response_latency = depth, latency, response_latency
        self.tokens, self.responses = [], []
        self.taken = 0


class Unit:
    """Clock and timing of one unit; the operations are DAM's."""

    def __init__(self, latency=1, ii=1, row=0, start=0):
        self.t, self.latency, self.ii, self.row, self.start = 0, latency, ii, row, start

    def peek(self, channel):
        while len(channel.tokens) <= channel.taken:
            yield
        self.t = max(self.t, channel.tokens[channel.taken])

    def dequeue(self, channel):
        yield from self.peek(channel)
        channel.responses.append(self.t + channel.response_latency)
        channel.taken += 1

    def slot(self, channel):
        index = len(channel.tokens) - channel.depth if channel.depth else -1
        while index >= len(channel.responses):
            yield
        if index >= 0:
            self.t = max(self.t, channel.responses[index])

    def enqueue(self, channel, request):
        yield from self.slot(channel)
        channel.tokens.append(max(request, self.t + channel.latency))

    def broadcast(self, channels):
        """Wait for all, then send to all."""
        request = self.t + self.latency
        for channel in channels:
            yield from self.slot(channel)
        for channel in channels:
            yield from self.enqueue(channel, request)

    def in_turn(self, channels):
        """Send to one after the other."""
        request = self.t + self.latency
        for channel in channels:
            yield from self.enqueue(channel, request)

    def together(self, channels):
        """Peek all, dequeue all."""
        for channel in channels:
            yield from self.peek(channel)
        for channel in channels:
            yield from self.dequeue(channel)


def generator(u, out, tokens):
    for _ in range(tokens):
        yield from u.enqueue(out, u.t + 1)
        u.t += 1


def sink(u, source, tokens):
    for _ in range(tokens):
        yield from u.dequeue(source)
        u.t += u.ii


def matmul(u, left, right, out, rows, results, products):
    for _ in range(rows):
        for result in range(results):
            for _ in range(products):
                yield from u.peek(right)
                if result == 0:
                    yield from u.dequeue(left)
                yield from u.dequeue(right)
                u.t += u.ii
            yield from u.enqueue(out, u.t + u.latency)


def mapped(u, sources, outs, tokens, *, in_turn=False):
    for _ in range(tokens):
        yield from u.together(sources)
        yield from (u.in_turn(outs) if in_turn else u.broadcast(outs))
        u.t += u.ii


def scan(u, source, outs, rows, columns):
    for _ in range(rows):
        u.t += u.row
        for _ in range(columns):
            yield from u.dequeue(source)
            yield from u.broadcast(outs)
            u.t += u.ii


def reduced(u, sources, out, rows, columns):
    for _ in range(rows):
        u.t += u.row
        for _ in range(columns):
            yield from u.together(sources)
            u.t += u.ii
        yield from u.enqueue(out, u.t + u.latency)


def repeated(u, source, out, rows, times):
    for _ in range(rows):
        yield from u.dequeue(source)
        for _ in range(times):
            yield from u.enqueue(out, u.t + u.latency)
            u.t += u.ii


def dot(u, q, k, outs, rows, columns, *, in_turn):
    u.t += u.start
    for _ in range(rows):
        u.t += u.row
        yield from u.dequeue(q)
        for _ in range(columns):
            yield from u.dequeue(k)
            yield from (u.in_turn(outs) if in_turn else u.broadcast(outs))
            u.t += u.ii


def reduced_at_last(u, sources, out, rows, columns, first_ii=None):
    u.t += u.start
    for _ in range(rows):
        u.t += u.row
        for column in range(columns):
            yield from u.together(sources)
            if column == columns - 1:
                yield from u.enqueue(out, u.t + u.latency)
            u.t += u.ii if column or first_ii is None else first_ii


def with_row_scalar(u, source, scalar, outs, rows, columns):
    u.t += u.start
    for _ in range(rows):
        u.t += u.row
        for column in range(columns):
            yield from u.together([source, scalar] if column == 0 else [source])
            yield from u.in_turn(outs)
            u.t += u.ii


class Network:
    """Programs and channels of one graph."""

    def __init__(self, parameters, rows, columns):
        self.parameters, self.rows, self.columns = parameters, rows, columns
        self.programs, self.channels = [], []

    def channel(self, depth="short"):
        parameters = self.parameters
        if depth == "short":
            depth = parameters.short_depth
        elif depth == "long":
            depth = parameters.row_fifo_depth(self.columns)
        self.channels.append(Channel(depth, parameters.channel_latency, parameters.response_latency))
        return self.channels[-1]

    def run(self, program, unit, *arguments, **options):
        """Add a program; `unit` is a name, whose timing is that of the parameters, or a Unit."""
        if isinstance(unit, str):
            timing = self.parameters.timing(unit)
            unit = Unit(timing.latency, timing.ii, timing.row, timing.start)
        self.programs.append((unit, program(unit, *arguments, **options)))

    def sources(self, tokens_per_row, count):
        """Generators of Q, K and V."""
        made = []
        for tokens in tokens_per_row[:count]:
            made.append(self.channel())
            self.run(generator, Unit(), made[-1], tokens * self.rows)
        return made

    def sink(self, source, tokens, ii):
        self.run(sink, Unit(ii=ii), source, tokens * self.rows)

    def cycles(self):
        """Largest final clock; None when nothing can move before all programs have ended."""
        waiting, before = dict(enumerate(program for _, program in self.programs)), None
        while waiting:
            now = (sum(len(c.tokens) + c.taken for c in self.channels), len(waiting))
            if now == before:
                return None
            before = now
            for number, program in list(waiting.items()):
                if next(program, "ended") == "ended":
                    del waiting[number]
        return max(unit.t for unit, _ in self.programs)


def naive(n, rows, columns, d):
    q, k, v = n.sources((d, columns * d, columns * d), 3)
    scores, long, short, total, repeat, weights, out = map(
        n.channel, ("short", "long", "short", "short", "short", "short", "short")
    )
    n.run(matmul, "matmul_qk", q, k, scores, rows, columns, d)
    n.run(mapped, "exp", [scores], [long, short], rows * columns)
    n.run(reduced, "sum", [short], total, rows, columns)
    n.run(repeated, "repeat", total, repeat, rows, columns)
    n.run(mapped, "div", [long, repeat], [weights], rows * columns)
    n.run(matmul, "matmul_pv", weights, v, out, rows, d, columns)
    n.sink(out, d, 1)


def agnostic(n, rows, columns, d):
    q, k, v = n.sources((d, columns * d, columns * d), 3)
    scores, to_sum, to_zip, total, vector, pairs, product, both, out = (n.channel() for _ in range(9))
    n.run(matmul, "matmul_qk", q, k, scores, rows, columns, d)
    n.run(scan, "scan_max", scores, [to_sum, to_zip], rows, columns)
    n.run(reduced, "reduce_rowsum", [to_sum], total, rows, columns)
    n.run(reduced, "reduce_vvec", [v], vector, rows * columns, d)
    n.run(mapped, "zip", [to_zip, vector], [pairs], rows * columns)
    n.run(reduced, "reduce_prod", [pairs], product, rows, columns)
    n.run(mapped, "zip", [product, total], [both], rows)
    n.run(repeated, "flatmap_div", both, out, rows, d)
    n.sink(out, d, 1)


def gina_spatial(n, rows, columns, _):
    parameters = n.parameters
    q, k, v = n.sources((1, columns, columns), 3)
    short, total, weights = (n.channel(parameters.out_depth(unit)) for unit in ("qkt_exp", "sum", "div"))
    long, out = n.channel("long"), n.channel()
    n.run(dot, "qkt_exp", q, k, [short, long], rows, columns, in_turn=True)
    n.run(reduced_at_last, "sum", [short], total, rows, columns)
    n.run(with_row_scalar, "div", long, total, [weights], rows, columns)
    n.run(reduced_at_last, "matvec", [weights, v], out, rows, columns)
    n.sink(out, 1, 0)


def gina_unscaled(n, rows, columns, _):
    q, k = n.sources((1, columns), 2)
    scores = n.channel()
    n.run(dot, "qkt", q, k, [scores], rows, columns, in_turn=True)
    _gina_softmax(n, rows, columns, scores)


def gina_scaled(n, rows, columns, _):
    q, k = n.sources((1, columns), 2)
    short, long, maximum, difference = map(n.channel, ("short", "long", "short", "short"))
    n.run(dot, "qkt", q, k, [short, long], rows, columns, in_turn=True)
    n.run(reduced_at_last, "rowmax", [short], maximum, rows, columns)
    n.run(with_row_scalar, "sub", long, maximum, [difference], rows, columns)
    _gina_softmax(n, rows, columns, difference)


def _gina_softmax(n, rows, columns, scores):
    short, long, total, weights, out = map(n.channel, ("short", "long", "short", "short", "short"))
    (v,) = n.sources((columns,), 1)
    n.run(mapped, "exp", [scores], [short, long], rows * columns, in_turn=True)
    n.run(reduced_at_last, "rowsum", [short], total, rows, columns)
    n.run(with_row_scalar, "div", long, total, [weights], rows, columns)
    n.run(reduced_at_last, "pv", [weights, v], out, rows, columns, first_ii=n.parameters.pv_first_ii)
    n.sink(out, 1, 0)


def gina_agnostic(n, rows, columns, _):
    q, k, v = n.sources((1, columns, columns), 3)
    scores, d1, d2, c1, c2, total, product, out = (n.channel() for _ in range(8))
    n.run(dot, "qkt_exp", q, k, [scores], rows, columns, in_turn=True)
    n.run(mapped, "incr_max", [scores], [d1, d2, c1, c2], rows * columns, in_turn=True)
    n.run(reduced_at_last, "incr_sum", [d1, c1], total, rows, columns)
    n.run(reduced_at_last, "incr_outp", [d2, c2, v], product, rows, columns)
    n.run(mapped, "div", [product, total], [out], rows)
    n.sink(out, 1, 0)


def composed(n, rows, columns, _, *, maximum=False, weigh="exp", divide="first"):
    q, k, v = n.sources((1, columns, columns), 3)
    scores = n.channel("long" if maximum else "short")
    if maximum:
        to_max, row_max, repeat, difference = (n.channel() for _ in range(4))
        n.run(dot, "dot", q, k, [scores, to_max], rows, columns, in_turn=False)
        n.run(reduced, "max", [to_max], row_max, rows, columns)
        n.run(repeated, "repeat", row_max, repeat, rows, columns)
        n.run(mapped, "sub", [scores, repeat], [difference], rows * columns)
        scores = difference
    else:
        n.run(dot, "dot", q, k, [scores], rows, columns, in_turn=False)
    to_sum, total, product, out = (n.channel() for _ in range(4))
    weights = n.channel("long" if divide == "first" else "short")
    n.run(mapped, weigh, [scores], [to_sum, weights], rows * columns)
    n.run(reduced, "sum", [to_sum], total, rows, columns)
    if divide == "first":
        repeat, divided = n.channel(), n.channel()
        n.run(repeated, "repeat", total, repeat, rows, columns)
        n.run(mapped, "div", [weights, repeat], [divided], rows * columns)
        n.run(reduced, "pv", [divided, v], out, rows, columns)
    else:
        n.run(reduced, "pv", [weights, v], product, rows, columns)
        n.run(mapped, "div", [product, total], [out], rows)
    n.sink(out, 1, 1)


GRAPHS = {
    "dam.naive": (naive, {}),
    "dam.agnostic": (agnostic, {}),
    "dam.gina_spatial": (gina_spatial, {}),
    "dam.gina_unscaled": (gina_unscaled, {}),
    "dam.gina_scaled": (gina_scaled, {}),
    "dam.gina_agnostic": (gina_agnostic, {}),
    "dam.composed_naive": (composed, {}),
    "dam.composed_scaled": (composed, {"maximum": True}),
    "dam.composed_reordered": (composed, {"maximum": True, "divide": "last"}),
    "dam.composed_naive_reordered": (composed, {"divide": "last"}),
    "dam.composed_memory_free": (composed, {"weigh": "scan", "divide": "last"}),
}


def value_of(draw, name, columns):
    if name == "long_depth":
        return draw(st.sampled_from([0, None, *range(max(1, columns - 2), columns + 9)]))
    if name.endswith("depth"):
        return draw(st.sampled_from([1, 2, 3, 5, None] + [0] * name.endswith("out_depth")))
    if name in ("channel_latency", "response_latency"):
        return draw(st.sampled_from([1, 1, 1, 2, 4]))
    if name.endswith("latency"):
        return draw(st.sampled_from([1, 1, 1, 0, 2, 5, 11]))
    if name.endswith("ii"):
        return draw(st.sampled_from([1, 1, 1, 0, 2, 3]))
    return draw(st.sampled_from([0, 0, 1, 4, 9]))


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_cycles_and_deadlocks_follow_from_the_rules_of_dam(data):
    name = data.draw(st.sampled_from(sorted(GRAPHS)))
    found = get_algorithm(name)
    queries, columns, d, batch = (data.draw(st.integers(1, most)) for most in (5, 6, 3, 2))
    parameters = found.parameters(
        **{field.name: value_of(data.draw, field.name, columns) for field in fields(found.parameters)}
    )
    workload = Workload(
        "small", "prefill", heads=1, kv_heads=1, q_len=queries, kv_len=columns, head_dim=d, mask="full", batch=batch
    )
    result = simulate(found.build(workload, parameters), timing_only=True, explain=False)
    network = Network(parameters, queries * batch, columns)
    program, options = GRAPHS[name]
    program(network, queries * batch, columns, d, **options)
    assert (None if result.deadlock else result.cycles) == network.cycles()
