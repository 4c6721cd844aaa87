"use strict";
// The card beside the pointer: everything about one point, and the command that reproduces it.
{
  const rows = (columns, point) =>
    columns
      .filter((column) => column.values[point] !== null && column.values[point] !== "")
      .map((column) => {
        const name = attnflow.make("dt", {}, column.name);
        return attnflow.make("div", {}, name, attnflow.make("dd", {}, attnflow.value(column, point)));
      });

  attnflow.showCard = (point, event) => {
    const { model, make } = attnflow;
    const card = document.getElementById("card");
    const state = model.state.values[point];
    const letter = model.letter(point);
    const settings = model.columns.filter((column) => column.role !== "metric");
    const varied = settings.filter((column) => column.varied);
    const rest = settings.filter((column) => !column.varied);
    const metrics = model.metrics.filter((column) => column.name !== "schedule_digest" && column.name !== "deadlock");
    const front = model.front[point] ? make("span", { class: "badge" }, "Pareto front") : null;
    const stateBadge = state === "done" ? null : make("span", { class: `state ${state}` }, state);
    card.replaceChildren(
      make("h4", {}, `${letter ? `${letter} · ` : ""}point #${point} `, front, stateBadge),
      make("dl", { class: "strong" }, rows(varied, point)),
      make("dl", { class: "metrics" }, rows(metrics, point)),
      make("dl", { class: "weak" }, rows(rest, point)),
      make("code", {}, model.commands[point]),
      make("p", {}, letter ? "Click to remove it from the comparison." : "Click to compare it."),
    );
    card.classList.remove("tip");
    place(card, event);
  };

  /** A few lines beside the pointer, the first of them as a heading. */
  attnflow.showTip = ([heading, ...lines], event) => {
    const card = document.getElementById("card");
    const texts = lines.map((line) => attnflow.make("div", {}, line));
    card.replaceChildren(attnflow.make("h4", {}, heading), ...texts);
    card.classList.add("tip");
    place(card, event);
  };

  function place(card, event) {
    card.hidden = false;
    const { innerWidth, innerHeight } = window;
    const { width, height } = card.getBoundingClientRect();
    const left = event.clientX + 18 + width < innerWidth ? event.clientX + 18 : event.clientX - width - 18;
    card.style.left = `${Math.max(8, left)}px`;
    card.style.top = `${Math.max(8, Math.min(event.clientY - height / 3, innerHeight - height - 8))}px`;
  }

  attnflow.hideCard = () => {
    document.getElementById("card").hidden = true;
  };
}
