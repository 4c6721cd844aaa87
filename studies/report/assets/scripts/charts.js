"use strict";
// What all charts share: colours and fonts of the page, axes, the strip for deadlocks, hovering and clicking.
{
  const BUTTONS = [["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d", "toImage"]];
  const LOGARITHMIC_FROM = 5; // largest over smallest value of an axis
  const CONFIG = { displaylogo: false, modeBarButtons: BUTTONS };

  /** Layout in the colours of the page; `more` wins. */
  attnflow.layout = (more) => {
    const { colour } = attnflow;
    const axis = {
      gridcolor: colour("grid"),
      linecolor: colour("line"),
      zerolinecolor: colour("line"),
      tickcolor: colour("line"),
      automargin: true,
    };
    const base = {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      colorway: attnflow.hues(),
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("text") },
      margin: { l: 72, r: 12, t: 12, b: 44 },
      hoverlabel: { bgcolor: colour("raised"), bordercolor: colour("line"), font: { color: colour("text") } },
      legend: { bgcolor: "rgba(0,0,0,0)" },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("muted"), activecolor: colour("accent") },
    };
    const axes = { xaxis: axis, yaxis: axis };
    for (const name of Object.keys(more).filter((key) => /^[xy]axis/.test(key))) {
      axes[name] = { ...axis, ...more[name], title: { standoff: 10, ...more[name].title } };
    }
    return { ...base, ...more, ...axes, margin: { ...base.margin, ...more.margin } };
  };

  // a chart follows the width of its place, whatever changes it; the height is its own
  const follower = new ResizeObserver((entries) => {
    for (const { target, contentRect } of entries) {
      if (target._fullLayout && contentRect.width && Math.abs(target._fullLayout.width - contentRect.width) > 1)
        Plotly.Plots.resize(target);
    }
  });

  // paper is narrower than most windows, and nobody hears of its width before charts are on it
  const PAPER_PX = 700;
  attnflow.widthOf = (element) => (attnflow.printing ? Math.min(element.clientWidth, PAPER_PX) : element.clientWidth);
  window.addEventListener("beforeprint", () => {
    attnflow.printing = true; // heard before all others: views that are drawn for it look here
    for (const plot of document.querySelectorAll(".js-plotly-plot"))
      if (plot._fullLayout?.width > PAPER_PX) Plotly.relayout(plot, { width: PAPER_PX });
  });
  window.addEventListener("afterprint", () => {
    attnflow.printing = false;
    for (const plot of document.querySelectorAll(".js-plotly-plot"))
      if (plot.layout?.width) Plotly.relayout(plot, { width: null, autosize: true });
  });

  attnflow.draw = async (element, traces, layout, config = {}) => {
    await attnflow.plotly();
    const width = element.clientWidth > attnflow.widthOf(element) ? { width: PAPER_PX } : {};
    await Plotly.react(element, traces, { ...attnflow.layout(layout), ...width }, { ...CONFIG, ...config });
    tell(element, layout);
    if (!element.dataset.bound) {
      element.dataset.bound = "yes";
      follower.observe(element);
      element.on("plotly_hover", ({ points, event }) => {
        const point = points.find((each) => Number.isInteger(each.customdata));
        if (point) attnflow.showCard(point.customdata, event);
      });
      element.on("plotly_unhover", attnflow.hideCard);
      element.on("plotly_click", ({ points }) => {
        const point = points.find((each) => Number.isInteger(each.customdata));
        if (point) attnflow.model.toggle(point.customdata);
      });
    }
  };

  /** Say what a chart shows to those who do not see it, and let the keyboard reach its buttons. */
  function tell(element, { xaxis, yaxis, title }) {
    const name = (axis) => (axis?.title?.text ?? "").replace("<br>", " ");
    const heading = element.closest("section")?.querySelector("h2")?.textContent ?? "";
    const axes = [name(yaxis), name(xaxis)].filter(Boolean).join(" over ");
    const said = [title?.text || element.closest("figure")?.querySelector("figcaption")?.textContent || heading, axes];
    element.querySelectorAll(".main-svg").forEach((svg, i) => {
      if (i) svg.setAttribute("aria-hidden", "true");
      else {
        svg.setAttribute("role", "img");
        svg.setAttribute("aria-label", said.filter(Boolean).join(": "));
      }
    });
    element.querySelectorAll(".modebar-btn").forEach((button) => {
      button.setAttribute("role", "button");
      button.setAttribute("tabindex", "0");
      button.setAttribute("aria-label", button.dataset.title ?? "");
    });
  }

  document.addEventListener("keydown", (event) => {
    if (!event.target.classList?.contains("modebar-btn") || !["Enter", " "].includes(event.key)) return;
    event.preventDefault();
    event.target.click();
  });

  /** Positions, ticks and scale of an axis that shows a column; words get whole numbers as positions. */
  attnflow.scale = (column, points, log = null) => {
    if (!column.numeric) {
      const levels = column.levels.filter((level) => points.some((point) => column.values[point] === level));
      const place = new Map(levels.map((level, i) => [level, i]));
      const ticktext = levels.map((level) => attnflow.plain(attnflow.shorten(level || "(empty)", 22)));
      return {
        at: (point) => place.get(column.values[point]) ?? null,
        log: false,
        axis: { tickvals: levels.map((_, i) => i), ticktext, range: [-0.5, levels.length - 0.5], zeroline: false },
      };
    }
    let [least, most] = [Infinity, -Infinity];
    for (const point of points) {
      const value = column.values[point];
      if (value !== null) [least, most] = [Math.min(least, value), Math.max(most, value)];
    }
    const logarithmic = (log ?? (least > 0 && most / least >= LOGARITHMIC_FROM)) && least > 0;
    const axis = { type: logarithmic ? "log" : "linear", exponentformat: "SI", zeroline: false };
    return {
      at: (point) => column.values[point],
      log: logarithmic,
      axis: { ...axis, ...attnflow.ticks(least, most, logarithmic, column.unit, column.share) },
    };
  };

  /** Ticks where Plotly's own are hard to read: bytes, and scales of few decades. */
  attnflow.ticks = (least, most, logarithmic, unit, share = false) => {
    const tickvals = [];
    if (unit === "B" && logarithmic) {
      const factor = 2 ** Math.max(1, Math.ceil(Math.log2(most / least) / 7));
      for (let tick = 2 ** Math.floor(Math.log2(least)); tick <= 2 * most; tick *= factor) tickvals.push(tick);
    } else if (unit === "B") {
      const step = 2 ** Math.ceil(Math.log2(Math.max(most - least, 1) / 6));
      for (let tick = Math.floor(least / step) * step; tick <= most + step; tick += step) tickvals.push(tick);
    } else if (logarithmic) {
      const decades = Math.log10(most / least);
      for (
        let power = Math.floor(Math.log10(least));
        power <= Math.ceil(Math.log10(most));
        power += decades > 12 ? 3 : 1
      ) {
        for (const step of decades < 3 ? [1, 2, 5] : [1]) tickvals.push(step * 10 ** power);
      }
    } else if (share) return { tickformat: ".0%" };
    else if (attnflow.isScaled(unit) && most > least) {
      const rough = (most - least) / 5;
      const step = [1, 2, 5, 10].map((each) => each * 10 ** Math.floor(Math.log10(rough))).find((each) => each >= rough);
      for (let i = Math.floor(least / step); i <= Math.ceil(most / step); i += 1) tickvals.push(i * step);
    } else return {};
    return { tickvals, ticktext: attnflow.apart(tickvals, unit) };
  };

  /** Quantities in few characters, in as many as it takes to tell them apart. */
  attnflow.apart = (values, unit) => {
    const short = values.map((value) => attnflow.rounded(value, unit));
    if (new Set(short).size === values.length) return short;
    const long = values.map((value) => (unit === "B" ? `${attnflow.number(value)} B` : attnflow.quantity(value, unit)));
    return new Set(long).size === values.length ? long : values.map((value) => attnflow.number(value));
  };

  attnflow.title = (column) => attnflow.plain(attnflow.heading(column));

  /** Points without a result, as crosses in a strip above the chart: traces and layout for it. */
  attnflow.strip = (points, at) => {
    if (!points.length) return { traces: [], layout: { yaxis: {} } };
    const marker = { symbol: "x-thin", size: 7, line: { width: 1.5, color: attnflow.colour("muted") } };
    const trace = {
      type: "scatter",
      mode: "markers",
      x: points.map(at),
      y: points.map(() => 0),
      yaxis: "y2",
      customdata: points,
      hoverinfo: "none",
      showlegend: false,
      marker,
    };
    const ticks = { tickvals: [0], ticktext: ["deadlock"], tickfont: { size: 11, color: attnflow.colour("muted") } };
    const yaxis2 = { domain: [0.93, 1], range: [-1, 1], fixedrange: true, showgrid: false, zeroline: false, ...ticks };
    return { traces: [trace], layout: { yaxis: { domain: [0, 0.9] }, yaxis2 } };
  };
}
