"use strict";
// Stacked bars for each selected point: where cycles, bytes or joules went. They are plain elements: a page has dozens.
attnflow.view("breakdown", async (element, data, perPoint) => {
  const { model, make } = attnflow;
  const STRIDE = 4; // bar, part, kind, value
  const HUES = ["blue", "orange", "vermillion", "purple", "green", "sky", "yellow", "black"];
  const place = (kind) => data.kinds[kind].hue ?? kind;
  const TICKS = [0, 0.25, 0.5, 0.75, 1];
  const LETTERS_ACROSS = 52; // of the text inside parts, along a whole bar of a narrow panel
  const isRest = (kind) => data.kinds[kind].name === "idle";
  const hue = (kind) => `var(--${isRest(kind) ? "faint" : HUES[place(kind) % HUES.length]})`;
  const ink = (kind) => (isRest(kind) ? "var(--text)" : place(kind) === 0 ? "var(--on-dark)" : HUES[place(kind)] === "black" ? "var(--surface)" : "#111");
  let shares = true;
  let alone = false; // every point has one bar, so that there is no legend in the names of bars
  const controls = make("div", { class: "controls" });
  const legend = make("div", { class: "legend" });
  const body = make("div", { class: "panels" });
  element.append(controls, legend, body);

  function unpackBars(flat) {
    const bars = new Map();
    for (let i = 0; i < flat.length; i += STRIDE) {
      const [bar, part] = [data.labels[flat[i]], data.labels[flat[i + 1]]];
      if (!bars.has(bar)) bars.set(bar, []);
      bars.get(bar).push({ part, kind: flat[i + 2], value: flat[i + 3] });
    }
    return bars;
  }

  const sum = (parts) => parts.reduce((total, { value }) => total + value, 0);
  const isNamed = ({ part, kind }) => part !== data.kinds[kind].name && part !== data.kinds[kind].label;
  const named = (part) => (isNamed(part) ? `${data.kinds[part.kind].label}: ${part.part}` : data.kinds[part.kind].label);

  /** One part of a bar; `scale` is the value of the whole width. */
  function segment(bar, part, total, scale) {
    const wide = part.value / scale;
    const text = isNamed(part) ? part.part : alone ? data.kinds[part.kind].label : "";
    const fits = text.length < LETTERS_ACROSS * wide;
    const piece = make("span", { class: "part" }, fits ? text : "");
    Object.assign(piece.style, { width: `${100 * wide}%`, background: hue(part.kind), color: ink(part.kind) });
    const amount = `${attnflow.quantity(part.value, data.unit)}, ${attnflow.percent(part.value / total)}`;
    const tip = (event) => attnflow.showTip([bar, named(part), amount], event);
    piece.addEventListener("pointermove", tip);
    piece.addEventListener("pointerleave", attnflow.hideCard);
    return piece;
  }

  function track(bar, parts, scale) {
    const total = sum(parts);
    // kinds in the order of the legend, so that bars can be compared
    const ordered = parts.filter(({ value }) => value > 0).toSorted((a, b) => a.kind - b.kind);
    const words = ordered.map((part) => `${named(part)} ${attnflow.percent(part.value / total)}`);
    return make(
      "div",
      { class: "track", role: "img", "aria-label": `${bar}: ${words.join(", ")}` },
      ordered.map((part) => segment(bar, part, total, shares ? total : scale)),
    );
  }

  function ticks(scale) {
    const text = (at) => (shares ? `${100 * at} %` : attnflow.rounded(at * scale, data.unit));
    const marks = TICKS.map((at) => {
      const mark = make("span", {}, text(at));
      mark.style.left = `${100 * at}%`;
      return mark;
    });
    return [make("span"), make("div", { class: "ticks", "aria-hidden": "true" }, marks)];
  }

  const whole = (bars) => Math.max(...[...bars.values()].map(sum));
  const amount = (bars) => (bars.size && data.alike ? attnflow.quantity(whole(bars), data.unit) : "");

  /** What is said of a point: its words, or the command that tells more. */
  function remark({ point, bars, words }) {
    if (words) return make("p", { class: "words" }, words);
    if (bars.size) return null;
    const command = model.commands[point].replace("attnflow run", "attnflow explain");
    const line = make("div", { class: "command" }, make("code", {}, command), attnflow.copyButton(command));
    return make("div", { class: "words" }, make("p", {}, data.missing), line);
  }

  /** A figure for one point with several bars. */
  function panel(each, scale) {
    const rows = [...each.bars].flatMap(([bar, parts]) => [
      make("span", { class: "stack-name", title: bar }, bar),
      track(bar, parts, scale),
    ]);
    const stack = each.bars.size ? make("div", { class: "stack" }, rows, ticks(scale)) : null;
    return make("figure", {}, attnflow.caption(each.point, amount(each.bars)), stack, remark(each));
  }

  /** One figure for all points where none has more than one bar. */
  function list(panels, scale) {
    const rows = panels.flatMap((each) => {
      const caption = attnflow.caption(each.point, amount(each.bars));
      const bars = [...each.bars].map(([bar, parts]) => track(bar, parts, scale));
      return [caption, make("div", {}, bars, remark(each))];
    });
    const axis = panels.some(({ bars }) => bars.size) ? ticks(scale) : [];
    return make("figure", { class: "wide" }, make("div", { class: "stack list" }, rows, axis));
  }

  /** What is known of a point: bars by name, and words below them. */
  function unpackPoint(point, entry) {
    const { parts, words } = Array.isArray(entry) ? { parts: entry, words: "" } : entry;
    return { point, bars: unpackBars(parts), words };
  }

  const isShown = ({ point, bars, words }) =>
    bars.size || words || (data.missing && ["done", "infeasible", "deadlock"].includes(model.state.values[point]));

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
    const panels = model.selected.map((point, i) => unpackPoint(point, parts[i])).filter(isShown);
    const scale = Math.max(...panels.map(({ bars }) => whole(bars)));
    const single = panels.length > 0 && panels.every(({ bars }) => bars.size <= 1);
    alone = single;
    body.replaceChildren(...(single ? [list(panels, scale)] : panels.map((each) => panel(each, scale))));
    if (!panels.length) body.append(make("p", { class: "empty" }, "None of the selected points has a result."));
  }

  await draw();
  return { select: draw };
});
