/** A job's state in a word and a colour. */

import { h } from "../core/h.js";

/** @type {Record<string, string>} */
const TONES = {
  queued: "plain", running: "live", pausing: "warn", paused: "warn",
  cancelling: "warn", succeeded: "good", failed: "bad", cancelled: "plain",
};

/** @param {string} state */
export function stateBadge(state) {
  return badge(state, TONES[state] ?? "plain");
}

/** @param {string} text @param {string} [tone] `plain`, `live`, `good`, `warn` or `bad` */
export function badge(text, tone = "plain") {
  return h("span", { class: ["badge", tone] }, text);
}
