"use strict";
// A Plotly figure made in Python.
attnflow.view("figure", async (element, { data, layout, caption }) => {
  const { model, make } = attnflow;
  const NARROW = 560; // pixels of a chart that has no room for long words
  const SIDES = ["middle right", "top center", "middle left", "bottom center"];
  const plot = make("div", { class: "plot" });
  const legend = make("div", { class: "legend" });
  element.append(plot, legend, make("p", { class: "caption" }, caption));
  /** The traces; one whose `meta` has a `hue` is drawn in that colour of the page, one with `named` names what is selected. */
  function traces() {
    const hues = attnflow.hues();
    return structuredClone(data).map((trace) => {
      const named = trace.meta?.named ? { text: trace.customdata.map(name), mode: "markers+text" } : {};
      // neighbours in the order of the letters take turns, so that their names do not meet
      const side = (point) => SIDES[model.selected.indexOf(point) % SIDES.length];
      if (trace.meta?.named) named.textposition = trace.customdata.map(side);
      const textfont = { color: attnflow.colour("text"), size: 12 };
      if (trace.meta?.hue === undefined) return { ...trace, ...named, textfont };
      const color = hues[trace.meta.hue % hues.length];
      return { ...trace, ...named, textfont, line: { ...trace.line, color }, marker: { ...trace.marker, color } };
    });
  }

  /** What a dot is called: the letter of a selected point, with its chip where chips differ. */
  function name(point, i) {
    const letter = model.letter(point);
    const chip = model.column("chip");
    const long = chip?.varied && plot.clientWidth > NARROW;
    return letter ? attnflow.plain(long ? `${letter} ${chip.values[point]}` : letter) : "";
  }

  /** Entries below the chart: on a phone those of Plotly cover its axis. */
  function showLegend(drawn) {
    const entries = drawn.filter((trace) => trace.name && trace.showlegend !== false);
    const swatch = (trace) => {
      const shape = trace.mode === "lines" ? (["dash", "dot", "dashdot"].includes(trace.line?.dash) ? "line dashed" : "line") : trace.type === "bar" ? "" : "dot";
      const box = make("i", { class: `swatch ${shape}` });
      box.style.setProperty("--hue", trace.line?.color ?? trace.marker?.color ?? attnflow.colour("muted"));
      return box;
    };
    const text = (trace) => trace.name.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
    legend.replaceChildren(...entries.map((trace) => make("span", { class: "legend-entry" }, swatch(trace), text(trace))));
    legend.hidden = entries.length < 2;
  }

  async function draw() {
    const drawn = traces();
    const title = layout.xaxis?.title?.text;
    const lines = title && plot.clientWidth < NARROW ? title.replace(/^(.{15,}?) /, "$1<br>") : title;
    const xaxis = layout.xaxis && { ...layout.xaxis, title: { ...layout.xaxis.title, text: lines } };
    await attnflow.draw(plot, drawn, structuredClone({ height: 420, ...layout, ...(xaxis && { xaxis }), showlegend: false }));
    showLegend(plot._fullData.map((trace, i) => ({ ...drawn[i], line: trace.line, marker: trace.marker })));
  }
  await draw();
  return { theme: draw, select: data.some((trace) => trace.meta?.named) ? draw : null };
}, { charts: true });
