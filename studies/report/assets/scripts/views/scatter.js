"use strict";
// All points by two of their numbers, with the Pareto front of each workload.
attnflow.view("scatter", async (element, data) => {
  const { model, make, colour } = attnflow;
  const MOST_DOTS = 1500; // beyond, dots of one colour that would cover each other are one
  const CELLS = [160, 90]; // across and up, of which each is as large as half a dot
  const MOST_LEVELS = 8;
  const MOST_WORDS = 24;
  const MOST_FRONTS = 6;
  const MOST_NAMED = 14;
  const LONGEST_NAME = 24;
  const SYMBOLS = ["circle", "square", "diamond", "triangle-up"]; // one for each round of the hues
  const numbers = [...model.metrics, ...model.axes].filter((column) => column.numeric);
  const shown = { x: data.x, y: data.y, colour: "", logX: null, logY: null };
  const colourable = model.axes.filter((axis) => axis.numeric || axis.levels.length <= MOST_WORDS);
  // the colour of a lone axis would only repeat a position
  const telling = model.axes.length > 1 || !model.axes[0]?.numeric ? colourable : [];
  shown.colour = mostInfluential(telling.filter((axis) => axis.name !== data.x && axis.name !== data.y))?.name ?? "";

  /** The axis along which the medians of the two numbers shown differ by the largest factor. */
  function mostInfluential(axes) {
    const done = model.matching.filter((point) => model.state.values[point] === "done");
    const effect = (axis) => {
      const factors = [data.x, data.y].map(model.column).map((column) => {
        const known = done.filter((point) => column.values[point] !== null && axis.values[point] !== null);
        return attnflow.effect(attnflow.profile(known, axis, (point) => column.values[point]));
      });
      return Math.max(...factors);
    };
    return axes.reduce((best, axis) => (best && effect(best) >= effect(axis) ? best : axis), null);
  }

  const plot = make("div", { class: "plot tall" });
  const controls = make("div", { class: "controls" });
  element.append(controls, plot);

  function control() {
    const entries = numbers.map((column) => [column.name, column.title]);
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
        [["", "none"], ...colourable.map((axis) => [axis.name, axis.title])],
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
    if (!column) return [{ name: "", hue: colour("blue"), symbol: SYMBOLS[0], has: () => true }];
    if (!column.numeric) {
      const hues = attnflow.hues();
      return column.levels.map((level, i) => ({
        name: level,
        hue: hues[i % hues.length],
        symbol: SYMBOLS[Math.floor(i / hues.length) % SYMBOLS.length],
        has: (p) => column.values[p] === level,
      }));
    }
    const values = [...new Set(column.values.filter((value) => value !== null))].sort((a, b) => a - b);
    const bins = values.length <= MOST_LEVELS ? values.map((value) => [value, value]) : quantiles(values);
    const ramp = attnflow.ramp(bins.length);
    return bins.map(([low, high], i) => ({
      name: low === high ? reading(column, low) : `${reading(column, low)} to ${reading(column, high)}`,
      hue: ramp[i],
      symbol: SYMBOLS[0],
      has: (point) => column.values[point] >= low && column.values[point] <= high && column.values[point] !== null,
    }));
  }

  const reading = (column, value) => attnflow.reading(column, value);

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
  function dots({ name, hue, symbol, has }, points, onFront, at) {
    const members = points.filter(has);
    const shared = { mode: "markers", name: attnflow.plain(name), legendgroup: name };
    const traces = [false, true].map((solid) => {
      const some = members.filter((point) => onFront.has(point) === solid);
      const edge = { width: solid ? 1 : 0, color: colour("surface") };
      const marker = { color: hue, symbol, size: solid ? 10 : 7, opacity: solid ? 1 : 0.45, line: edge };
      return { ...shared, ...at(some), customdata: some, marker, hoverinfo: "none", showlegend: false };
    });
    if (name && members.length) traces.push({ ...shared, x: [null], y: [null], marker: { color: hue, symbol, size: 10 } });
    return traces.filter((trace) => trace.x.length);
  }

  /** How many of all points of a study lie where, if the page shows a part of them and no filter is set. */
  function cloud() {
    const found = (data.densities ?? []).find((each) => each.x === shown.x && each.y === shown.y);
    if (!found || model.filters.size || model.frontOnly) return [];
    const [x, y] = found.edges;
    const z = y.slice(1).map(() => Array(x.length - 1).fill(null));
    const text = y.slice(1).map(() => Array(x.length - 1).fill(""));
    found.cells.forEach((cell, i) => {
      const [row, place] = [Math.floor(cell / (x.length - 1)), cell % (x.length - 1)];
      z[row][place] = Math.log10(found.counts[i]);
      text[row][place] = `${attnflow.number(found.counts[i])} of all points`;
    });
    const colorscale = [[0, colour("shade")], [1, colour("muted")]];
    return [{ type: "heatmap", x, y, z, text, hoverinfo: "text", colorscale, showscale: false, zmin: 0 }];
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

  /** One of the points of a colour that share a cell of the chart, where there are many; those of `kept` all stay. */
  function thinned(points, kept, across, up) {
    if (points.length <= MOST_DOTS) return points;
    const spans = [across, up].map((scale) => {
      const places = points.map((point) => (scale.log ? Math.log10(scale.at(point)) : scale.at(point)));
      const least = places.reduce((low, each) => Math.min(low, each), Infinity);
      const most = places.reduce((high, each) => Math.max(high, each), -Infinity);
      return (point, cells) => {
        const place = scale.log ? Math.log10(scale.at(point)) : scale.at(point);
        return most > least ? Math.round(((place - least) / (most - least)) * cells) : 0;
      };
    });
    const owners = classes();
    const seen = new Set();
    return points.filter((point) => {
      const owner = owners.findIndex(({ has }) => has(point));
      const cell = `${owner} ${spans[0](point, CELLS[0])} ${spans[1](point, CELLS[1])}`;
      if (seen.has(cell)) return kept.has(point);
      seen.add(cell);
      return true;
    });
  }

  /** Letters of the selected points, and the names of those on a front, where they cover nothing that is there. */
  function labels(chosen, best, across, up) {
    const { xaxis, yaxis } = plot._fullLayout;
    const place = (scale, point) => (scale.log ? Math.log10(scale.at(point)) : scale.at(point));
    const pixel = (point) => [xaxis.l2p(place(across, point)), yaxis.l2p(place(up, point))];
    const taken = [...new Set([...best.flat(), ...chosen])].map((point) => {
      const [x, y] = pixel(point);
      return [x - 7, y - 7, x + 7, y + 7];
    });
    const meets = (a) => taken.some((b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3]);
    const inside = (a) => a[0] > 0 && a[2] < xaxis._length && a[1] > -6 && a[3] < yaxis._length;
    const put = (point, text, width, look, must) => {
      const [x, y] = pixel(point);
      const half = width / 2;
      const spots = [[half + 12, 0], [-half - 12, 0], [0, -18], [0, 18], [half + 10, -14], [-half - 10, 14]];
      spots.push([half + 10, 14], [-half - 10, -14]);
      const box = ([dx, dy]) => [x + dx - half, y + dy - 9, x + dx + half, y + dy + 9];
      const free = spots.find((spot) => inside(box(spot)) && !meets(box(spot)));
      if (!free && !must) return [];
      const spot = free ?? spots[4];
      taken.push(box(spot));
      const where = { x: place(across, point), y: place(up, point), xshift: spot[0], yshift: -spot[1] };
      return [{ ...where, text: attnflow.plain(text), showarrow: false, ...look }];
    };
    const badge = { bgcolor: colour("text"), font: { size: 12, color: colour("surface"), weight: 700 }, borderpad: 3 };
    const plain = { font: { size: 11, color: colour("text") } };
    const named = best.flat().length <= MOST_NAMED ? best.flat() : best.flat().filter((point) => chosen.includes(point));
    // the colour names a point where no other named one has it, too
    const owner = shown.colour && model.column(shown.colour);
    const telling = owner && new Set(named.map((point) => owner.values[point])).size === named.length;
    const differs = (axis) => new Set(named.map((point) => axis.values[point])).size > 1;
    const others = model.axes.filter(differs);
    const words = (point) => others.map((axis) => attnflow.value(axis, point)).join(", ");
    const name = (point) => attnflow.shorten(telling ? attnflow.value(owner, point) : words(point), LONGEST_NAME);
    return [
      ...chosen.flatMap((point) => put(point, model.letter(point), 18, badge, true)),
      ...named.flatMap((point) => put(point, name(point), 6.2 * name(point).length, plain, false)),
    ];
  }

  async function draw() {
    control();
    const points = drawable();
    const [x, y] = [model.column(shown.x), model.column(shown.y)];
    const isStuck = (point) => model.state.values[point] === "deadlock" && x.values[point] !== null;
    const stuck = model.matching.filter(isStuck);
    const across = attnflow.scale(x, [...points, ...stuck], shown.logX);
    const up = attnflow.scale(y, points, shown.logY);
    const at = (some) => ({ type: "scatter", x: some.map(across.at), y: some.map(up.at) });
    const kept = points.filter(feasible);
    const best = fronts(kept);
    const onFront = new Set(best.flat());
    const chosen = model.selected.filter((point) => points.includes(point));
    const strip = attnflow.strip(stuck, across.at);
    const whole = new Set([...onFront, ...chosen]);
    const drawn = thinned(kept, whole, across, up);
    const traces = [
      ...cloud(),
      ...beyond(thinned(points.filter((point) => !feasible(point)), whole, across, up), at),
      ...steps(best, at),
      ...classes().flatMap((each) => dots(each, drawn, onFront, at)),
      rings(chosen, at),
      ...strip.traces,
    ];
    const title = { text: attnflow.plain(shown.colour && model.column(shown.colour).title), side: "left" };
    const layout = {
      height: 480,
      hovermode: "closest",
      dragmode: "zoom",
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, traceorder: "normal", title },
      margin: { t: shown.colour ? 36 : 8 },
      ...strip.layout,
      xaxis: { ...across.axis, title: { text: attnflow.title(x) } },
      yaxis: { ...up.axis, title: { text: attnflow.title(y) }, ...strip.layout.yaxis },
    };
    await attnflow.draw(plot, traces, layout);
    // places in pixels are known once all else is drawn
    await attnflow.draw(plot, traces, { ...layout, annotations: labels(chosen, best, across, up) });
  }

  await draw();
  return { select: draw, filter: draw, theme: draw };
}, { charts: true });
