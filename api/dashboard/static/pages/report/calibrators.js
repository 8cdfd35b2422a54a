/** Every calibrator that was fitted, on the data set that is chosen. */

import { badge } from "../../components/badge.js";
import { empty } from "../../components/empty.js";
import { table } from "../../components/table.js";
import { NONE, figure, number, percent } from "../../core/format.js";
import { h } from "../../core/h.js";
import { CHANCE, aboveChance, accuracyOf, beside, calibratorName, debiased, rowsOf, withInterval } from "./figures.js";

const MEAN = "OOD mean";
const OUT_OF_FOLD = "Negative log-likelihood on calibration images that were held out, by which `auto` chose, minus the lowest, with its standard error";

/**
 * @typedef {{kind: string, metrics: any, raw: any, served: boolean, score: any, reason: string | null}} Line
 */

/** @param {any} document */
export function calibrators(document) {
  const rows = rowsOf(document);
  const found = rows.some((row) => row.calibrators?.length > 0 || row.calibrated);
  if (!found) return empty("This report has no calibrators.", "They are fitted where the data set has a calibration split; then confidences can be compared here.");
  const choices = [...rows.map((row) => row.name), ...(document.ood_mean?.calibrators?.length > 0 ? [MEAN] : [])];
  const list = table("Calibrators", columns(document), (line) => line.kind);
  const select = /** @type {HTMLSelectElement} */ (
    h("select", { class: "input", "aria-label": "Calibrators on", on: { change: show } }, choices.map((name) => h("option", { value: name }, name)))
  );

  function show() {
    list.update(linesOf(document, rows.find((row) => row.name === select.value) ?? null));
  }

  show();
  return h(
    "div",
    { class: "stack-gap" },
    h("div", { class: "section-head" }, h("p", { class: "muted" }, "Compare them by negative log-likelihood (NLL), not by ECE, and look at shifted data sets as well."), h("label", { class: "field-inline" }, "On", select)),
    list.element,
  );
}

/** @param {any} document */
function columns(document) {
  const auto = Boolean(document.calibration?.choice);
  const pair = (/** @type {[any, any, any]} */ value) => value;
  return [
    { title: "Calibrator", kind: "main", value: (/** @type {Line} */ line) => [line.kind, line.served], render: (/** @type {any} */ [kind, served]) => [calibratorName(kind), served && [" ", badge("served", "good")]], csv: (/** @type {any} */ [kind]) => kind },
    { title: "Accuracy", kind: "number", value: (/** @type {Line} */ line) => accuracyOf(line.metrics), render: (/** @type {any} */ value) => withInterval(value), csv: pair, csvTitles: ["accuracy", "accuracy low", "accuracy high"] },
    { title: "ECE", kind: "number", value: (/** @type {Line} */ line) => [line.metrics?.ece ?? null, line.metrics?.ece_null_p95 ?? null], render: aboveChance, csv: (/** @type {any} */ [ece]) => ece },
    { title: "Chance level", kind: "number", hint: CHANCE, value: (/** @type {Line} */ line) => line.metrics?.ece_null_p95 ?? null, render: (/** @type {any} */ value) => percent(value, 2) },
    { title: "Debiased error", kind: "number", hint: "Root of the squared error without the bias of the ECE, with its 95 % interval", value: (/** @type {Line} */ line) => debiased(line.metrics), render: (/** @type {any} */ value) => withInterval(value, 2), csv: pair, csvTitles: ["debiased error", "debiased error low", "debiased error high"] },
    { title: "NLL", kind: "number", hint: "Mean negative log-likelihood, in nats; `worse` where it is above the raw one", value: (/** @type {Line} */ line) => [line.metrics?.nll ?? null, line.raw?.nll ?? null], render: beside, csv: (/** @type {any} */ [nll]) => nll },
    { title: "Brier", kind: "number", hint: "Mean squared distance of the probabilities from the label, 0 to 2", value: (/** @type {Line} */ line) => line.metrics?.brier ?? null, render: (/** @type {any} */ value) => figure(value) },
    { title: "AUROC", kind: "number", hint: "Probability that a right answer has a higher confidence than a wrong one", value: (/** @type {Line} */ line) => line.metrics?.auroc ?? null, render: (/** @type {any} */ value) => number(value, 3) },
    ...(auto ? [{ title: "Held out", kind: "number", hint: OUT_OF_FOLD, value: (/** @type {Line} */ line) => [line.score?.behind ?? null, line.score?.behind_standard_error ?? null], render: (/** @type {any} */ [behind, error]) => (behind === null ? NONE : `+${figure(behind, 2)} ± ${figure(error, 2)}`), csv: (/** @type {any} */ value) => value, csvTitles: ["held out, behind", "standard error"] }] : []),
    { title: "Not fitted", kind: "wide", value: (/** @type {Line} */ line) => line.reason ?? NONE },
  ];
}

/** @param {any} document @param {any} row null for the mean @returns {Line[]} */
function linesOf(document, row) {
  const summary = document.calibration;
  const mean = document.ood_mean;
  const kind = summary?.served ?? document.calibrator?.kind ?? "calibrated";
  const raw = row ? row.raw : mean;
  const measured = row
    ? new Map((row.calibrators ?? []).map((/** @type {any} */ each) => [each.kind, each.metrics]))
    : new Map(mean.calibrators.map((/** @type {any} */ each) => [each.kind, each]));
  if (measured.size === 0 && row?.calibrated) measured.set(kind, row.calibrated);
  const scores = new Map((summary?.choice?.scores ?? []).map((/** @type {any} */ each) => [each.kind, each]));
  const missing = (summary?.calibrators ?? []).filter((/** @type {any} */ each) => !measured.has(each.kind));
  return [
    { kind: "raw", metrics: raw, raw, served: measured.size === 0, score: null, reason: null },
    ...[...measured].map(([each, metrics]) => ({ kind: each, metrics, raw, served: each === kind, score: scores.get(each) ?? null, reason: null })),
    ...missing.map((/** @type {any} */ each) => ({ kind: each.kind, metrics: null, raw, served: false, score: null, reason: each.reason ?? "not measured here" })),
  ];
}
