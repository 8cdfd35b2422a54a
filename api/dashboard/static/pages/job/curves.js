/** Curves of a run: loss, learning rate, and what it was worth along the way. */

import { chart } from "../../components/chart.js";
import { empty } from "../../components/empty.js";
import { get, path } from "../../core/api.js";
import { words } from "../../core/format.js";
import { h, replace } from "../../core/h.js";

const POINTS = 500;
const CANDIDATES = "Of the weights at that step, on the selection split";
const VALIDATION = "On up to 1,000 validation images, before calibration; step 0 is the start";

/**
 * @typedef {{title: string, note?: string, y?: string, percent?: boolean,
 *   pick: (name: string) => string | null, value?: (value: number) => number}} Curve `pick` gives the
 *   line's name for a metric that belongs to it
 */

/** @type {Curve[]} */
const CURVES = [
  { title: "Loss", pick: (name) => (name === "loss" ? "total" : name.startsWith("loss.") ? words(name.slice(5)) : null) },
  { title: "Learning rate", pick: (name) => (name === "learning_rate" ? "learning rate" : null) },
  {
    title: "Accuracy",
    note: `${VALIDATION}. Candidates: on the selection split`,
    percent: true,
    pick: either(only("validation.accuracy", "validation"), only("candidate.accuracy", "candidates")),
  },
  {
    title: "Negative log-likelihood",
    note: VALIDATION,
    pick: either(only("validation.nll", "validation"), only("candidate.nll", "candidates")),
  },
  { title: "ECE", note: VALIDATION, percent: true, pick: only("validation.ece", "validation") },
  {
    title: "Calibration error",
    note: `${CANDIDATES}: root of the squared error of the top label, debiased`,
    percent: true,
    pick: only("candidate.calibration_error", "calibration error"),
    value: (squared) => Math.sqrt(Math.max(0, squared)),
  },
  { title: "σ_min", note: `${CANDIDATES}: smallest singular value of the features' correlation`, pick: only("candidate.sigma_min", "σ_min") },
  { title: "Gradient norm", pick: only("gradient_norm", "gradient norm") },
];
const NAMES = /^(loss(\..+)?|learning_rate|gradient_norm|candidate\.(accuracy|nll|calibration_error|sigma_min)|validation\.(accuracy|nll|ece))$/;

/** @param {string} metric @param {string} line */
function only(metric, line) {
  return (/** @type {string} */ name) => (name === metric ? line : null);
}

/** @param {...((name: string) => string | null)} picks */
function either(...picks) {
  return (/** @type {string} */ name) => picks.map((pick) => pick(name)).find((line) => line !== null) ?? null;
}

/** @param {AbortSignal} signal */
export function curves(signal) {
  const element = h("div", { class: "curves-place" });
  /** @type {{curve: Curve, drawn: ReturnType<typeof chart>}[] | null} */
  let charts = null;
  /** @type {string | null} */
  let etag = null;

  function begin() {
    charts = CURVES.map((curve) => ({
      curve,
      drawn: chart(curve.title, { x: "step", percent: curve.percent, note: curve.note, signal }),
    }));
    replace(element, h("div", { class: "curves" }, charts.map((each) => each.drawn.element)));
    for (const { drawn } of charts) drawn.element.hidden = true;
  }

  return {
    element,
    /** Ask for the curves; a chart appears with its first point. @param {string} id @param {any} job */
    async look(id, job) {
      const answer = await get(path`/jobs/${id}/metrics`, { query: { resolution: POINTS }, etag, signal });
      if (answer.status === 304) return;
      etag = answer.etag;
      const series = answer.data.data.filter((/** @type {any} */ each) => NAMES.test(each.name));
      if (series.length === 0) {
        if (charts === null) replace(element, nothing(job));
        return;
      }
      if (charts === null) begin();
      for (const { curve, drawn } of charts ?? []) {
        const found = lines(curve, series);
        drawn.element.hidden = found.length === 0;
        drawn.update(found);
      }
    },
  };
}

/** @param {Curve} curve @param {any[]} series @returns {import("../../components/chart.js").Line[]} */
function lines(curve, series) {
  return series.flatMap(({ name, steps, values }) => {
    const line = curve.pick(name);
    if (line === null) return [];
    const change = curve.value;
    const y = change ? values.map((/** @type {number | null} */ value) => (value === null ? null : change(value))) : values;
    return [{ name: line, x: steps, y }];
  });
}

/** @param {any} job */
function nothing(job) {
  if (job.kind !== "finetune") return empty("This job trains nothing, so it has no curves.", "What it measured is in its report.");
  if (job.state === "queued") return empty("No curves yet.", "They begin as soon as a worker has taken the job.");
  if (job.finished_at) return empty("No curves.", "It ended before its first step of training.");
  return empty("No curves yet.", "They begin with the first step of training.");
}
