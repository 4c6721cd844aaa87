"use strict";
// One namespace; every other script adds to it. A view is registered once and made for each of its elements:
// attnflow.view("kind", async (element, data, perPoint) => ({ select() {}, filter() {}, theme() {} })),
// all three methods optional, called when the selection, the filter or the colours change. A third argument
// { charts: true } says that it draws with Plotly; unless they are in sight, such views wait for all others.
const attnflow = {
  makers: {},
  charting: new Set(),
  views: [],

  view(kind, make, { charts = false } = {}) {
    attnflow.makers[kind] = make;
    if (charts) attnflow.charting.add(kind);
  },

  /** Tell every view that something has changed. */
  tell(event) {
    for (const view of attnflow.views) {
      if (view[event]) view[event]();
    }
  },

  /** Unpack the data of an element: base64, gzip, JSON. */
  unpack(name) {
    const letters = atob(document.getElementById(name).textContent);
    const bytes = new Uint8Array(letters.length);
    for (let i = 0; i < letters.length; i += 1) bytes[i] = letters.charCodeAt(i);
    return JSON.parse(new TextDecoder().decode(attnflow.inflate(bytes)));
  },

  /** Run Plotly: it takes longer than all else on the page, so text and tables are there before. */
  async plotly() {
    if (window.Plotly) return;
    const script = document.createElement("script");
    script.textContent = attnflow.unpack("plotly"); // runs at once, if it matches its hash in the security policy
    document.head.append(script);
    if (!window.Plotly) throw new Error("charts cannot be drawn");
    if (!attnflow.hurried) await attnflow.pause();
  },

  /** Let the browser show what is there, and answer clicks. */
  pause: () => new Promise((resolve) => setTimeout(resolve)),

  /** An element with attributes and children; text is always set as text. */
  make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (name === "class") element.className = value;
      else if (value === true) element.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
    }
    element.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return element;
  },

  /** A labelled <select>; entries are pairs [value, text]. */
  choice(label, entries, value, onchange) {
    const options = entries.map(([key, text]) =>
      attnflow.make("option", { value: key, selected: key === value }, text),
    );
    const select = attnflow.make("select", { onchange: () => onchange(select.value) }, options);
    return attnflow.make("label", { class: "choice" }, attnflow.make("span", {}, label), select);
  },

  /** A labelled checkbox. */
  toggle(label, checked, onchange) {
    const box = attnflow.make("input", { type: "checkbox", checked, onchange: () => onchange(box.checked) });
    return attnflow.make("label", { class: "toggle" }, box, label);
  },

  copyButton(text) {
    const title = "Copy the command";
    return attnflow.make("button", { type: "button", class: "copy", title, "data-text": text }, "Copy");
  },

  complain(message) {
    const fault = document.getElementById("fault");
    fault.textContent = message;
    fault.hidden = false;
  },
};

async function copy(button) {
  const text = button.dataset.text ?? button.parentElement.querySelector("code").textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // pages opened from a file may not use the clipboard of the system
    const area = attnflow.make("textarea", { class: "unseen" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = "Copy"), 1200);
}

/** Make the view of an element; what it shows of single points is unpacked when it first asks for one of them. */
async function makeView(element) {
  const { view, name } = element.dataset;
  let [first, all] = [null, null];
  const known = (point) => (first ??= attnflow.unpack(`data-${name}-first`))[point];
  const other = (point) => (all ??= attnflow.unpack(`data-${name}-points`))[point];
  const hasPoints = document.getElementById(`data-${name}-points`);
  const perPoint = hasPoints ? async (point) => known(point) ?? other(point) : null;
  element.replaceChildren();
  const made = await attnflow.makers[view](element, attnflow.unpack(`data-${name}`), perPoint);
  attnflow.views.push(made);
  element.dataset.ready = "yes";
}

const MOST_WORK_MS = 40; // without a pause
const waiting = new Set();

/** Make all views: those in sight, those without charts, the others; the page stays responsive in between. */
async function makeViews() {
  const inSight = (element) => {
    const { top, bottom } = element.getBoundingClientRect();
    return bottom > 0 && top < window.innerHeight;
  };
  const isLight = (element) => !attnflow.charting.has(element.dataset.view);
  const page = document.documentElement.dataset;
  let resumed = performance.now();
  while (waiting.size && !attnflow.hurried) {
    const order = [...waiting];
    const next = order.find(inSight);
    if (!next) page.open = "yes";
    const element = next ?? order.find(isLight) ?? order[0];
    await makeView(element);
    waiting.delete(element);
    if (performance.now() - resumed > MOST_WORK_MS) {
      await attnflow.pause();
      resumed = performance.now();
    }
  }
  if (!waiting.size) Object.assign(page, { open: "yes", complete: "yes", ready: "yes" });
}

/** Make what is missing before paper is made: nothing here waits for time to pass, so it is done when this returns. */
async function hurry() {
  if (!waiting.size) return;
  attnflow.hurried = true;
  for (const element of [...waiting]) {
    await makeView(element);
    waiting.delete(element);
  }
  Object.assign(document.documentElement.dataset, { open: "yes", complete: "yes", ready: "yes" });
}

document.addEventListener("DOMContentLoaded", async () => {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.copy");
    if (button) copy(button);
  });
  try {
    attnflow.startTheme();
    attnflow.model = attnflow.makeModel(attnflow.unpack("data-points"));
    attnflow.showLetters();
    for (const element of document.querySelectorAll("[data-view]")) waiting.add(element);
    window.addEventListener("beforeprint", hurry);
    await makeViews();
  } catch (error) {
    attnflow.complain(`This page is damaged: ${error.message}`);
    throw error;
  }
});
