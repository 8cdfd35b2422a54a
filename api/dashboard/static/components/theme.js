/** Light, dark, or as the system says. */

import { h, replace } from "../core/h.js";
import { icon } from "./icon.js";

const KEY = "carot-theme";
/** @type {["auto" | "light" | "dark", any, string][]} */
const CHOICES = [
  ["auto", "auto", "as the system"],
  ["light", "sun", "light"],
  ["dark", "moon", "dark"],
];

/** Tells charts, which know no style sheets, that colours changed. */
export const themeChanges = new EventTarget();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", tell);

function tell() {
  themeChanges.dispatchEvent(new Event("change"));
}

/** The button that goes through them. */
export function themeButton() {
  const button = h("button", { type: "button", class: "button quiet icon-only", on: { click: next } });

  function current() {
    const chosen = document.documentElement.dataset.theme ?? "auto";
    return CHOICES.findIndex(([name]) => name === chosen);
  }

  function show() {
    const [, drawing, text] = CHOICES[current()];
    replace(button, icon(drawing));
    button.title = `Colours: ${text}`;
    button.setAttribute("aria-label", `Colours: ${text}. Change`);
  }

  function next() {
    const [name] = CHOICES[(current() + 1) % CHOICES.length];
    if (name === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
    try {
      localStorage.setItem(KEY, name);
    } catch {
      // It holds until the page is left, then.
    }
    show();
    tell();
  }

  show();
  return button;
}
