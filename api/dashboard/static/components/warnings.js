import { counted } from "../core/format.js";
import { h } from "../core/h.js";

/** @typedef {{ code: string, message: string, action: string }} Coded */

/** @param {Coded[]} all @param {any} [more] what follows the list @returns {HTMLElement | null} */
export function warnings(all, more = null) {
  if (all.length === 0 && !more) return null;
  return h(
    "section",
    { class: "note-box", "aria-label": "Warnings" },
    h(
      "div",
      { class: "error-text" },
      h("p", {}, h("strong", {}, counted(all.length || 1, "warning"))),
      h("ul", {}, all.map((each) => h("li", {}, h("bdi", {}, each.message), each.action && h("span", { class: "muted" }, ` ${each.action}`)))),
      more,
    ),
  );
}
