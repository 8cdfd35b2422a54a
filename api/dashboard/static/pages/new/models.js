/** Several checkpoints: to merge, or to choose from. */

import { h } from "../../core/h.js";
import { picks } from "../../components/picks.js";

const MOST = 100;
const ROW = /(?:^|\.)models\.(\d+)(?:\.|$)/;

/**
 * @param {import("./schema.js").Field} field @param {import("./draft.js").Draft} draft
 * @param {{source: import("../../components/picker.js").Source, signal: AbortSignal}} from @param {() => void} onChange
 * @returns {import("./control.js").Control}
 */
export function modelsPart(field, draft, { source, signal }, onChange) {
  const rows = picks("Checkpoint", source, { values: read(draft.text(field.path)), most: MOST, signal, onChange(now) {
    keep(now);
    onChange();
  } });
  /** The first that is wrong. @type {number | null} */
  let wrong = null;

  /** @param {string[]} ids */
  function keep(ids) {
    draft.set(field.path, ids.some(Boolean) ? JSON.stringify(ids.map((checkpoint) => (checkpoint ? { checkpoint } : {}))) : "");
  }

  if (draft.text(field.path)) keep(read(draft.text(field.path)));
  return {
    element: h("div", { class: "stack-gap field-wide", "data-path": field.path }, h("p", { class: "help" }, field.description), rows.element),
    get input() {
      return rows.input(wrong ?? 0);
    },
    fault(message, path = "") {
      const row = ROW.exec(path);
      const at = row ? Number(row[1]) : null;
      // Rows that are wrong are not counted: that there are too few follows from it.
      if (message === null) rows.faultless();
      else if (at !== null || wrong === null) rows.fault(at, message);
      wrong = message === null ? null : (wrong ?? at);
    },
  };
}

/** Ids of what a body says. @param {string} text @returns {string[]} */
function read(text) {
  try {
    return JSON.parse(text).map((/** @type {any} */ each) => each.checkpoint ?? "");
  } catch {
    return [];
  }
}
