/** Where there is nothing: why, and what to do next. */

import { h } from "../core/h.js";

/**
 * @param {string} title
 * @param {...import("../core/h.js").Child} more
 */
export function empty(title, ...more) {
  return h("div", { class: "empty" }, h("p", { class: "empty-title" }, title), h("div", { class: "muted" }, more));
}

/** A command to be typed. @param {string} text */
export const command = (text) => h("pre", { class: "command" }, text);
