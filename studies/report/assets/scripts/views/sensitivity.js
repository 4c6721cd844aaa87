"use strict";
// How the objectives move along each axis: median, best and range over all points of a value.
attnflow.view("sensitivity", async (element, data) => {
  const { model, make, colour, distinct, profile } = attnflow;
  const MOST_SPLITS = 6;
  const MOST_TICKS = 7;
  const MOST_DOTS = 100;
  const LETTERS_ACROSS = 32; // of tick labels, side by side below a chart
  const LOGARITHMIC_FROM = 30;
  const axes = data.axes.map(model.column);
  const objectives = data.objectives.map(model.column);
  const splits = axes.filter((axis) => distinct(axis).length <= MOST_SPLITS);
  let split = (axes.length > 1 && splits.find((axis) => axis.name === "algorithm")) || null;
  const controls = make("div", { class: "controls" });
  const legend = make("div", { class: "legend" });
  const body = make("div");
  element.append(controls, legend, body);

  const place = (axis) => (point) => (axis.numeric ? axis.values[point] : axis.levels.indexOf(axis.values[point]));
  const along = (axis, points) => points.filter((point) => axis.values[point] !== null);

  /** Whether an axis is about the design: then values are shown against the best of the same workload. */
  const isRelative = (axis) => model.workloads.length > 1 && axis.role !== "workload";

  function measure(objective, axis) {
    if (!isRelative(axis)) return (point) => objective.values[point];
    const better = objective.goal === "max" ? Math.max : Math.min;
    const best = new Map();
    for (const point of model.matching) {
      const value = objective.values[point];
      if (value === null || model.state.values[point] !== "done") continue;
      const key = model.workload[point];
      best.set(key, best.has(key) ? better(best.get(key), value) : value);
    }
    return (point) => objective.values[point] / (best.get(model.workload[point]) || 1);
  }

  /** The profile of an axis: of all points of a study if the page shows a part of them, else of those that pass. */
  function lineOf(members, axis, objective, value) {
    const whole = !split && !model.filters.size && !model.frontOnly && data.effects?.[objective.name]?.[axis.name];
    if (!whole) return profile(members, axis, value);
    return whole.map(([place, least, median, most]) => ({ place, least, median, most }));
  }

  /** Groups of points that get a line each, with their colour; one group without a name unless lines are split. */
  function groups(points) {
    if (!split) return [{ name: null, hue: colour("blue"), members: points }];
    const levels = distinct(split);
    const hues = split.numeric ? attnflow.ramp(levels.length) : attnflow.hues();
    return levels.map((level, i) => ({
      name: attnflow.number(level),
      hue: hues[i % hues.length],
      members: points.filter((point) => split.values[point] === level),
    }));
  }

  /** Traces of the range behind a line: a band along numbers, a bar at each word. */
  function range(line, x, words) {
    const shared = { type: "scatter", mode: "lines", showlegend: false, hoverinfo: "skip" };
    if (words) {
      const ends = line.flatMap((at, i) => [
        [x[i], at.least],
        [x[i], at.most],
        [null, null],
      ]);
      const bar = { color: colour("shade"), width: 12 };
      return [{ ...shared, x: ends.map(([across]) => across), y: ends.map(([, up]) => up), line: bar }];
    }
    const edge = { ...shared, x, line: { width: 0 } };
    return [
      { ...edge, y: line.map((at) => at.most) },
      { ...edge, y: line.map((at) => at.least), fill: "tonexty", fillcolor: colour("shade") },
    ];
  }

  function traces(points, axis, objective, value) {
    const words = !axis.numeric;
    return groups(points).flatMap(({ name, hue, members }) => {
      const line = lineOf(members, axis, objective, value);
      const x = line.map((at) => (words ? axis.levels.indexOf(at.place) : at.place));
      const spread = name === null && line.some(({ least, most }) => least !== most);
      const text = line.map((at) => attnflow.plain(attnflow.number(at.place)));
      const hover = (what) => `${attnflow.plain(axis.title)} %{text}<br>${what} %{y:,.4~g}<extra></extra>`;
      const shared = { type: "scatter", x, text, showlegend: false };
      const crowded = line.length > MOST_DOTS;
      const median = {
        ...shared,
        y: line.map((at) => at.median),
        hovertemplate: hover(name === null ? "median" : attnflow.plain(name)),
        // words have no order that a line could follow; a dotted one only keeps the dots of a group together
        mode: words && name === null ? "markers" : spread || crowded ? "lines" : "lines+markers",
        line: { color: hue, width: words ? 1 : 2, dash: words ? "dot" : "solid" },
        marker: { color: hue, size: words ? 9 : 6 },
      };
      if (!spread) return [median];
      const best = line.map((at) => (objective.goal === "max" ? at.most : at.least));
      const look = { line: { color: colour("orange"), width: 1 }, marker: { color: colour("orange"), size: 7 } };
      const dots = { mode: crowded ? "lines" : "markers", ...look, hovertemplate: hover("best") };
      return [...range(line, x, words), median, { ...shared, y: best, ...dots }];
    });
  }

  const title = (axis) => attnflow.heading(axis);

  /** A value of a numeric axis below its chart, whose heading has the unit. */
  function label(axis, value) {
    return attnflow.isScaled(axis.unit) ? attnflow.rounded(value, axis.unit) : attnflow.number(value);
  }

  /** Those of some ascending ticks whose labels do not touch the one before. */
  function apart(values, words, geometric) {
    const turn = geometric ? Math.log : (value) => value;
    const extent = turn(values.at(-1)) - turn(values[0]);
    let end = -Infinity;
    return values.filter((value) => {
      const middle = extent ? (turn(value) - turn(values[0])) / extent : 0;
      const half = (words(value).length + 1) / 2 / LETTERS_ACROSS;
      if (middle - half < end) return false;
      end = middle + half;
      return true;
    });
  }

  function acrossAxis(axis) {
    if (!axis.numeric) {
      const words = axis.levels.map((level) => attnflow.shorten(level || "(empty)", 18));
      const ticktext = words.map(attnflow.plain);
      const crowded = words.length * Math.max(...words.map((word) => word.length + 1)) > LETTERS_ACROSS;
      return {
        tickangle: crowded ? -35 : 0, // downwards to the left: nothing is cut at the right edge
        ticklabeloverflow: "allow", // the margin makes room for the first
        tickvals: axis.levels.map((_, i) => i),
        ticktext,
        range: [-0.5, axis.levels.length - 0.5],
        zeroline: false,
      };
    }
    const values = distinct({ ...axis, values: model.matching.map((point) => axis.values[point]) });
    const every = values.length <= MOST_TICKS ? 1 : Math.ceil(values.length / (MOST_TICKS - 1));
    const geometric = values[0] > 0 && values.at(-1) / values[0] >= 8;
    const ticks = apart(values.filter((_, i) => i % every === 0), (value) => label(axis, value), geometric);
    return {
      type: geometric ? "log" : "linear",
      tickvals: ticks,
      ticktext: ticks.map((value) => label(axis, value)),
      tickangle: 0,
      zeroline: false,
    };
  }

  function upAxis(lines, axis, objective) {
    const drawn = lines.flatMap((line) => line.y).filter((at) => at !== null);
    const [least, most] = [Math.min(...drawn), Math.max(...drawn)];
    const logarithmic = least > 0 && most / least >= LOGARITHMIC_FROM;
    const relative = isRelative(axis);
    const ticks = attnflow.ticks(least, most, logarithmic, relative ? "" : objective.unit);
    const scale = relative && !logarithmic ? { ticksuffix: "×" } : ticks;
    const flat = most - least < 1e-9 * Math.abs(most) ? { range: [0, 1.25 * most || 1] } : {};
    return {
      type: logarithmic ? "log" : "linear",
      exponentformat: "SI",
      nticks: 6,
      zeroline: false,
      ...scale,
      ...flat,
    };
  }

  async function drawChart(plot, axis, objective, points) {
    const lines = traces(points, axis, objective, measure(objective, axis));
    const stuck = along(axis, model.matching).filter((point) => model.state.values[point] === "deadlock");
    const strip = attnflow.strip(stuck, place(axis), "scatter");
    const layout = {
      height: 230,
      hovermode: "closest",
      margin: { l: 44, r: 12, t: 8, b: 30 },
      xaxis: acrossAxis(axis),
      ...strip.layout,
      yaxis: { ...upAxis(lines, axis, objective), ...strip.layout.yaxis },
    };
    await attnflow.draw(plot, [...lines, ...strip.traces], layout, { displayModeBar: false });
  }

  const inWords = (factor, several) => {
    const what = several ? "medians differ" : "values differ";
    if (factor < 1.005) return `${what} by less than 0.5 %`;
    return `${what} by ${factor < 10 ? factor.toFixed(2) : attnflow.number(Math.round(factor))}×`;
  };

  function note(objective, shown) {
    if (shown.some(isRelative)) return "× is a multiple of the best on the same workload";
    return attnflow.heading(objective) === objective.title ? "" : `in ${attnflow.unit(objective.unit)}`;
  }

  /** Heading, charts and remark about one objective; charts are drawn once they are in the page. */
  function part(objective, charts) {
    const done = (point) => model.state.values[point] === "done" && objective.values[point] !== null;
    const points = model.matching.filter(done);
    if (!points.length) return [];
    const shown = axes.filter((axis) => axis !== split);
    const profiles = shown.map((axis) => ({
      axis,
      line: lineOf(along(axis, points), axis, objective, measure(objective, axis)),
    }));
    const still = profiles.filter(({ line }) => attnflow.flat(line)).map(({ axis }) => axis.name);
    const moving = profiles.filter(({ axis }) => !still.includes(axis.name));
    moving.sort((a, b) => attnflow.effect(b.line) - attnflow.effect(a.line));
    const figures = moving.map(({ axis, line }) => {
      const plot = make("div", { class: "plot" });
      charts.push(() => drawChart(plot, axis, objective, along(axis, points)));
      const remark = inWords(attnflow.effect(line), along(axis, points).length > line.length);
      return make("figure", {}, make("figcaption", {}, make("b", {}, title(axis)), make("small", {}, remark)), plot);
    });
    return [
      make("h3", {}, objective.title, " ", make("small", {}, note(objective, shown))),
      make("div", { class: "multiples" }, figures),
      ...(still.length ? [make("p", { class: "still" }, `No effect at all: ${still.join(", ")}.`)] : []),
    ];
  }

  function showLegend() {
    const entry = (hue, shape, text) => {
      const swatch = make("i", { class: `swatch ${shape}` });
      swatch.style.setProperty("--hue", hue);
      return make("span", { class: "legend-entry" }, swatch, text);
    };
    const several = axes.some((axis) => along(axis, model.matching).length > distinct(axis).length);
    legend.hidden = !split && !several;
    const owner = split?.numeric ? `${split.name} ` : "";
    const entries = split
      ? groups([]).map(({ name, hue }) => entry(hue, "line", `${owner}${name}`))
      : [
          entry(colour("blue"), "line", "median"),
          entry(colour("orange"), "dot", "best"),
          entry(colour("shade"), "area", "best to worst"),
        ];
    legend.replaceChildren(...entries);
  }

  function showControls() {
    const entries = [["", "all points together"], ...splits.map((axis) => [axis.name, axis.title])];
    controls.hidden = axes.length === 1 || splits.length === 0;
    controls.replaceChildren(
      attnflow.choice("Lines by", entries, split?.name ?? "", (name) => {
        split = name ? model.column(name) : null;
        draw();
      }),
    );
  }

  let turn = 0;
  async function draw() {
    const mine = (turn += 1);
    showControls();
    showLegend();
    const charts = [];
    const parts = objectives.flatMap((objective) => part(objective, charts));
    body.querySelectorAll(".plot").forEach((plot) => window.Plotly?.purge(plot));
    body.replaceChildren(...(parts.length ? parts : [make("p", { class: "empty" }, "No point passes the filter.")]));
    for (const chart of charts) {
      if (mine === turn) await chart();
    }
  }

  await draw();
  return { filter: draw, theme: draw };
}, { charts: true });
