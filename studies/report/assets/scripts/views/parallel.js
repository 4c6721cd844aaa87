"use strict";
// Parallel coordinates on a canvas: 10^4 lines in a fraction of a second, and brushes that filter the page.
attnflow.view("parallel", async (element, data) => {
  const { model, make, colour } = attnflow;
  const HEIGHT = 320;
  const MARGIN = { top: 44, bottom: 12, left: 70, right: 70 }; // the sides grow with the labels of the outer axes
  const LEAST_SIDE = 70;
  const COLOURS = 24;
  const MOST_LETTERS = data.axes.length > 6 ? 12 : 20; // of a label that is a word; few axes are far apart
  const MOST_OUTSIDE = 28; // of one beside the first or last axis, where nothing else is
  const NARROW = 700; // pixels of a chart that has no room for long labels outside
  const LETTER_PX = 6.5; // of a label, about
  const LEAST_LETTERS = 6;
  const columns = data.axes.map(model.column);
  const hue = model.column(data.colour);
  const brushes = new Map(); // by name of the column: [low, high] in shares of the height
  const hasResult = (point) => ["done", "infeasible"].includes(model.state.values[point]);
  const scales = columns.map((column) => scaleOf(column));
  const canvas = make("canvas", { class: "parallel", role: "img" });
  const titles = columns.map((column) => column.title).join(", ");
  canvas.setAttribute("aria-label", `Lines of all points across ${titles}; the filters of the table keep some of them`);
  const legend = make("div", { class: "legend" });
  element.append(legend, canvas);

  /** Share of the height (0 at the bottom) of a value, and the labels of an axis. */
  function scaleOf(column) {
    const drawn = [...Array(model.count).keys()].filter(hasResult).map((point) => column.values[point]);
    const values = attnflow.distinct({ numeric: column.numeric, values: drawn });
    const place = new Map(values.map((value, i) => [value, values.length > 1 ? i / (values.length - 1) : 0.5]));
    if (!column.numeric || values.length <= 8) {
      return { at: (value) => place.get(value), labels: values.map((value) => [value, place.get(value)]), values };
    }
    const [least, most] = [values[0], values.at(-1)];
    const logarithmic = least > 0 && most / least >= 20;
    const turn = logarithmic ? Math.log : (value) => value;
    const at = (value) => (turn(value) - turn(least)) / (turn(most) - turn(least));
    const back = (share) => turn(least) + share * (turn(most) - turn(least));
    const ends = [0, 0.25, 0.5, 0.75, 1].map((share) => (logarithmic ? Math.exp(back(share)) : back(share)));
    return { at, labels: ends.map((value, i) => [value, i / 4]), values };
  }

  const across = (i, width) => MARGIN.left + (i / (columns.length - 1)) * (width - MARGIN.left - MARGIN.right);
  const up = (share) => HEIGHT - MARGIN.bottom - share * (HEIGHT - MARGIN.top - MARGIN.bottom);

  function trace(context, point, width) {
    let pen = false;
    columns.forEach((column, i) => {
      const value = column.values[point];
      if (value === null) {
        pen = false;
        return;
      }
      const [x, y] = [across(i, width), up(scales[i].at(value))];
      if (pen) context.lineTo(x, y);
      else context.moveTo(x, y);
      pen = true;
    });
  }

  /** Points by colour: ranks of the first objective, so that every colour is used. */
  function classes(points) {
    const known = points.filter((point) => hue.values[point] !== null);
    known.sort((a, b) => hue.values[a] - hue.values[b]);
    const ramp = attnflow.ramp(COLOURS);
    const size = Math.max(1, Math.ceil(known.length / COLOURS));
    return ramp.map((ink, i) => ({ ink, members: known.slice(i * size, (i + 1) * size) })).reverse();
  }

  /** What the colours mean: from the least to the greatest value of the first objective. */
  function showLegend(points) {
    const values = points.map((point) => hue.values[point]).filter((value) => value !== null);
    const strip = make("i", { class: "ramp" });
    strip.style.background = `linear-gradient(to right, ${attnflow.ramp(8).join(", ")})`;
    const end = (value) => make("span", {}, attnflow.reading(hue, value));
    const [least, most] = attnflow.ends(values);
    const parts = values.length ? [end(least), strip, end(most)] : [];
    legend.replaceChildren(make("span", { class: "legend-entry" }, make("b", {}, hue.title), ...parts));
  }

  function stroke(context, points, width, ink, thickness, opacity) {
    context.beginPath();
    for (const point of points) trace(context, point, width);
    Object.assign(context, { strokeStyle: ink, lineWidth: thickness, globalAlpha: opacity });
    context.stroke();
  }

  const heading = (column) => attnflow.heading(column).replace(/^chip\./, "");

  // in as many characters as it takes to tell the labels of an axis apart
  const ticks = scales.map(({ labels: ends }, i) => {
    const { unit, share, numeric } = columns[i];
    if (!numeric) return null;
    const values = ends.map(([value]) => value);
    const texts = share ? values.map(attnflow.percent) : attnflow.apart(values, unit);
    return new Map(values.map((value, j) => [value, texts[j]]));
  });
  const isOuter = (i) => i === 0 || i === columns.length - 1;
  function written(i, value, width) {
    if (columns[i].numeric) return ticks[i].get(value);
    const gap = across(1, width) - across(0, width); // a label that is longer meets those of the axis before
    const inside = Math.max(LEAST_LETTERS, Math.min(MOST_LETTERS, Math.floor((gap - 12) / LETTER_PX)));
    const most = !isOuter(i) ? inside : width > NARROW ? MOST_OUTSIDE : MOST_LETTERS;
    return attnflow.shorten(String(value || "(empty)"), most);
  }

  /** Room beside the first and the last axis for the widest of their labels, which stand outside. */
  function measureSides(context, width) {
    context.font = `11px ${getComputedStyle(document.body).fontFamily}`;
    const room = (i) => {
      const widths = scales[i].labels.map(([value]) => context.measureText(written(i, value, width)).width);
      return Math.max(LEAST_SIDE, Math.ceil(Math.max(0, ...widths)) + 12);
    };
    [MARGIN.left, MARGIN.right] = [room(0), room(columns.length - 1)];
  }

  function labels(context, width) {
    const font = getComputedStyle(document.body).fontFamily;
    context.globalAlpha = 1;
    columns.forEach((column, i) => {
      const x = across(i, width);
      Object.assign(context, { strokeStyle: colour("line"), lineWidth: 1, fillStyle: colour("text") });
      context.strokeRect(x, up(1), 0, up(0) - up(1));
      context.textAlign = "center";
      context.font = `600 12px ${font}`;
      // neighbours take turns, so that long names do not meet
      const name = attnflow.shorten(heading(column), 24);
      const half = context.measureText(name).width / 2;
      context.fillText(name, Math.max(half, Math.min(width - half, x)), i % 2 ? 30 : 14);
      context.font = `11px ${font}`;
      context.textAlign = i === columns.length - 1 ? "left" : "right";
      for (const [value, share] of scales[i].labels) {
        const text = written(i, value, width);
        context.fillStyle = colour("surface");
        const size = context.measureText(text).width + 4;
        const left = x + (i === columns.length - 1 ? 5 : -5 - size);
        context.globalAlpha = 0.9;
        context.fillRect(left, up(share) - 7, size, 14);
        context.globalAlpha = 1;
        context.fillStyle = colour("text");
        context.fillText(text, x + (i === columns.length - 1 ? 7 : -7), up(share) + 4);
      }
      const brush = brushes.get(column.name);
      if (brush) {
        Object.assign(context, { fillStyle: colour("accent"), globalAlpha: 0.35 });
        context.fillRect(x - 6, up(brush[1]), 12, up(brush[0]) - up(brush[1]));
        context.globalAlpha = 1;
      }
    });
  }

  /** The letters of the selected points in the middle of the first gap that their lines cross. */
  function name(context, chosen, width) {
    const font = getComputedStyle(document.body).fontFamily;
    chosen.forEach((point, turn) => {
      const i = columns.findIndex((column, at) => at && column.values[point] !== null && columns[at - 1].values[point] !== null);
      if (i < 1) return;
      const share = (turn + 1) / (chosen.length + 1);
      const [from, to] = [i - 1, i].map((at) => [across(at, width), up(scales[at].at(columns[at].values[point]))]);
      const [x, y] = [from[0] + share * (to[0] - from[0]), from[1] + share * (to[1] - from[1])];
      context.beginPath();
      context.arc(x, y, 9, 0, 2 * Math.PI);
      context.fillStyle = colour("text");
      context.fill();
      Object.assign(context, { fillStyle: colour("surface"), font: `700 11px ${font}`, textAlign: "center" });
      context.fillText(model.letter(point), x, y + 4);
    });
  }

  function draw() {
    const width = attnflow.widthOf(element) || 900;
    const density = window.devicePixelRatio || 1;
    Object.assign(canvas, { width: width * density, height: HEIGHT * density });
    Object.assign(canvas.style, { width: `${width}px`, height: `${HEIGHT}px` });
    const context = canvas.getContext("2d");
    context.scale(density, density);
    measureSides(context, width);
    const usable = model.matching.filter(hasResult);
    const done = usable.filter((point) => model.state.values[point] === "done");
    const opacity = Math.min(0.6, Math.max(0.05, 120 / usable.length));
    const beyond = usable.filter((point) => model.state.values[point] === "infeasible");
    stroke(context, beyond, width, colour("muted"), 1, opacity / 3);
    for (const { ink, members } of classes(done)) stroke(context, members, width, ink, 1, opacity);
    for (const { ink, members } of classes(done.filter((point) => model.front[point])))
      stroke(context, members, width, ink, 2.5, 0.9);
    const chosen = model.selected.filter((point) => done.includes(point));
    const inks = new Map(classes(done).flatMap(({ ink, members }) => members.map((point) => [point, ink])));
    for (const point of chosen) {
      stroke(context, [point], width, colour("surface"), 6, 1);
      stroke(context, [point], width, inks.get(point) ?? colour("muted"), 4, 1);
    }
    labels(context, width);
    name(context, chosen, width);
    showLegend(done);
  }

  /** Keep only what passes through the brush of an axis. */
  function filter(i) {
    const column = columns[i];
    const brush = brushes.get(column.name);
    if (!brush) {
      model.setFilter(column.name, "");
      return;
    }
    const inside = scales[i].values.filter(
      (value) => scales[i].at(value) >= brush[0] - 1e-9 && scales[i].at(value) <= brush[1] + 1e-9,
    );
    if (!inside.length) {
      brushes.delete(column.name);
      model.setFilter(column.name, "");
    } else if (column.numeric) model.setFilter(column.name, `${inside[0]}..${inside.at(-1)}`);
    else model.setFilter(column.name, inside.map((value) => `=${value}`).join(","));
  }

  let drag = null;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    const share = (event.clientY - box.top - up(0)) / (up(1) - up(0));
    const snapped = share < 0.02 ? 0 : share > 0.98 ? 1 : share; // the ends of an axis are easy to meet
    return [event.clientX - box.left, snapped, box.width];
  };
  canvas.addEventListener("pointerdown", (event) => {
    const [x, share, width] = place(event);
    const nearest = columns.map((_, i) => Math.abs(across(i, width) - x));
    const i = nearest.indexOf(Math.min(...nearest));
    if (nearest[i] > 24) return;
    drag = { i, from: share };
    brushes.delete(columns[i].name);
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const [, share] = place(event);
    if (Math.abs(share - drag.from) < 0.02) return;
    brushes.set(columns[drag.i].name, [Math.min(share, drag.from), Math.max(share, drag.from)]);
    draw();
  });
  canvas.addEventListener("pointerup", () => {
    if (!drag) return;
    const { i } = drag;
    drag = null;
    filter(i);
  });

  const refresh = () => {
    for (const name of [...brushes.keys()]) if (!model.filters.has(name)) brushes.delete(name);
    draw();
  };
  new ResizeObserver(draw).observe(element);
  draw();
  return { select: draw, filter: refresh, theme: draw };
});
