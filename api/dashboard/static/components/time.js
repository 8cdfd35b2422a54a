/** Moments: relative to now, and kept so; the exact one on hover. */

import { now } from "../core/clock.js";
import { NONE, duration } from "../core/format.js";
import { h, setText } from "../core/h.js";

const EXACT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });
const SHORT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const TICK_MS = 1000;

/** @type {Record<string, (seconds: number, moment: string) => string>} */
const STYLES = {
  ago: (seconds) => (seconds < 5 ? "just now" : `${coarse(seconds)} ago`),
  age: coarse,
  for: (seconds) => duration(Math.max(1, seconds)),
  at: (_, moment) => SHORT.format(new Date(moment)),
};

/**
 * A moment. Amid a sentence it is to stand still: `at`.
 * @param {string | null | undefined} moment ISO 8601
 * @param {"ago" | "age" | "for" | "at"} [style] `3 min ago`, `3 min`, `3 min 12 s`, `30 Nov 2026, 06:12`
 * @returns {HTMLElement}
 */
export function time(moment, style = "ago") {
  if (!moment) return h("span", { class: "muted" }, NONE);
  const element = h("time", { datetime: moment, title: exact(moment), "data-style": style });
  tick(element);
  return element;
}

/** @param {string} moment */
export const exact = (moment) => EXACT.format(new Date(moment));

/** Seconds since a moment. @param {string} moment */
export const since = (moment) => (now() - Date.parse(moment)) / 1000;

/** @param {number} seconds */
function coarse(seconds) {
  if (seconds < 60) return `${Math.max(0, Math.floor(seconds))} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

/** @param {Element} element */
function tick(element) {
  const moment = element.getAttribute("datetime") ?? "";
  setText(element, STYLES[element.getAttribute("data-style") ?? "ago"](since(moment), moment));
}

setInterval(() => {
  if (!document.hidden) document.querySelectorAll("time[data-style]").forEach(tick);
}, TICK_MS);
