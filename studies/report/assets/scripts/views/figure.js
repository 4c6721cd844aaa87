"use strict";
// A Plotly figure made in Python.
attnflow.view("figure", async (element, { data, layout, caption }) => {
  const plot = attnflow.make("div", { class: "plot" });
  element.append(plot, attnflow.make("p", { class: "caption" }, caption));
  /** The traces; one whose `meta` has a `hue` is drawn in that colour of the page. */
  function traces() {
    const hues = attnflow.hues();
    return structuredClone(data).map((trace) => {
      if (trace.meta?.hue === undefined) return trace;
      const color = hues[trace.meta.hue % hues.length];
      return { ...trace, line: { ...trace.line, color }, marker: { ...trace.marker, color } };
    });
  }

  const draw = () => attnflow.draw(plot, traces(), structuredClone({ height: 420, ...layout }));
  await draw();
  return { theme: draw };
}, { charts: true });
