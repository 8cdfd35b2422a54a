/** A few facts side by side, changed in place. */

import { h, reconcile, replace } from "../core/h.js";

/** @typedef {{name: string, value: import("../core/h.js").Child, mark?: any, hint?: string, note?: import("../core/h.js").Child}} Fact */

/**
 * @returns {{element: HTMLElement, update(facts: Fact[]): void}} `mark` is what a fact depends on;
 *   by default its value
 */
export function facts() {
  const element = h("dl", { class: "facts" });
  return {
    element,
    update: (all) => reconcile(element, all, (each) => each.name, create),
  };
}

/** @param {Fact} first */
function create(first) {
  const term = h("dt", { title: first.hint }, first.name);
  const value = h("dd");
  const note = h("dd", { class: "fact-note" });
  let before = "";
  return {
    element: h("div", { class: "fact" }, term, value, note),
    /** @param {Fact} fact */
    update(fact) {
      const mark = JSON.stringify(fact.mark ?? [fact.value, fact.note]);
      if (mark === before) return;
      before = mark;
      replace(value, fact.value);
      replace(note, fact.note ?? "");
      note.hidden = !fact.note;
    },
  };
}
