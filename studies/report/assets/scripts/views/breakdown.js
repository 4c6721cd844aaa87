"use strict";
// Stacked bars for each selected point: where cycles, bytes or joules went.
attnflow.view("breakdown", async (element, data, perPoint) => {
  const { model, make, colour } = attnflow;
  const STRIDE = 4; // bar, part, kind, value
  const BAR_PX = 24;
  const MOST_TEXT = 24;
  const HUES = ["blue", "orange", "vermillion", "purple", "green", "sky", "yellow", "black"];
  let shares = true;
  const controls = make("div", { class: "controls" });
  const legend = make("div", { class: "legend" });
  const body = make("div", { class: "panels" });
  element.append(controls, legend, body);
  const hue = (i) => (data.kinds[i].name === "idle" ? colour("faint") : colour(HUES[i % HUES.length]));

  function unpackBars(flat) {
    const bars = [];
    for (let i = 0; i < flat.length; i += STRIDE) {
      bars.push({ bar: data.labels[flat[i]], part: data.labels[flat[i + 1]], kind: flat[i + 2], value: flat[i + 3] });
    }
    return bars;
  }

  /** Traces so that the n-th part of a kind of every bar is one trace: bars keep the order of their parts. */
  function traces(parts, bars, totals) {
    const layers = new Map();
    const seen = new Map();
    for (const part of parts) {
      const count = seen.get(`${part.kind} ${part.bar}`) ?? 0;
      seen.set(`${part.kind} ${part.bar}`, count + 1);
      const key = part.kind * 1e6 + count;
      if (!layers.has(key)) layers.set(key, []);
      layers.get(key).push(part);
    }
    return [...layers.keys()]
      .sort((a, b) => a - b)
      .map((key) => {
        const layer = layers.get(key);
        const kind = Math.floor(key / 1e6);
        const share = (part) => part.value / totals.get(part.bar);
        const named = (part) =>
          part.part === data.kinds[kind].name ? data.kinds[kind].label : `${data.kinds[kind].label}: ${part.part}`;
        return {
          type: "bar",
          orientation: "h",
          showlegend: false,
          y: layer.map((part) => bars.indexOf(part.bar)),
          x: layer.map((part) => (shares ? 100 * share(part) : part.value)),
          marker: { color: hue(kind), line: { color: colour("surface"), width: 1 } },
          text: layer.map((part) =>
            share(part) > 0.14 && part.part !== data.kinds[kind].name
              ? attnflow.plain(attnflow.shorten(part.part, MOST_TEXT))
              : "",
          ),
          textposition: "inside",
          insidetextanchor: "middle",
          insidetextfont: { size: 11, color: kind === 0 ? colour("on-dark") : "#111" },
          hovertemplate: "%{hovertext}<extra></extra>",
          hovertext: layer.map(
            (part) =>
              `<b>${attnflow.plain(part.bar)}</b><br>${attnflow.plain(named(part))}<br>${attnflow.quantity(part.value, data.unit)}, ${attnflow.percent(share(part))}`,
          ),
        };
      });
  }

  function panel(point, flat, charts) {
    const parts = unpackBars(flat);
    const bars = [...new Set(parts.map((part) => part.bar))];
    const totals = new Map(bars.map((bar) => [bar, 0]));
    parts.forEach((part) => totals.set(part.bar, totals.get(part.bar) + part.value));
    const plot = make("div", { class: "plot" });
    const whole = Math.max(...totals.values());
    const caption = attnflow.caption(point, attnflow.quantity(whole, data.unit));
    body.append(make("figure", {}, caption, plot));
    charts.push(() => attnflow.draw(plot, traces(parts, bars, totals), layout(bars), { displayModeBar: false }));
  }

  function layout(bars) {
    const unit = data.unit ? ` [${data.unit}]` : "";
    return {
      barmode: "stack",
      bargap: 0.28,
      height: BAR_PX * bars.length + 60,
      margin: { l: 20, r: 26, t: 4, b: 40 },
      xaxis: shares
        ? { range: [0, 100], ticksuffix: " %" }
        : { title: { text: `${data.whole}${unit}` }, exponentformat: "SI" },
      yaxis: {
        tickvals: bars.map((_, i) => i),
        ticktext: bars.map((bar) => attnflow.plain(attnflow.shorten(bar, 24))),
        autorange: "reversed",
        showgrid: false,
        zeroline: false,
      },
      uniformtext: { mode: "hide", minsize: 9 },
    };
  }

  let turn = 0;
  async function draw() {
    const mine = (turn += 1);
    const parts = await Promise.all(model.selected.map(perPoint));
    if (mine !== turn) return; // selected again meanwhile
    const entries = [
      ["share", `share of ${data.whole}`],
      ["value", data.whole],
    ];
    controls.replaceChildren(
      attnflow.choice("Show", entries, shares ? "share" : "value", (value) => {
        shares = value === "share";
        draw();
      }),
    );
    legend.replaceChildren(
      ...data.kinds.map((kind, i) => {
        const box = make("i", { class: "swatch" });
        box.style.setProperty("--hue", hue(i));
        return make("span", { class: "legend-entry" }, box, kind.label);
      }),
    );
    body.querySelectorAll(".plot").forEach((plot) => Plotly.purge(plot));
    body.replaceChildren();
    const charts = [];
    model.selected.forEach((point, i) => parts[i].length && panel(point, parts[i], charts));
    for (const chart of charts) {
      if (mine === turn) await chart();
    }
    if (!charts.length) body.append(make("p", { class: "empty" }, "None of the selected points has a result."));
  }

  await draw();
  return { select: draw, theme: draw };
});
