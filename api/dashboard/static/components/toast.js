/** Short words about what was just done; read out, and gone by themselves. */

import { h } from "../core/h.js";

const SHOWN_MS = 4000;
const shelf = h("div", { class: "toasts", role: "status", "aria-live": "polite" });

/** @param {string} text @param {"good" | "bad"} [kind] */
export function toast(text, kind = "good") {
  if (!shelf.isConnected) document.body.append(shelf);
  const element = h("p", { class: ["toast", "fade", kind] }, text);
  shelf.append(element);
  while (shelf.childElementCount > 3) shelf.firstElementChild?.remove();
  setTimeout(() => element.remove(), SHOWN_MS);
}
