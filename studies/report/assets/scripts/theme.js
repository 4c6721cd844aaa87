"use strict";
// Light, dark, or what the system says; remembered where the browser allows it. Colours come from the style sheet.
{
  const NEXT = { auto: "light", light: "dark", dark: "auto" };
  const KEY = "attnflow-theme";

  attnflow.startTheme = () => {
    const button = document.getElementById("theme");
    const system = window.matchMedia("(prefers-color-scheme: dark)");
    const apply = (theme) => {
      document.documentElement.dataset.theme = theme;
      document.documentElement.dataset.dark = theme === "dark" || (theme === "auto" && system.matches) ? "yes" : "no";
      button.textContent = `Theme: ${theme}`;
      attnflow.tell("theme");
    };
    const remembered = () => {
      try {
        return localStorage.getItem(KEY);
      } catch {
        return null;
      }
    };
    button.addEventListener("click", () => {
      const theme = NEXT[document.documentElement.dataset.theme];
      try {
        localStorage.setItem(KEY, theme);
      } catch {
        // a page opened from a file may not remember anything
      }
      apply(theme);
    });
    system.addEventListener("change", () => apply(document.documentElement.dataset.theme));
    // paper is white
    let shown = null;
    window.addEventListener("beforeprint", () => {
      shown = document.documentElement.dataset.theme;
      apply("light");
    });
    window.addEventListener("afterprint", () => apply(shown ?? "auto"));
    apply(remembered() in NEXT ? remembered() : "auto");
  };

  attnflow.colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  // Okabe and Ito, "Color Universal Design" (2008), ordered so that neighbours differ most
  attnflow.hues = () =>
    ["blue", "orange", "green", "purple", "vermillion", "sky", "yellow", "black"].map(attnflow.colour);

  // after cividis (Nunez, Anderton, Renslow, PLOS ONE 13(7), 2018); on dark pages it starts lighter
  const RAMP = [
    [0, 52, 110],
    [58, 80, 107],
    [107, 109, 112],
    [138, 134, 120],
    [188, 175, 111],
    [235, 205, 60],
  ];
  const RAMP_ON_DARK = [
    [72, 128, 200],
    [98, 138, 178],
    [130, 148, 154],
    [166, 164, 132],
    [208, 188, 104],
    [248, 226, 88],
  ];

  /** n colours from little to much. */
  attnflow.ramp = (n) => {
    const stops = document.documentElement.dataset.dark === "yes" ? RAMP_ON_DARK : RAMP;
    return Array.from({ length: n }, (_, i) => {
      const at = n === 1 ? 0 : (i / (n - 1)) * (stops.length - 1);
      const low = Math.min(Math.floor(at), stops.length - 2);
      const mixed = stops[low].map((part, j) => Math.round(part + (at - low) * (stops[low + 1][j] - part)));
      return `rgb(${mixed.join(",")})`;
    });
  };
}
