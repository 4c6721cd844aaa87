"""The look of a section as numbers and words: what is drawn, where, how large, in which colour, on which ground.

A picture differs from computer to computer with fonts and their smoothing. What is kept here does not: marks of charts
are placed in thousandths of their own plot area, whose margins follow the widths of labels; words are kept as they are
read, with the colour they have; sections have a width, and a height within a wide tolerance, as lines break elsewhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

APPROVED = Path(__file__).parent / "approved"
LOOKS: Mapping[str, tuple[int, str, str]] = {
    "wide": (1400, "light", "screen"),
    "phone": (420, "light", "screen"),
    "dark": (1400, "dark", "screen"),
    "print": (1000, "light", "print"),
}
"""Width in CSS pixels, colour scheme and medium."""

WIDTH_TOLERANCE_PX = 3
HEIGHT_TOLERANCE = 0.35
"""Of the larger height."""
PLACE_TOLERANCE = 20
"""Of a mark, in thousandths of its plot area."""

Look = dict[str, list[str]]
"""Lines of a section by what they tell."""

TAKE = """(names) => {
  const box = (element) => element.getBoundingClientRect();
  const seen = (element) =>
    element.checkVisibility({ opacityProperty: true, visibilityProperty: true }) && box(element).width > 0;
  const paint = (style, of) => {
    const colour = style[of];
    return !colour || colour === "none" || colour.endsWith(", 0)") ? "-" : colour.replaceAll(" ", "");
  };
  const mille = (value) => Math.round(1000 * value);
  const marks = (plot, number) => {
    const area = plot.querySelector(".nsewdrag")?.getBoundingClientRect();
    if (!area?.width) return [];
    const traces = ".scatterlayer path, .barlayer path, .boxlayer path, .violinlayer path";
    const layers = `${traces}, .shapelayer path, .layer-above path`;
    const inPlot = [...plot.querySelectorAll(layers)].filter((each) => !each.closest(".legend, defs, clipPath"));
    return inPlot.filter((each) => box(each).width + box(each).height > 0).map((each) => {
      const at = box(each), style = getComputedStyle(each);
      const middle = [at.left + at.width / 2 - area.left, at.top + at.height / 2 - area.top];
      const place = [middle[0] / area.width, middle[1] / area.height];
      const size = [at.width / area.width, at.height / area.height];
      const ink = `${paint(style, "fill")} ${paint(style, "stroke")}`;
      return `${number} ${ink} at ${[...place, ...size].map(mille).join(" ")}`;
    });
  };
  const parts = (section) => {
    const shown = [...section.querySelectorAll(".track i, .track span, .gauge, .swatch, .badge, .part, .letter")];
    return shown.filter(seen).map((each) => {
      const at = box(each), around = box(each.parentElement), style = getComputedStyle(each);
      const share = each.closest(".track, .gauge") ? ` width ${mille(at.width / (around.width || 1))}` : "";
      return `${each.className} ${paint(style, "backgroundColor")}${share}`;
    });
  };
  const words = (section) => {
    const found = [];
    // how many ticks there are is up to the font
    const left = ".unseen, script, style, option, .xtick, .ytick, .crisp";
    const walker = document.createTreeWalker(section, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const text = walker.currentNode.textContent.replace(/\\s+/g, " ").trim();
      const owner = walker.currentNode.parentElement;
      if (!text || !seen(owner) || owner.closest(left)) continue;
      const style = getComputedStyle(owner);
      const ink = owner.closest("svg") ? paint(style, "fill") : paint(style, "color");
      found.push(`${ink} ${text}`);
    }
    return found;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = paint(getComputedStyle(at), "backgroundColor");
      if (colour !== "-") return colour;
    }
    return "-";
  };
  return Object.fromEntries([...document.querySelectorAll("main > section")].filter(seen).map((section) => {
    const at = box(section);
    const plots = [...section.querySelectorAll(".plot")];
    const frame = [`width ${Math.round(at.width)}`, `height ${Math.round(at.height)}`, `ground ${ground(section)}`];
    const label = (plot) => plot.querySelector(".main-svg")?.getAttribute("aria-label");
    const drawn = plots.map((plot, number) => `${number} ${label(plot)}`);
    return [section.id, {
      frame,
      charts: drawn,
      marks: plots.flatMap(marks),
      parts: parts(section),
      words: words(section),
    }];
  }));
}"""
"""JavaScript that answers with a `Look` for every visible section."""

_NUMBER = re.compile(r"-?\d+")


def differences(section: str, approved: Look, present: Look) -> Iterator[str]:
    """Lines that say how a section has come to look otherwise."""
    for kind in sorted({*approved, *present}):
        before, now = approved.get(kind, []), present.get(kind, [])
        if len(before) != len(now):
            yield f"{section}: {len(before)} {kind} were approved, {len(now)} are there{_first(before, now)}"
            continue
        for old, new in zip(before, now, strict=True):
            if not _alike(kind, old, new):
                yield f"{section}: {kind}: approved '{old}', now '{new}'"


def _first(before: Sequence[str], now: Sequence[str]) -> str:
    """The first line that only one of the two has."""
    alone = [line for line in before if line not in now] or [line for line in now if line not in before]
    return f", '{alone[0]}' on one side alone" if alone else ""


def _alike(kind: str, old: str, new: str) -> bool:
    """Whether two lines are the same, or so near that fonts can be the reason."""
    if old == new:
        return True
    if kind == "marks":
        (ink_before, places_before), (ink, places) = (line.split(" at ") for line in (old, new))
        return ink_before == ink and _near(places_before, places, PLACE_TOLERANCE)
    if kind == "parts" and " width " in old and " width " in new:
        (what_before, width_before), (what, width) = (line.rsplit(" width ", 1) for line in (old, new))
        return what_before == what and _near(width_before, width, PLACE_TOLERANCE)
    if kind == "frame" and old.split()[0] == new.split()[0] == "width":
        return _near(old, new, WIDTH_TOLERANCE_PX)
    if kind == "frame" and old.split()[0] == new.split()[0] == "height":
        return _near(old, new, HEIGHT_TOLERANCE * max(map(int, _NUMBER.findall(old + " " + new))))
    return False


def _near(old: str, new: str, tolerance: float) -> bool:
    """Whether all numbers of two texts lie within a tolerance of each other."""
    before, now = (list(map(int, _NUMBER.findall(text))) for text in (old, new))
    return len(before) == len(now) and all(abs(a - b) <= tolerance for a, b in zip(before, now, strict=True))


def approved_looks(page: str, look: str) -> dict[str, Look]:
    """What was approved, by section."""
    found: dict[str, Look] = json.loads(_file(page, look).read_text(encoding="utf-8"))
    return found


def approve(page: str, look: str, present: Mapping[str, Look]) -> None:
    """Take what is there for right."""
    APPROVED.mkdir(exist_ok=True)
    text = json.dumps(present, ensure_ascii=False, indent=0)
    _file(page, look).write_text(text + "\n", encoding="utf-8")


def _file(page: str, look: str) -> Path:
    return APPROVED / f"{page}-{look}.json"
