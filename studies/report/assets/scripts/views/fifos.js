"use strict";
// Depth, peak and size of every FIFO of the selected points.
attnflow.view("fifos", async (element, data, perPoint) => {
  const { model, make } = attnflow;
  const STRIDE = 6; // name, producer, consumer, depth, peak, capacity
  element.classList.add("panels");

  function row(fifo, largest) {
    const fill = fifo.depth === null ? null : fifo.peak / fifo.depth;
    const gauge = make("span", { class: "gauge" });
    gauge.style.setProperty("--fill", `${100 * Math.min(fill ?? 0, 1)}%`);
    if (fill >= 1) gauge.classList.add("full");
    const weight = make("span", { class: "gauge bytes" });
    weight.style.setProperty("--fill", `${largest ? (100 * (fifo.bytes ?? 0)) / largest : 0}%`);
    const title = `${fifo.producer} to ${fifo.consumer}`;
    return make(
      "tr",
      {},
      make("th", { scope: "row", title }, fifo.name),
      make("td", {}, fifo.depth === null ? "unbounded" : attnflow.number(fifo.depth)),
      make("td", {}, attnflow.number(fifo.peak)),
      make("td", { class: "gauge-cell", title: fill === null ? "" : `${attnflow.percent(fill)} of the depth` }, gauge),
      make("td", {}, fifo.bytes === null ? "–" : attnflow.quantity(fifo.bytes, "B")),
      make("td", { class: "gauge-cell", title: "against the largest FIFO" }, weight),
    );
  }

  function panel(point, flat) {
    const fifos = [];
    for (let i = 0; i < flat.length; i += STRIDE) {
      const [name, producer, consumer] = flat.slice(i, i + 3).map((label) => data.labels[label]);
      const [depth, peak, bytes] = flat.slice(i + 3, i + STRIDE);
      fifos.push({ name, producer, consumer, depth, peak, bytes });
    }
    const largest = Math.max(...fifos.map((fifo) => fifo.bytes ?? 0));
    const total = fifos.reduce((sum, fifo) => sum + (fifo.bytes ?? 0), 0);
    const used = fifos.reduce((sum, fifo) => sum + (fifo.depth ? ((fifo.bytes ?? 0) / fifo.depth) * fifo.peak : 0), 0);
    const heads = ["FIFO", "depth", "peak", "", "size", ""];
    const caption = attnflow.caption(
      point,
      `${attnflow.quantity(total, "B")} in all, ${attnflow.quantity(used, "B")} at the peaks`,
    );
    return make(
      "figure",
      {},
      caption,
      make(
        "div",
        { class: "scroll" },
        make(
          "table",
          { class: "fifos" },
          make(
            "thead",
            {},
            make(
              "tr",
              {},
              heads.map((head) => make("th", { scope: "col" }, head)),
            ),
          ),
          make(
            "tbody",
            {},
            fifos.map((fifo) => row(fifo, largest)),
          ),
        ),
      ),
    );
  }

  let turn = 0;
  async function draw() {
    const mine = (turn += 1);
    const parts = await Promise.all(model.selected.map(perPoint));
    if (mine !== turn) return;
    const panels = model.selected.map((point, i) => (parts[i].length ? panel(point, parts[i]) : null)).filter(Boolean);
    element.replaceChildren(
      ...(panels.length ? panels : [make("p", { class: "empty" }, "None of the selected points has a result.")]),
    );
  }

  await draw();
  return { select: draw };
});
