"use strict";
// The points of the page: columns by name, the filter and the selection.
attnflow.makeModel = (data) => {
  const columns = new Map();
  for (const column of data.columns) {
    if (!column.numeric) column.values = column.codes.map((code) => (code === null ? null : column.levels[code]));
    columns.set(column.name, column);
  }
  const state = {
    name: "state",
    title: "State",
    role: "state",
    unit: "",
    meaning: "done, infeasible (breaks a constraint), deadlock, failed or pending",
    values: data.states,
    numeric: false,
    varied: new Set(data.states).size > 1,
    minor: false,
    levels: [...new Set(data.states)],
  };
  const why = data.states.map((_, i) => data.reasons[i] ?? null);
  const reason = {
    ...state,
    name: "reason",
    title: "Reason",
    meaning: "why a point failed, or which constraint it breaks",
    values: why,
    varied: why.some(Boolean),
    levels: [],
  };
  const commands = [];
  for (let i = 0; i < data.count; i += 1) {
    commands.push((commands[i - 1] ?? "").slice(0, data.commands[2 * i]) + data.commands[2 * i + 1]);
  }
  const MOST_SELECTED = 6;
  const UNITS_SHOWN = ["Hz", "B/s", "B", "s", "W", "mm2"];
  const amount = ({ unit }, value) =>
    UNITS_SHOWN.includes(unit) ? attnflow.quantity(value, unit) : attnflow.number(value);

  const model = {
    count: data.count,
    columns: data.columns,
    state,
    reason,
    workloads: data.workloads,
    workload: data.workload,
    front: data.front,
    commands,
    objectives: data.objectives.map((name) => columns.get(name)),
    axes: data.columns.filter((column) => column.axis),
    metrics: data.columns.filter((column) => column.role === "metric"),
    selected: data.selected,
    roles: new Map(Object.entries(data.roles).map(([point, role]) => [Number(point), role])),
    matching: [...Array(data.count).keys()],
    filters: new Map(),
    frontOnly: false,

    /** What a value rests on that nobody has published; empty if it rests on nothing like that. */
    estimate: ({ name }, point) => data.estimates.sets[data.estimates.points[point]][name] ?? "",

    /** All that values of these columns and points rest on like that. */
    estimates(columns, points) {
      const sets = [...new Set(points.map((point) => data.estimates.points[point]))];
      return [...new Set(sets.flatMap((set) => columns.map(({ name }) => data.estimates.sets[set][name])))].filter(Boolean);
    },

    column: (name) => ({ state, reason })[name] ?? columns.get(name),

    /** Settings of a point in words: those that tell the selected points apart, or all that vary. */
    label(point) {
      const isTelling = (axis) => new Set(model.selected.map((each) => axis.values[each])).size > 1;
      const telling = model.selected.includes(point) ? model.axes.filter(isTelling) : [];
      const parts = (telling.length ? telling : model.axes)
        .filter((axis) => axis.values[point] !== null && axis.values[point] !== "")
        .map((axis) =>
          axis.name === "algorithm" ? axis.values[point] : `${axis.title} ${amount(axis, axis.values[point])}`,
        );
      return parts.join(", ") || `#${point}`;
    },

    letter: (point) => {
      const place = model.selected.indexOf(point);
      return place < 0 ? "" : String.fromCharCode(65 + place);
    },

    toggle(point) {
      const place = model.selected.indexOf(point);
      if (place >= 0) model.selected.splice(place, 1);
      else model.selected = [...model.selected, point].slice(-MOST_SELECTED);
      attnflow.showLetters();
      attnflow.tell("select");
    },

    /** Set the filter of a column (empty text: none); returns whether the text could be read. */
    setFilter(name, text) {
      const test = text.trim() ? attnflow.readFilter(text, model.column(name)) : null;
      if (test) model.filters.set(name, test);
      else model.filters.delete(name);
      model.applyFilters();
      return Boolean(test) || !text.trim();
    },

    applyFilters() {
      const tests = [...model.filters].map(([key, each]) => [model.column(key).values, each]);
      model.matching = [];
      for (let i = 0; i < model.count; i += 1) {
        const kept = !model.frontOnly || model.front[i];
        if (kept && tests.every(([values, each]) => each(values[i]))) model.matching.push(i);
      }
      attnflow.showFilter();
      attnflow.tell("filter");
    },

    /** Keep only points of the Pareto front, or all again. */
    keepFront(on) {
      model.frontOnly = on;
      model.applyFilters();
    },

    clearFilters() {
      model.filters.clear();
      model.frontOnly = false;
      model.applyFilters();
    },
  };
  return model;
};

