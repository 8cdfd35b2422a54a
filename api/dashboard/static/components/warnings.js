import { badge } from "./badge.js";
import { counted } from "../core/format.js";
import { explained, h } from "../core/h.js";

/** @typedef {{ code: string, message: string, action: string }} Coded */

/** How many there are, with their sentences on hover. @param {Coded[]} all */
export function warningBadge(all) {
  if (all.length === 0) return null;
  const made = badge(counted(all.length, "warning"), "warn");
  made.title = all.map((each) => each.message).join("\n");
  return made;
}

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
      h("ul", {}, all.map((each) => h("li", {}, h("bdi", {}, each.message), each.action && [/[.!?]$/.test(each.message) ? " " : ". ", h("span", { class: "muted" }, explained(each.action))]))),
      more,
    ),
  );
}
