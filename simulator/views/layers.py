"""Layered placement of a directed graph: which layer, in which order, how far to the right."""

from __future__ import annotations

from collections.abc import Sequence

SWEEPS = 24
NONE_LEFT = -1

Pairs = Sequence[tuple[int, int]]


def layers_of(nodes: int, pairs: Pairs) -> tuple[list[int], list[bool]]:
    """Layer of every node by the longest path to it, and which of the ``pairs`` close a cycle and point back.

    A source is moved down to just above the first node it feeds.
    """
    back = _back_pairs(nodes, pairs)
    forward = [pair for pair, is_back in zip(pairs, back, strict=True) if not is_back]
    layer = [0] * nodes
    for node in _topological(nodes, forward):
        layer[node] = max((layer[a] + 1 for a, b in forward if b == node), default=0)
    for node in range(nodes):
        fed = [layer[b] for a, b in forward if a == node]
        if fed and not any(b == node for _, b in forward):
            layer[node] = min(fed) - 1
    return layer, back


def _back_pairs(nodes: int, pairs: Pairs) -> list[bool]:
    """Pairs that lead to a node from which a depth-first walk came."""
    leaving: list[list[int]] = [[] for _ in range(nodes)]
    for number, (a, _) in enumerate(pairs):
        leaving[a].append(number)
    back = [False] * len(pairs)
    state = [0] * nodes  # 1 on the walk, 2 left behind
    for root in range(nodes):
        walk = [(root, iter(leaving[root]))] if state[root] == 0 else []
        state[root] = max(state[root], 1)
        while walk:
            node, rest = walk[-1]
            number = next(rest, NONE_LEFT)
            if number == NONE_LEFT:
                state[node] = 2
                walk.pop()
                continue
            target = pairs[number][1]
            back[number] = state[target] == 1
            if state[target] == 0:
                state[target] = 1
                walk.append((target, iter(leaving[target])))
    return back


def _topological(nodes: int, pairs: Pairs) -> list[int]:
    waiting = [0] * nodes
    for _, b in pairs:
        waiting[b] += 1
    order = [node for node in range(nodes) if waiting[node] == 0]
    for node in order:  # grows while it is walked
        for a, b in pairs:
            if a == node:
                waiting[b] -= 1
                if waiting[b] == 0:
                    order.append(b)
    return order


def arrange(layer: Sequence[int], widths: Sequence[float], links: Pairs) -> tuple[list[list[int]], list[float]]:
    """Order the nodes of every layer and give each a centre so that none overlap and links are short.

    Parameters
    ----------
    links : sequence of (int, int)
        Pairs of nodes in neighbouring layers, the upper one first.
    """
    rows: list[list[int]] = [[] for _ in range(max(layer) + 1)]
    for node, index in enumerate(layer):
        rows[index].append(node)
    above: list[list[int]] = [[] for _ in layer]
    below: list[list[int]] = [[] for _ in layer]
    for a, b in links:
        above[b].append(a)
        below[a].append(b)
    centre = [0.0] * len(layer)
    for row in rows:
        _spread(row, [0.0] * len(row), widths, centre)
    best = (_crossings(rows, below), [list(row) for row in rows])
    for sweep in range(SWEEPS):
        downwards = sweep % 2 == 0
        for row in rows if downwards else rows[::-1]:
            neighbours = above if downwards else below
            row.sort(key=lambda node: _mean(neighbours[node], centre, centre[node]))
            _spread(row, [_mean(neighbours[node], centre, centre[node]) for node in row], widths, centre)
        crossings = _crossings(rows, below)
        if crossings < best[0]:
            best = (crossings, [list(row) for row in rows])
    rows = best[1]
    for sweep in range(SWEEPS):
        for row in rows if sweep % 2 == 0 else rows[::-1]:
            _spread(row, [_mean(above[node] + below[node], centre, centre[node]) for node in row], widths, centre)
    return rows, centre


def _mean(nodes: Sequence[int], centre: Sequence[float], otherwise: float) -> float:
    return sum(centre[node] for node in nodes) / len(nodes) if nodes else otherwise


def _crossings(rows: list[list[int]], below: list[list[int]]) -> int:
    """Crossings of links, counted pair by pair: pictures have few of them."""
    place = {node: index for row in rows for index, node in enumerate(row)}
    total = 0
    for row in rows:
        ends = [(place[a], place[b]) for a in row for b in below[a]]
        total += sum((a - c) * (b - d) < 0 for i, (a, b) in enumerate(ends) for c, d in ends[:i])
    return total


def _spread(row: Sequence[int], wanted: Sequence[float], widths: Sequence[float], centre: list[float]) -> None:
    """Put the nodes of a row as near to ``wanted`` as their widths allow, in the order given (least squares).

    With the distances that neighbours need taken off, this is isotonic regression: pool adjacent violators.
    """
    offsets, reach = [], 0.0
    for index, node in enumerate(row):
        reach += (widths[row[index - 1]] + widths[node]) / 2 if index else 0.0
        offsets.append(reach)
    pools: list[tuple[float, int]] = []
    for want, offset in zip(wanted, offsets, strict=True):
        mean, count = want - offset, 1
        while pools and pools[-1][0] > mean:
            before, size = pools.pop()
            mean, count = (mean * count + before * size) / (count + size), count + size
        pools.append((mean, count))
    placed = [mean for mean, count in pools for _ in range(count)]
    for node, mean, offset in zip(row, placed, offsets, strict=True):
        centre[node] = mean + offset
