"""A graph as an SVG picture: layers from sources to sinks, one box per unit, one labelled arrow per FIFO.

No program beside this one is needed. Units are put into layers by the longest path to them, FIFO labels get a layer of
their own between two layers of units, nodes of a layer are ordered by the mean position of their neighbours (Sugiyama,
Tagawa, Toda, IEEE Trans. SMC 11(2), 1981) and placed as near to that mean as their widths allow.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from itertools import pairwise

from simulator.graph import Channel, FrozenGraph, Graph
from simulator.views.layers import arrange, layers_of

CHARACTER_WIDTH, LINE_HEIGHT = 7.3, 15
UNIT_HEIGHT, LABEL_HEIGHT, GAP_Y = 46, 32, 20
GAP_X, MARGIN = 22, 24
HUES = 8

STYLE = """
svg { --ink: #1b1f24; --soft: #57606a; --paper: #ffffff; --box: #f6f8fa; --line: #6e7781; --back: #9a3b00; }
@media (prefers-color-scheme: dark) {
  svg { --ink: #e6edf3; --soft: #9198a1; --paper: #0d1117; --box: #161b22; --line: #848d97; --back: #ffa657; }
}
text { font: 12px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: var(--ink); text-anchor: middle; }
.name { font-weight: bold; }
.soft { fill: var(--soft); }
.paper { fill: var(--paper); }
.unit, .server { fill: var(--box); stroke: var(--line); }
.server { stroke-dasharray: 5 3; }
.fifo { fill: none; stroke: var(--line); stroke-width: 1.4; }
.back { stroke: var(--back); stroke-dasharray: 6 3; }
.head { fill: var(--line); }
.head-back { fill: var(--back); }
.kind0 { fill: #0969da; } .kind1 { fill: #1a7f37; } .kind2 { fill: #bf8700; } .kind3 { fill: #8250df; }
.kind4 { fill: #cf222e; } .kind5 { fill: #1b7c83; } .kind6 { fill: #bf3989; } .kind7 { fill: #6e7781; }
"""


@dataclass
class _Node:
    """A box, the label of a FIFO, or a bend of a long arrow."""

    lines: tuple[str, ...]
    layer: int
    unit: int = -1
    x: float = 0.0
    y: float = 0.0
    width: float = field(init=False)
    height: float = field(init=False)

    def __post_init__(self) -> None:
        self.width = max((len(line) for line in self.lines), default=0) * CHARACTER_WIDTH + (24 if self.lines else 6)
        self.height = UNIT_HEIGHT if self.unit >= 0 else LABEL_HEIGHT if self.lines else 0


def draw_svg(graph: Graph | FrozenGraph) -> str:
    """An SVG document that shows ``graph``.

    Boxes name a unit, its kind and its server; arrows a FIFO and its depth in tokens; feedback FIFOs are dashed. The
    colours follow the reader's light or dark setting.
    """
    return _Drawing(graph).svg()


class _Drawing:
    """Nodes of one picture and the chains of nodes along which FIFOs run."""

    def __init__(self, graph: Graph | FrozenGraph) -> None:
        self.graph = graph
        self.number = {unit.name: number for number, unit in enumerate(graph.units)}
        pairs = [(self.number[c.producer], self.number[c.consumer]) for c in graph.channels]
        layers, self.back = layers_of(len(graph.units), pairs)
        self.nodes = [_Node(self._unit_lines(u), 2 * layers[u], unit=u) for u in range(len(graph.units))]
        self.chains = [self._chain(channel, back) for channel, back in zip(graph.channels, self.back, strict=True)]
        self._place()

    def _unit_lines(self, number: int) -> tuple[str, str]:
        unit = self.graph.units[number]
        return unit.name, unit.kind + (f" @ {unit.server}" if unit.server else "")

    def _chain(self, channel: Channel, back: bool) -> list[int]:
        """Nodes from the upper end of a FIFO to its lower one, with its label in the middle."""
        ends = [self.number[channel.producer], self.number[channel.consumer]]
        top, bottom = reversed(ends) if back else ends
        between = range(self.nodes[top].layer + 1, self.nodes[bottom].layer)
        if top == bottom:  # a unit that feeds itself: its label hangs below
            between = range(self.nodes[top].layer + 1, self.nodes[top].layer + 2)
        odd = [layer for layer in between if layer % 2]
        label = odd[len(odd) // 2]
        depth = "unbounded" if channel.depth is None else f"depth {channel.depth:,}"
        start = f", {channel.initial_tokens} at start" if channel.initial_tokens else ""
        chain = [top]
        for layer in between:
            lines = (channel.name, depth + start) if layer == label else ()
            self.nodes.append(_Node(lines, layer))
            chain.append(len(self.nodes) - 1)
        return [*chain, bottom]

    def _place(self) -> None:
        """Give every node its place."""
        links = [link for chain in self.chains for link in pairwise(chain)]
        links = [(a, b) if self.nodes[a].layer < self.nodes[b].layer else (b, a) for a, b in links]
        widths = [node.width + GAP_X for node in self.nodes]
        rows, centres = arrange([node.layer for node in self.nodes], widths, links)
        left = min(x - node.width / 2 for x, node in zip(centres, self.nodes, strict=True))
        top = float(MARGIN + 2 * LINE_HEIGHT)
        for row in rows:
            height = max((self.nodes[node].height for node in row), default=0)
            for node in row:
                self.nodes[node].x = centres[node] - left + MARGIN
                self.nodes[node].y = top + height / 2
                if not self.nodes[node].lines:
                    self.nodes[node].height = height  # a long arrow passes its neighbours straight
            top += height + GAP_Y
        self.bottom = top

    def svg(self) -> str:
        """The document."""
        servers, server_width = self._servers()
        title = escape(self.graph.name)
        right = max(node.x + node.width / 2 for node in self.nodes) + MARGIN
        width = round(max(right, server_width, len(title) * CHARACTER_WIDTH + 2 * MARGIN))
        height = round(self.bottom + (UNIT_HEIGHT + MARGIN if servers else 0) + MARGIN / 2)
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" role="img">',
            f"<title>{title}</title>",
            f"<style>{STYLE}</style>",
            "<defs>",
            *(_arrow_head(name) for name in ("head", "head-back")),
            "</defs>",
            f'<rect class="paper" width="{width}" height="{height}"/>',
            f'<text class="name" x="{width / 2:g}" y="{MARGIN}">{title}</text>',
            *(self._fifo(number) for number in range(len(self.chains))),
            *(self._label(node) for node in self.nodes if node.unit < 0 and node.lines),
            *(self._box(node) for node in self.nodes if node.unit >= 0),
            *servers,
            "</svg>",
        ]
        return "\n".join(parts) + "\n"

    def _fifo(self, number: int) -> str:
        """The arrow of a FIFO, through all nodes of its chain."""
        chain = [self.nodes[node] for node in self.chains[number]]
        first, last = chain[0], chain[-1]
        up = self.back[number]
        points = [(first.x, first.y + first.height / 2)]
        points += [(node.x, node.y + side * node.height / 2) for node in chain[1:-1] for side in (-1, 1)]
        points.append((last.x, last.y - last.height / 2))
        if chain[0] is chain[-1]:
            points = [points[0], points[1], (points[1][0] + chain[1].width / 2, points[1][1]), (first.x, points[0][1])]
        points = points[::-1] if up else points
        path = f"M{points[0][0]:.1f},{points[0][1]:.1f}"
        for (x0, y0), (x1, y1) in pairwise(points):
            middle = (y0 + y1) / 2
            path += f" C{x0:.1f},{middle:.1f} {x1:.1f},{middle:.1f} {x1:.1f},{y1:.1f}"
        name, head = ("fifo back", "head-back") if up else ("fifo", "head")
        return f'<path class="{name}" d="{path}" marker-end="url(#{head})"/>'

    def _label(self, node: _Node) -> str:
        width = node.width - 12
        lines = _lines(node, ("", "soft"))
        return (
            f'<rect class="paper" x="{node.x - width / 2:.1f}" y="{node.y - LABEL_HEIGHT / 2:.1f}" width="{width:.1f}" '
            f'height="{LABEL_HEIGHT}"/>{lines}'
        )

    def _box(self, node: _Node) -> str:
        kinds = sorted({unit.kind for unit in self.graph.units})
        hue = kinds.index(self.graph.units[node.unit].kind) % HUES
        left, top = node.x - node.width / 2, node.y - UNIT_HEIGHT / 2
        return (
            f'<rect class="unit" x="{left:.1f}" y="{top:.1f}" width="{node.width:.1f}" height="{UNIT_HEIGHT}" rx="6"/>'
            f'<rect class="kind{hue}" x="{left:.1f}" y="{top:.1f}" width="5" height="{UNIT_HEIGHT}" rx="2"/>'
            + _lines(node, ("name", "soft"))
        )

    def _servers(self) -> tuple[list[str], float]:
        """Boxes of the servers below the graph, with their settings; and how wide they are together."""
        boxes, x = [], float(MARGIN)
        for server in self.graph.servers:
            node = _Node((server.name, server.settings), 0)
            node.x, node.y = x + node.width / 2, self.bottom + UNIT_HEIGHT / 2
            x += node.width + GAP_X
            boxes.append(
                f'<rect class="server" x="{node.x - node.width / 2:.1f}" y="{self.bottom:.1f}" '
                f'width="{node.width:.1f}" height="{UNIT_HEIGHT}" rx="14"/>' + _lines(node, ("name", "soft"))
            )
        return boxes, x - GAP_X + MARGIN


def _lines(node: _Node, classes: tuple[str, str]) -> str:
    """The two lines of a node's text."""
    baselines = (node.y - 4, node.y + LINE_HEIGHT - 4)
    return "".join(
        f'<text class="{name}" x="{node.x:.1f}" y="{y:.1f}">{escape(line)}</text>'
        for line, name, y in zip(node.lines, classes, baselines, strict=True)
    )


def _arrow_head(name: str) -> str:
    return (
        f'<marker id="{name}" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" '
        f'orient="auto-start-reverse"><path class="{name}" d="M0,0 L8,4 L0,8 z"/></marker>'
    )
