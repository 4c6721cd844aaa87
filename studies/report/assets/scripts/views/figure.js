"use strict";
// A Plotly figure made in Python.
attnflow.view("figure", async (element, { data, layout, caption }) => {
  const plot = attnflow.make("div", { class: "plot" });
  element.append(plot, attnflow.make("p", { class: "caption" }, caption));
  const draw = () => attnflow.draw(plot, structuredClone(data), structuredClone({ height: 420, ...layout }));
  await draw();
  return { theme: draw };
}, { charts: true });
