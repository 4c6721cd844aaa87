"use strict";
// Numbers and labels as people read them.
{
  const grouped = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
  const PREFIXES = { "-4": "p", "-3": "n", "-2": "µ", "-1": "m", 0: "", 1: "k", 2: "M", 3: "G", 4: "T", 5: "P" };
  const FACTORS = { p: 1e-12, n: 1e-9, u: 1e-6, "µ": 1e-6, m: 1e-3, k: 1e3, K: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15 };
  ["Ki", "Mi", "Gi", "Ti"].forEach((prefix, i) => (FACTORS[prefix] = 1024 ** (i + 1)));
  const COUNTED = ["cycle", "token", "element"];
  const SCALED = ["s", "Hz", "J", "W", "B/s", "FLOP/s", "FLOP", "J/token", "J/B"];
  const BINARY = ["B", "KiB", "MiB", "GiB", "TiB"];

  attnflow.unit = (unit) => unit.replace("mm2", "mm²");

  attnflow.number = (value) => {
    if (value === null || value === undefined) return "–";
    if (typeof value !== "number") return String(value);
    if (Number.isInteger(value) && Math.abs(value) < 1e15) return grouped.format(value);
    const size = Math.abs(value);
    if (size >= 1e3 && size < 1e15) return grouped.format(Number(value.toPrecision(4)));
    return size >= 1e-3 && size < 1e15 ? String(Number(value.toPrecision(4))) : value.toExponential(2);
  };

  attnflow.quantity = (value, unit) => {
    if (typeof value !== "number" || !unit) return attnflow.number(value);
    const noun = COUNTED.find((word) => unit === word || unit === `${word}s`);
    if (noun) return `${grouped.format(value)} ${value === 1 ? noun : `${noun}s`}`;
    if (unit === "B") {
      const power = value < 1 ? 0 : Math.min(Math.floor(Math.log2(value) / 10), BINARY.length - 1);
      return `${Number((value / 1024 ** power).toPrecision(power ? 3 : 15))} ${BINARY[power]}`;
    }
    if (SCALED.includes(unit)) {
      const power = value === 0 ? 0 : Math.max(-4, Math.min(5, Math.floor(Math.log10(Math.abs(value)) / 3)));
      return `${Number((value / 1000 ** power).toPrecision(4))} ${PREFIXES[power]}${unit}`;
    }
    return `${attnflow.number(value)} ${attnflow.unit(unit)}`;
  };

  /** A number in few characters, for ticks: 20k, 0.5, 1e-9. */
  attnflow.short = (value) => {
    const size = Math.abs(value);
    if (size >= 1e15 || (size < 1e-3 && size > 0)) return value.toExponential(0);
    const power = size < 1e4 ? 0 : Math.min(Math.floor(Math.log10(size) / 3), 4);
    return `${Number((value / 1000 ** power).toPrecision(3))}${PREFIXES[power]}`;
  };

  /** Whether values of a unit are shown with a prefix, so that each carries its unit. */
  attnflow.isScaled = (unit) => SCALED.includes(unit) || unit === "B";

  /** A quantity in few characters, for the ends of a scale. */
  attnflow.rounded = (value, unit) =>
    attnflow.isScaled(unit) ? attnflow.quantity(Number(value.toPrecision(3)), unit) : attnflow.short(value);

  /** A number as people write it, "3.35 TB/s" or "64 KiB" where values have units; NaN if it is none. */
  attnflow.readNumber = (text, unit = "") => {
    const plain = text.replaceAll(/[ _]/g, "");
    const [, digits, prefix, word] = plain.match(/^([-+.\de]*?)([pnuµmkKMGTP]i?)?(B\/s|FLOP\/s|B|Hz|J|W|s)?$/) ?? [];
    if (!digits || (word && word !== unit)) return Number(plain || NaN);
    return Number(digits) * (prefix ? FACTORS[prefix] : 1);
  };

  /** Title of a column with its unit, unless its values carry it or the title says it. */
  attnflow.heading = ({ title, unit }) => {
    const word = unit.split("/")[0].replace(/s$/, "");
    const said = !unit || attnflow.isScaled(unit) || title.toLowerCase().includes(word.toLowerCase());
    return said ? title : `${title} [${attnflow.unit(unit)}]`;
  };

  /** A value of a column: with its unit where that takes a prefix, else the heading has the unit; estimates with †. */
  attnflow.value = (column, point) => {
    const text = attnflow.reading(column, column.values[point]);
    return attnflow.model.estimate(column, point) ? `${text}\u00a0†` : text;
  };

  /** What † means for values of these columns and points: a line, or nothing. */
  attnflow.footnote = (columns, points) => {
    const texts = attnflow.model.estimates(columns, points).map((text) => `on an ${text}`);
    return texts.length ? `† rests ${texts.join(", or ")}` : "";
  };

  attnflow.reading = (column, value) => {
    if (column.automatic && value === 0) return "auto";
    if (column.share && typeof value === "number") return attnflow.percent(value);
    return attnflow.isScaled(column.unit) ? attnflow.quantity(value, column.unit) : attnflow.number(value);
  };

  attnflow.percent = (fraction) => {
    if (fraction < 0) return `−${attnflow.percent(-fraction)}`;
    if (fraction > 0 && fraction < 0.001) return "<0.1 %";
    return `${(Math.floor(fraction * 1000) / 10).toFixed(fraction >= 1 ? 0 : 1)} %`;
  };

  /** Text for Plotly, which reads tags and entities in labels. */
  attnflow.plain = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

  attnflow.shorten = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
}
