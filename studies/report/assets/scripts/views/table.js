"use strict";
// All points: only the rows in sight exist as elements, so that 10^4 points and more scroll freely.
attnflow.view("table", async (element, data) => {
  const { model, make } = attnflow;
  const ROW_PX = 30;
  const MARGIN_ROWS = 12;
  const PRINTED_ROWS = 60;
  const PRINTED_COLUMNS = 10; // more are too wide for paper
  const candidates = [model.state, model.reason, ...model.columns].filter(
    (column) => column.varied || (column.role === "metric" && !column.minor),
  );
  const shown = new Set(candidates.filter((column) => !column.minor));
  const sort = { column: null, down: false };
  let order = model.matching;

  const count = make("span", { class: "count" });
  const more = make("details", { class: "menu" }, make("summary", {}, "Columns"));
  more.append(
    make(
      "div",
      {},
      candidates.map((column) =>
        attnflow.toggle(column.title, shown.has(column), (on) => {
          if (on) shown.add(column);
          else shown.delete(column);
          showHead();
          fill();
        }),
      ),
    ),
  );
  const save = make("button", { type: "button", class: "ghost", onclick: download }, "Save as CSV");
  const onFront = attnflow.toggle("front only", false, (on) => model.keepFront(on));
  const clear = make(
    "button",
    { type: "button", class: "ghost", onclick: () => model.clearFilters() },
    "Clear filters",
  );
  const thead = make("thead");
  const tbody = make("tbody");
  const table = make("table", { class: "points" }, thead, tbody);
  const scroll = make(
    "div",
    { class: "scroll tall", tabindex: "0", role: "region", "aria-label": "All points" },
    table,
  );
  const note = make("p", { class: "words" });
  element.append(make("div", { class: "controls" }, count, onFront, clear, more, save), scroll, note);

  let printing = false;
  const chosen = () => candidates.filter((column) => shown.has(column));
  /** The columns that are shown; on paper settings and objectives first, as far as there is room. */
  function visible() {
    if (!printing) return chosen();
    const rank = (column) => (column.role !== "metric" ? 0 : model.objectives.includes(column) ? 1 : 2);
    const kept = chosen().toSorted((a, b) => rank(a) - rank(b)).slice(0, PRINTED_COLUMNS);
    return chosen().filter((column) => kept.includes(column));
  }

  function showHead() {
    const heading = (column) => {
      const arrow = sort.column === column ? (sort.down ? " ↓" : " ↑") : "";
      const button = make(
        "button",
        { type: "button", onclick: () => sortBy(column), title: column.meaning ? `${column.meaning} (${column.name})` : column.name },
        attnflow.heading(column) + arrow,
      );
      const direction = sort.column === column ? (sort.down ? "descending" : "ascending") : "none";
      return make("th", { scope: "col", "aria-sort": direction, class: column.numeric ? "number" : "" }, button);
    };
    const filter = (column) => {
      const input = make("input", {
        type: "search",
        placeholder: "filter",
        "aria-label": `Filter ${column.title}`,
        "data-column": column.name,
      });
      input.value = texts.get(column.name) ?? "";
      input.addEventListener("input", () => {
        texts.set(column.name, input.value);
        input.classList.toggle("wrong", !model.setFilter(column.name, input.value));
      });
      return make("th", {}, input);
    };
    const columns = visible();
    thead.replaceChildren(
      make(
        "tr",
        {},
        make(
          "th",
          { scope: "col" },
          make("button", { type: "button", onclick: () => sortBy(null), title: "As in the study" }, "#"),
        ),
        columns.map(heading),
        make("th", {}, "command"),
      ),
      make("tr", { class: "filters" }, make("th"), columns.map(filter), make("th")),
    );
  }
  const texts = new Map();

  function sortBy(column) {
    sort.down = sort.column === column ? !sort.down : false;
    sort.column = column;
    arrange();
    showHead();
    scroll.scrollTop = 0;
    fill();
  }

  /** Rows in order; points without a value come last either way. */
  function arrange() {
    order = model.matching;
    if (sort.column) {
      const { values, numeric } = sort.column;
      const turn = sort.down ? -1 : 1;
      const compare = numeric ? (a, b) => a - b : (a, b) => a.localeCompare(b, "en", { numeric: true });
      order = order.toSorted((a, b) => {
        if (values[a] === null || values[b] === null) return (values[a] === null) - (values[b] === null);
        return turn * compare(values[a], values[b]);
      });
    } else if (sort.down) order = order.toReversed();
  }

  function row(point, columns) {
    const cells = columns.map((column) => {
      const value = column.values[point];
      if (column === model.state) return make("td", {}, make("span", { class: `state ${value}` }, value));
      const text = attnflow.value(column, point);
      const estimate = model.estimate(column, point);
      const title = estimate ? `rests on an ${estimate}` : text.length > 24 ? text : null;
      return make("td", { class: column.numeric ? "number" : "", title }, text);
    });
    const letter = model.letter(point);
    const mark = model.front[point] ? make("span", { class: "on-front", title: "on the Pareto front" }, "◆") : null;
    const name = letter ? make("span", { class: "letter" }, letter) : `#${point}`;
    const what = letter ? "Remove from the comparison" : "Compare";
    const pick = { type: "button", class: "pick", "aria-pressed": letter ? "true" : "false", title: `${what}: point #${point}` };
    const number = make("th", { scope: "row" }, make("button", pick, name), mark);
    return make(
      "tr",
      { "data-point": point, class: letter ? "chosen" : "" },
      number,
      cells,
      make("td", {}, attnflow.copyButton(model.commands[point])),
    );
  }

  /** Make the rows in sight, and space for those above and below. */
  function fill(all = false) {
    const columns = visible();
    const spacer = (rows) => {
      const cell = make("td", { colspan: columns.length + 2 });
      cell.style.height = `${rows * ROW_PX}px`;
      return make("tr", { class: "spacer", "aria-hidden": "true" }, cell);
    };
    const first = all
      ? 0
      : Math.max(0, Math.min(Math.floor(scroll.scrollTop / ROW_PX) - MARGIN_ROWS, order.length - 1));
    const last = all ? PRINTED_ROWS : first + Math.ceil(scroll.clientHeight / ROW_PX) + 2 * MARGIN_ROWS;
    const points = order.slice(first, last);
    const below = all ? 0 : Math.max(order.length - last, 0);
    tbody.replaceChildren(spacer(first), ...points.map((point) => row(point, columns)), spacer(below));
    table.setAttribute("aria-rowcount", order.length);
    const passing = order.length === model.count ? "" : ` of ${attnflow.number(model.count)}`;
    const rows = all && order.length > PRINTED_ROWS ? `, the first ${PRINTED_ROWS} printed` : "";
    const hidden = rows + (columns.length < chosen().length ? `, ${columns.length} of ${chosen().length} columns printed` : "");
    const counted = `${attnflow.number(order.length)}${passing} ${model.count === 1 ? "point" : "points"}`;
    const whole = data.told && (passing ? `${counted} shown` : data.told); // of a study too large for its page
    count.textContent = `${whole || counted}${hidden}`;
    note.textContent = attnflow.footnote(columns, order);
    note.hidden = !note.textContent;
    clear.hidden = model.filters.size === 0 && !model.frontOnly;
  }

  let waiting = false;
  scroll.addEventListener("scroll", () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      fill();
    });
  });
  tbody.addEventListener("click", (event) => {
    const line = event.target.closest("tr[data-point]");
    if (line && !event.target.closest("button:not(.pick)")) model.toggle(Number(line.dataset.point));
  });
  function print(on) {
    printing = on;
    showHead();
    fill(on);
  }
  window.addEventListener("beforeprint", () => print(true));
  window.addEventListener("afterprint", () => print(false));

  function download() {
    const columns = [model.state, model.reason, ...model.columns];
    const quoted = (value) =>
      value === null ? "" : /[",\n\r]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value);
    const lines = [["point", ...columns.map((column) => column.name), "command"].map(quoted).join(",")];
    for (const point of order)
      lines.push(
        [point, ...columns.map((column) => column.values[point]), model.commands[point]].map(quoted).join(","),
      );
    const link = make("a", {
      href: URL.createObjectURL(new Blob([lines.join("\n")], { type: "text/csv" })),
      download: "points.csv",
    });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  function update() {
    onFront.querySelector("input").checked = model.frontOnly;
    if (!model.filters.size) {
      texts.clear();
      thead.querySelectorAll("input").forEach((input) => {
        if (input !== document.activeElement) input.value = "";
      });
    }
    arrange();
    scroll.scrollTop = 0;
    fill();
  }

  print(Boolean(attnflow.printing));
  return { select: () => fill(), filter: update };
});
