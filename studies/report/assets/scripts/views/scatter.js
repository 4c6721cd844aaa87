"use strict";
// All points by two of their numbers, with the Pareto front of each workload.
attnflow.view("scatter", async (element, data) => {
  const { model, make, colour } = attnflow;
  const MOST_SVG = 1500; // beyond, WebGL; below, drawn as vectors, which print sharply
  const MOST_LEVELS = 8;
  const MOST_FRONTS = 6;
  const numbers = [...model.metrics, ...model.axes].filter((column) => column.numeric);
  const shown = { x: data.x, y: data.y, colour: "", logX: null, logY: null };
  const colourable = model.axes.filter((axis) => axis.numeric || axis.levels.length <= MOST_LEVELS);
  // the colour of a lone axis would only repeat a position
  const telling = model.axes.length > 1 || !model.axes[0]?.numeric ? colourable : [];
  const first =
    telling.find((axis) => axis.name === "algorithm") ??
    telling.find((axis) => axis.role === "design" && axis.name !== data.x) ??
    telling[0];
  shown.colour = first?.name ?? "";

  const plot = make("div", { class: "plot tall" });
  const controls = make("div", { class: "controls" });
  element.append(controls, plot);

  function control() {
    const entries = numbers.map((column) => [column.name, column.name]);
    const set = (name) => (value) => {
      shown[name] = value;
      if (name === "x") shown.logX = null;
      if (name === "y") shown.logY = null;
      draw();
    };
    controls.replaceChildren(
      attnflow.choice("Across", entries, shown.x, set("x")),
      attnflow.choice("Up", entries, shown.y, set("y")),
      attnflow.choice(
        "Colour",
        [["", "none"], ...colourable.map((axis) => [axis.name, axis.name])],
        shown.colour,
        set("colour"),
      ),
      attnflow.toggle("log across", attnflow.scale(model.column(shown.x), drawable(), shown.logX).log, set("logX")),
      attnflow.toggle("log up", attnflow.scale(model.column(shown.y), drawable(), shown.logY).log, set("logY")),
    );
  }

  const known = (point) => model.column(shown.x).values[point] !== null && model.column(shown.y).values[point] !== null;
  const drawable = () => model.matching.filter(known);
  const feasible = (point) => model.state.values[point] !== "infeasible";

  /** Points of a workload that no other beats in both numbers, in the order of the axis across. */
  function fronts(points) {
    const turn = (column) => (column.goal === "max" ? -1 : 1);
    const [x, y] = [model.column(shown.x), model.column(shown.y)];
    const groups = Map.groupBy ? Map.groupBy(points, (point) => model.workload[point]) : group(points);
    return [...groups.values()].map((members) => {
      const ordered = members.toSorted(
        (a, b) => turn(x) * (x.values[a] - x.values[b]) || turn(y) * (y.values[a] - y.values[b]),
      );
      let [best, at] = [Infinity, null];
      return ordered.filter((point) => {
        const height = turn(y) * y.values[point];
        const kept = height < best || (height === best && x.values[point] === at);
        if (height < best) [best, at] = [height, x.values[point]];
        return kept;
      });
    });
  }

  function group(points) {
    const groups = new Map();
    for (const point of points)
      groups.set(model.workload[point], [...(groups.get(model.workload[point]) ?? []), point]);
    return groups;
  }

  /** Colour classes: pairs of a legend entry, a colour and a test. */
  function classes() {
    const column = shown.colour && model.column(shown.colour);
    if (!column) return [{ name: "", hue: colour("blue"), has: () => true }];
    if (!column.numeric) {
      const hues = attnflow.hues();
      return column.levels.map((level, i) => ({
        name: level,
        hue: hues[i % hues.length],
        has: (p) => column.values[p] === level,
      }));
    }
    const values = [...new Set(column.values.filter((value) => value !== null))].sort((a, b) => a - b);
    const bins = values.length <= MOST_LEVELS ? values.map((value) => [value, value]) : quantiles(values);
    const ramp = attnflow.ramp(bins.length);
    return bins.map(([low, high], i) => ({
      name: low === high ? attnflow.number(low) : `${attnflow.number(low)} to ${attnflow.number(high)}`,
      hue: ramp[i],
      has: (point) => column.values[point] >= low && column.values[point] <= high && column.values[point] !== null,
    }));
  }

  function quantiles(values) {
    const size = Math.ceil(values.length / MOST_LEVELS);
    return Array.from({ length: Math.ceil(values.length / size) }, (_, i) => [
      values[i * size],
      values[Math.min((i + 1) * size, values.length) - 1],
    ]);
  }

  /** Steps along the front of each workload, unless there are too many of them. */
  function steps(best, at) {
    if (best.length > MOST_FRONTS) return [];
    const line = { color: colour("muted"), width: 1.25, shape: "hv" };
    return best.map((front) => ({ mode: "lines", ...at(front), line, hoverinfo: "skip", showlegend: false }));
  }

  /** Dots of one colour, pale ones and those on a front, and an entry in the legend. */
  function dots({ name, hue, has }, points, onFront, at) {
    const members = points.filter(has);
    const shared = { mode: "markers", name: attnflow.plain(name), legendgroup: name };
    const traces = [false, true].map((solid) => {
      const some = members.filter((point) => onFront.has(point) === solid);
      const edge = { width: solid ? 1 : 0, color: colour("surface") };
      const marker = { color: hue, size: solid ? 10 : 7, opacity: solid ? 1 : 0.45, line: edge };
      return { ...shared, ...at(some), customdata: some, marker, hoverinfo: "none", showlegend: false };
    });
    if (name && members.length) traces.push({ ...shared, x: [null], y: [null], marker: { color: hue, size: 10 } });
    return traces.filter((trace) => trace.x.length);
  }

  /** Points that break a constraint, in grey below all others. */
  function beyond(points, at) {
    if (!points.length) return [];
    const marker = { color: colour("muted"), size: 6, opacity: 0.3 };
    const name = "breaks a constraint";
    return [{ mode: "markers", name, ...at(points), customdata: points, marker, hoverinfo: "none" }];
  }

  /** Rings around the selected points. */
  function rings(chosen, at) {
    const marker = { symbol: "circle-open", size: 16, color: colour("text"), line: { width: 2 } };
    return { mode: "markers", ...at(chosen), customdata: chosen, marker, hoverinfo: "none", showlegend: false };
  }

  /** The letters of the selected points, above everything else. */
  function letters(chosen, across, up) {
    const place = (scale, point) => (scale.log ? Math.log10(scale.at(point)) : scale.at(point));
    const look = { bgcolor: colour("text"), font: { size: 12, color: colour("surface"), weight: 700 }, borderpad: 3 };
    return chosen.map((point) => ({
      x: place(across, point),
      y: place(up, point),
      text: model.letter(point),
      xshift: 16,
      yshift: 16,
      showarrow: false,
      ...look,
    }));
  }

  async function draw() {
    control();
    const points = drawable();
    const [x, y] = [model.column(shown.x), model.column(shown.y)];
    const isStuck = (point) => model.state.values[point] === "deadlock" && x.values[point] !== null;
    const stuck = model.matching.filter(isStuck);
    const across = attnflow.scale(x, [...points, ...stuck], shown.logX);
    const up = attnflow.scale(y, points, shown.logY);
    const type = points.length > MOST_SVG && attnflow.hasWebgl() ? "scattergl" : "scatter";
    const at = (some) => ({ type, x: some.map(across.at), y: some.map(up.at) });
    const kept = points.filter(feasible);
    const best = fronts(kept);
    const onFront = new Set(best.flat());
    const chosen = model.selected.filter((point) => points.includes(point));
    const strip = attnflow.strip(stuck, across.at, type);
    const traces = [
      ...beyond(points.filter((point) => !feasible(point)), at),
      ...steps(best, at),
      ...classes().flatMap((each) => dots(each, kept, onFront, at)),
      rings(chosen, at),
      ...strip.traces,
    ];
    const title = { text: attnflow.plain(shown.colour), side: "left" };
    await attnflow.draw(plot, traces, {
      height: 480,
      hovermode: "closest",
      dragmode: "zoom",
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, traceorder: "normal", title },
      margin: { t: shown.colour ? 36 : 8 },
      ...strip.layout,
      annotations: letters(chosen, across, up),
      xaxis: { ...across.axis, title: { text: attnflow.title(x) } },
      yaxis: { ...up.axis, title: { text: attnflow.title(y) }, ...strip.layout.yaxis },
    });
  }

  await draw();
  return { select: draw, filter: draw, theme: draw };
}, { charts: true });
