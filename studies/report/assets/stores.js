"use strict";
// How far every store is, asked again every second while the page is in sight.
{
  const EVERY_MS = 1000;
  const number = new Intl.NumberFormat("en-US");
  const pulse = document.getElementById("pulse");
  const button = document.getElementById("compare");
  const chosen = () => document.querySelectorAll("input[name=store]:checked").length;
  const check = () => (button.disabled = chosen() < 2);

  function show(store) {
    const row = document.querySelector(`tr[data-number="${store.number}"]`);
    const bar = row.querySelector("progress");
    bar.max = store.total || 1;
    bar.value = store.total - (store.counts.pending ?? 0);
    row.querySelector(".titles").textContent = store.titles.join(", ") || store.fault;
    const counts = Object.entries(store.counts).map(([status, many]) => `${number.format(many)} ${status}`);
    row.querySelector(".counts").textContent = counts.join(", ");
  }

  async function ask() {
    if (!document.hidden) {
      try {
        const stores = await (await fetch("state")).json();
        stores.forEach(show);
        const waiting = stores.reduce((sum, store) => sum + (store.counts.pending ?? 0), 0);
        pulse.textContent = waiting ? `${number.format(waiting)} points are pending.` : "";
      } catch {
        pulse.textContent = "The viewer has ended; this is how it was.";
      }
    }
    setTimeout(ask, EVERY_MS);
  }

  document.querySelector("form").addEventListener("change", check);
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const dress = () => (document.documentElement.dataset.dark = system.matches ? "yes" : "no");
  system.addEventListener("change", dress);
  dress();
  check();
  ask();
}
