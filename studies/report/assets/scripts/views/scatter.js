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
  const telling = (axis) => axis.name !== data.x && axis.role === "design";
  shown.colour =
    (colourable.find((axis) => axis.name === "algorithm") ?? colourable.find(telling) ?? colourable[0])?.name ?? "";

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

  async function draw() {
    control();
    const points = drawable();
    const [x, y] = [model.column(shown.x), model.column(shown.y)];
    const [scaleX, scaleY] = [attnflow.scale(x, points, shown.logX), attnflow.scale(y, points, shown.logY)];
    const webgl = points.length > MOST_SVG && attnflow.hasWebgl();
    const type = webgl ? "scattergl" : "scatter";
    const best = fronts(points);
    const onFront = new Set(best.flat());
    const traces = [];
    if (best.length <= MOST_FRONTS) {
      for (const front of best) {
        const line = { color: colour("muted"), width: 1.25, shape: "hv" };
        const hover = { hoverinfo: "skip", showlegend: false };
        traces.push({ type, mode: "lines", x: front.map(scaleX.at), y: front.map(scaleY.at), line, ...hover });
      }
    }
    for (const { name, hue, has } of classes()) {
      const members = points.filter(has);
      for (const solid of [false, true]) {
        const some = members.filter((point) => onFront.has(point) === solid);
        if (!some.length) continue;
        const edge = { width: solid ? 1 : 0, color: colour("surface") };
        const marker = { color: hue, size: solid ? 10 : 7, opacity: solid ? 1 : 0.45, line: edge };
        traces.push({
          type,
          mode: "markers",
          x: some.map(scaleX.at),
          y: some.map(scaleY.at),
          customdata: some,
          hoverinfo: "none",
          marker,
          name: attnflow.plain(name),
          legendgroup: name,
          showlegend: false,
        });
      }
      if (name && members.length) {
        const marker = { color: hue, size: 10 };
        traces.push({
          type: "scatter",
          mode: "markers",
          x: [null],
          y: [null],
          name: attnflow.plain(name),
          legendgroup: name,
          marker,
        });
      }
    }
    const chosen = model.selected.filter((point) => points.includes(point));
    traces.push({
      type,
      mode: "markers+text",
      x: chosen.map(scaleX.at),
      y: chosen.map(scaleY.at),
      customdata: chosen,
      text: chosen.map(model.letter),
      textposition: "top right",
      textfont: { size: 14, color: colour("text"), weight: 700 },
      marker: { symbol: "circle-open", size: 16, color: colour("text"), line: { width: 2 } },
      hoverinfo: "none",
      showlegend: false,
    });
    const stuck = model.matching.filter(
      (point) => model.state.values[point] === "deadlock" && scaleX.at(point) !== null,
    );
    const strip = attnflow.strip(stuck, scaleX.at, webgl);
    const legend = {
      orientation: "h",
      y: 1.02,
      yanchor: "bottom",
      x: 0,
      traceorder: "normal",
      title: { text: attnflow.plain(shown.colour), side: "left" },
    };
    await attnflow.draw(plot, [...traces, ...strip.traces], {
      height: 480,
      hovermode: "closest",
      legend,
      margin: { t: 36 },
      dragmode: "zoom",
      xaxis: { ...scaleX.axis, title: { text: attnflow.title(x) } },
      yaxis: { ...scaleY.axis, title: { text: attnflow.title(y) }, ...strip.layout.yaxis },
      ...(strip.layout.yaxis2 ? { yaxis2: strip.layout.yaxis2 } : {}),
    });
  }

  await draw();
  return { select: draw, filter: draw, theme: draw };
});
