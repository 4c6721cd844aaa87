"""Drawings: well-formed, everything in them once, nothing on top of anything else, arrows the right way round."""

import re
import xml.etree.ElementTree as ElementTree
from itertools import combinations

import pytest

from simulator import Graph, Server, Unit, operators, uniform
from simulator.random_graphs import random_graph
from simulator.views.draw import draw_svg
from simulator.views.layers import layers_of

SVG = "{http://www.w3.org/2000/svg}"


def parts(root, tag, name):
    """Elements of one kind and class."""
    return [node for node in root.iter(SVG + tag) if name in node.get("class", "").split()]


def box(node):
    """(left, top, right, bottom) of a rectangle."""
    x, y, width, height = (float(node.get(side)) for side in ("x", "y", "width", "height"))
    return x, y, x + width, y + height


def overlap(a, b):
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


@pytest.mark.parametrize("seed", range(40))
def test_random_graphs(seed):
    graph = random_graph(seed)
    root = ElementTree.fromstring(draw_svg(graph))
    units = [box(node) for node in parts(root, "rect", "unit")]
    servers = [box(node) for node in parts(root, "rect", "server")]
    labels = [box(node) for node in parts(root, "rect", "paper")[1:]]
    arrows = parts(root, "path", "fifo")
    assert (len(units), len(servers)) == (len(graph.units), len(graph.servers))
    assert len(labels) == len(arrows) == len(graph.channels)
    for a, b in combinations(units + servers + labels, 2):
        assert not overlap(a, b)
    width, height = float(root.get("width")), float(root.get("height"))
    for left, top, right, bottom in units + servers + labels:
        assert left >= 0
        assert top >= 0
        assert right <= width
        assert bottom <= height
    texts = [node.text for node in root.iter(SVG + "text")]
    for name in [unit.name for unit in graph.units] + [server.name for server in graph.servers]:
        assert name in texts
    for channel in graph.channels:
        depth = "unbounded" if channel.depth is None else f"depth {channel.depth}"
        assert texts[texts.index(channel.name) + 1].split(",")[0] == depth
    # every arrow leaves the box of its producer and ends at that of its consumer
    number = {unit.name: i for i, unit in enumerate(graph.units)}
    for arrow, channel in zip(arrows, graph.channels, strict=True):
        numbers = [float(text) for text in re.findall(r"-?\d+\.\d+", arrow.get("d"))]
        for (x, y), unit in ((numbers[:2], channel.producer), (numbers[-2:], channel.consumer)):
            left, top, right, bottom = units[number[unit]]
            assert left <= x <= right
            assert min(abs(y - top), abs(y - bottom)) < 0.2


def test_names_are_escaped():
    graph = Graph('<script>alert("1")</script> & more')
    a = graph.add(operators.source("<a>", [[1.0]]))
    b = graph.add(operators.sink('"b" & c', 1))
    graph.connect(a, b, name="</text><script/>")
    svg = draw_svg(graph)
    assert "<script" not in svg
    texts = [node.text for node in ElementTree.fromstring(svg).iter(SVG + "text")]
    assert {graph.name, "<a>", '"b" & c', "</text><script/>"} <= set(texts)


def test_servers_and_feedback_are_shown():
    graph = Graph("loop")
    graph.add_server(Server("hbm", bytes_per_cycle=32))
    head = graph.add(Unit("head", "zip", uniform(5, (1, 1), (1,)), server="hbm"))
    tail = graph.add(Unit("tail", "map", uniform(5, (1,), (1, 1, 1))))
    graph.connect(graph.add(operators.source("x", [[1.0] * 5])), head)
    graph.connect(tail, head, name="back", initial_tokens=1)
    graph.connect(head, tail)
    graph.connect(tail, graph.add(operators.sink("out", 5)), depth=None)
    graph.connect(tail, graph.add(operators.sink("again", 5)), name="twice")
    root = ElementTree.fromstring(draw_svg(graph))
    (back,) = parts(root, "path", "back")
    heights = [float(text) for text in re.findall(r",(-?\d+\.\d+)", back.get("d"))]
    assert heights[0] > heights[-1]
    texts = [node.text for node in root.iter(SVG + "text")]
    assert "depth 2, 1 at start" in texts
    assert "unbounded" in texts
    assert "zip @ hbm" in texts
    assert any(text.startswith("bytes_per_cycle 32, ") for text in texts)


def test_a_unit_may_feed_itself():
    graph = Graph("self")
    unit = graph.add(Unit("u", "state", uniform(3, (1,), (1,))))
    graph.connect(unit, unit, name="state", initial_tokens=1)
    root = ElementTree.fromstring(draw_svg(graph))
    assert len(parts(root, "path", "back")) == 1


def test_layers_follow_the_longest_path():
    layers, back = layers_of(5, [(0, 1), (1, 2), (0, 2), (2, 0), (3, 2), (2, 4)])
    assert layers == [0, 1, 2, 1, 3]  # 3 is drawn just above what it feeds
    assert back == [False, False, False, True, False, False]
