/** The way to older items of a list, and back to the newest. */

import { h, replace } from "../core/h.js";
import { icon } from "./icon.js";

/**
 * @param {string} name of the list
 * @param {(cursor: string | null) => string | null | (() => void)} to an address, or what is to be
 *   done where the page stands in none
 * @param {{first?: string, next?: string}} [words]
 * @returns {{element: HTMLElement, update(cursor: string | null, next: string | null): void}}
 */
export function pager(name, to, { first = "Newest", next: further = "Older" } = {}) {
  const element = h("nav", { class: "pager", "aria-label": name, hidden: true });
  let shown = "";

  /** @param {string | null} cursor @param {string} label @param {"left" | "right"} drawing */
  function step(cursor, label, drawing) {
    const where = to(cursor);
    const content = [drawing === "left" && icon(drawing), label, drawing === "right" && icon(drawing)];
    if (typeof where === "function") return h("button", { type: "button", class: "button", on: { click: where } }, content);
    return h("a", { class: "button", href: where }, content);
  }

  return {
    element,
    /** @param {string | null} cursor of this page @param {string | null} next of the one behind it */
    update(cursor, next) {
      const mark = JSON.stringify([cursor, next, to(null)?.toString(), to(next)?.toString()]);
      if (mark === shown) return;
      shown = mark;
      element.hidden = cursor === null && next === null;
      replace(element, cursor !== null && step(null, first, "left"), next !== null && step(next, further, "right"));
    },
  };
}
