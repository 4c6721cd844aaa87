"use strict";
// The card beside the pointer: what tells a point from others, what came out, and what binds it; the rest on a click.
{
  const MOST_LINES = 8;
  const MOST_SETTINGS = 4;
  const BOUNDS = ["bound.binding", "model.binding", "busiest.unit", "tier.limiter"];

  const rows = (columns, point) =>
    columns.map((column) => {
      const name = attnflow.make("dt", {}, attnflow.heading(column));
      return attnflow.make("div", {}, name, attnflow.make("dd", {}, attnflow.value(column, point)));
    });

  attnflow.showCard = (point, event) => {
    const { model, make } = attnflow;
    const card = document.getElementById("card");
    const state = model.state.values[point];
    const letter = model.letter(point);
    const known = (column) => column && column.values[point] !== null && column.values[point] !== "";
    const settings = model.axes.filter(known).slice(0, MOST_SETTINGS);
    const bound = BOUNDS.map(model.column).find(known);
    const room = MOST_LINES - settings.length - (bound ? 1 : 0);
    const wanted = model.objectives.length ? model.objectives : model.metrics;
    const results = [...wanted.filter(known).slice(0, room), ...(bound ? [bound] : [])];
    const front = model.front[point] ? make("span", { class: "badge" }, "Pareto front") : null;
    const stateBadge = state === "done" ? null : make("span", { class: `state ${state}` }, state);
    const reason = model.reason.values[point];
    card.replaceChildren(
      make("h4", {}, `${letter ? `${letter} · ` : ""}point #${point} `, front, stateBadge),
      make("dl", { class: "strong" }, rows(settings, point)),
      make("dl", { class: "metrics" }, rows(results, point)),
      ...(reason ? [make("p", {}, attnflow.shorten(reason, 160))] : []),
      make("p", {}, letter ? "Click to remove it from the comparison." : "Click to see all of it and its command."),
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
