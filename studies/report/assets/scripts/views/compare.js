"use strict";
// The selected points side by side.
attnflow.view("compare", async (element) => {
  const { model, make } = attnflow;

  /** Columns in which the selected points differ, and all objectives. */
  const worthShowing = (column) =>
    model.objectives.includes(column) ||
    (!column.minor && new Set(model.selected.map((point) => column.values[point])).size > 1) ||
    (column.varied && column.role !== "metric");

  function row(column) {
    const values = model.selected.map((point) => column.values[point]);
    const running = model.selected.map((point) => model.state.values[point] === "done");
    const known = values.filter((value, i) => running[i] && typeof value === "number");
    const best = column.goal === "max" ? Math.max(...known) : Math.min(...known);
    const marked = column.goal && known.length > 1 && new Set(known).size > 1;
    const cells = values.map((value, i) => {
      const good = marked && running[i] && value === best;
      const estimate = model.estimate(column, model.selected[i]);
      const about = estimate ? `rests on an ${estimate}` : null;
      return make("td", { class: good ? "good" : "", title: about }, attnflow.value(column, model.selected[i]));
    });
    return make("tr", {}, make("th", { scope: "row", title: column.meaning }, attnflow.heading(column)), cells);
  }

  function head(point) {
    const remove = make(
      "button",
      { type: "button", class: "ghost small", onclick: () => model.toggle(point), title: "Remove from the comparison" },
      "×",
    );
    const state = model.state.values[point];
    const badge = state === "done" ? null : make("span", { class: `state ${state}` }, state);
    return make(
      "th",
      { scope: "col" },
      make("span", { class: "letter" }, model.letter(point)),
      ` #${point} `,
      badge,
      remove,
    );
  }

  function show() {
    if (!model.selected.length) {
      element.replaceChildren(
        make("p", { class: "empty" }, "No point is selected: click a dot of the chart or a row of the table."),
      );
      return;
    }
    const role = (point) => model.roles.get(point) ?? (model.state.values[point] === "deadlock" ? "deadlocks" : "selected");
    const roles = model.selected.map((point) => make("td", {}, role(point)));
    const why = make("tbody", {}, make("tr", {}, make("th", { scope: "row" }, "chosen as"), roles));
    const settings = model.columns.filter((column) => column.role !== "metric" && worthShowing(column));
    const metrics = model.metrics.filter(worthShowing);
    const commands = model.selected.map((point) => make("td", {}, attnflow.copyButton(model.commands[point])));
    const table = make(
      "table",
      { class: "compare" },
      make("thead", {}, make("tr", {}, make("td"), model.selected.map(head))),
      model.roles.size ? why : null,
      make("tbody", {}, settings.map(row)),
      make("tbody", {}, metrics.map(row), make("tr", {}, make("th", { scope: "row" }, "command"), commands)),
    );
    const note = attnflow.footnote(metrics, model.selected);
    element.replaceChildren(make("div", { class: "scroll" }, table), note ? make("p", { class: "words" }, note) : "");
  }

  show();
  return { select: show };
});