/** A test of values from text such as "8", ">=8", "8..32", "causal", "!causal", "4,8"; null if it makes no sense. */
attnflow.readFilter = (text, column) => {
  const negative = text.trim().startsWith("!");
  const parts = (negative ? text.trim().slice(1) : text)
    .split(",")
    .map((part) => part.trim())
    .filter(Boolean);
  const tests = parts.map((part) => (column.numeric ? readNumbers(part) : readText(part)));
  if (!tests.length || tests.includes(null)) return null;
  return (value) => tests.some((test) => test(value)) !== negative;

  function readNumbers(part) {
    const clean = part.replaceAll(" ", "");
    const range = clean.match(/^(.+)\.\.(.+)$/);
    const compare = clean.match(/^(<=|>=|<|>|=)?(.+)$/);
    if (range) {
      const [low, high] = [attnflow.readNumber(range[1], column.unit), attnflow.readNumber(range[2], column.unit)];
      return Number.isNaN(low) || Number.isNaN(high)
        ? null
        : (value) => value !== null && value >= low && value <= high;
    }
    const limit = attnflow.readNumber(compare[2], column.unit);
    if (Number.isNaN(limit)) return null;
    const test =
      {
        "<": (value) => value < limit,
        "<=": (value) => value <= limit,
        ">": (value) => value > limit,
        ">=": (value) => value >= limit,
      }[compare[1]] ?? ((value) => Math.abs(value - limit) <= 1e-12 * Math.abs(limit));
    return (value) => value !== null && test(value);
  }

  function readText(part) {
    if (part.startsWith("=")) return (value) => String(value ?? "") === part.slice(1);
    return (value) =>
      String(value ?? "")
        .toLowerCase()
        .includes(part.toLowerCase());
  }
};

/** Say in a corner of the page that not all points are shown. */
attnflow.showFilter = () => {
  const note = document.getElementById("filter-note");
  const { matching, count, filters } = attnflow.model;
  note.hidden = filters.size === 0 && !attnflow.model.frontOnly;
  note.querySelector("span").textContent =
    `${attnflow.number(matching.length)} of ${attnflow.number(count)} points pass the filter`;
  note.querySelector("button").onclick = () => attnflow.model.clearFilters();
};

/** Caption of a panel about one point: its letter, why it is shown or its settings, and its state unless it is done. */
const SHORT_LABEL = 20; // characters of settings that go beside a role

attnflow.caption = (point, remark) => {
  const { model, make } = attnflow;
  const state = model.state.values[point];
  const badge = state === "done" ? null : make("span", { class: `state ${state}` }, state);
  const [role, label] = [model.roles.get(point), model.label(point)];
  const name = !role ? label : label.length <= SHORT_LABEL ? `${role} · ${label}` : role;
  return make(
    "figcaption",
    {},
    make("span", { class: "letter" }, model.letter(point)),
    make("b", { title: model.label(point) }, name),
    badge,
    make("small", {}, remark),
  );
};

/** Show the letters of selected points wherever the text of the page names a point. */
attnflow.showLetters = () => {
  for (const element of document.querySelectorAll(".letter-of")) {
    const letter = attnflow.model.letter(Number(element.dataset.point));
    element.textContent = letter;
    element.hidden = !letter;
  }
};
