/** How far something is. */

import { number, words } from "../core/format.js";
import { h, s } from "../core/h.js";

const WIDTH = 100;

/**
 * The share of a job that is done, as far as its progress tells; null when it does not.
 * @param {any} job
 */
export function share(job) {
  const { step, total_steps: total } = job.progress ?? {};
  return job.state !== "succeeded" && total > 0 && step != null ? Math.min(1, step / total) : null;
}

/**
 * A bar; where the share is not known it only says that something is going on.
 * @param {number | null} part 0 to 1
 * @param {string} name what it is of, for those who do not see it
 */
export function bar(part, name) {
  const known = part !== null;
  return s(
    "svg",
    {
      class: ["bar", !known && "unknown"], viewBox: `0 0 ${WIDTH} 6`, preserveAspectRatio: "none",
      role: "progressbar", "aria-label": name, "aria-valuemin": 0, "aria-valuemax": 100,
      "aria-valuenow": known ? Math.round(100 * part) : null,
    },
    s("rect", { class: "bar-back", width: WIDTH, height: 6 }),
    s("rect", { class: "bar-front", width: known ? WIDTH * part : 0, height: 6 }),
  );
}

/** What a job is doing, in words. @param {any} job */
export function doing(job) {
  const progress = job.progress;
  if (!progress?.phase) return job.state === "running" ? "starting" : "";
  const unit = progress.phase === "evaluating" ? "data set" : "step";
  const of = progress.total_steps
    ? `, ${unit} ${number(progress.step)} of ${number(progress.total_steps)}`
    : "";
  return `${words(progress.phase)}${of}`;
}
