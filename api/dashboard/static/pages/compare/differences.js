/** Differences to the first model on the same images, with their intervals, and which are real. */

import { badge } from "../../components/badge.js";
import { table } from "../../components/table.js";
import { counted, figure, number, percent } from "../../core/format.js";
import { h } from "../../core/h.js";
import { datasetName } from "../report/figures.js";

/** @type {Record<string, string>} */
const METRICS = { accuracy: "accuracy", nll: "NLL (nats)", brier: "Brier score", debiased_squared: "squared calibration error" };

/** @param {any} comparison @param {any[]} models */
export function differences(comparison, models) {
  const letters = new Map(models.map((each) => [each.report_id, each.letter]));
  const lines = comparison.datasets.flatMap((/** @type {any} */ row) =>
    row.differences.map((/** @type {any} */ found) => ({ id: `${row.name} ${found.report_id} ${found.metric}`, row, found, letter: letters.get(found.report_id) })),
  );
  const only = /** @type {HTMLInputElement} */ (h("input", { type: "checkbox", on: { change: show } }));
  const list = table(
    "Differences",
    [
      { title: "Data set", kind: "main", value: (line) => line.row.name, render: (_, line) => datasetName(line.row) },
      { title: "Model", value: (line) => line.letter, render: (letter) => `${letter} − ${models[0].letter}` },
      { title: "Figure", value: (line) => METRICS[line.found.metric] ?? line.found.metric },
      { title: "Difference", kind: "number", value: (line) => [line.found.metric, line.found.value], render: ([metric, value]) => signed(metric, value), csv: ([, value]) => value },
      { title: "95 % interval", kind: "number", hint: "Of this difference alone; paired bootstrap", value: (line) => [line.found.metric, ...line.found.interval], render: ([metric, low, high]) => `${signed(metric, low)} to ${signed(metric, high)}`, csv: ([, low, high]) => [low, high], csvTitles: ["low", "high"] },
      { title: "p, adjusted", kind: "number", hint: "Probability of a difference as large between equal models, adjusted by Holm's method for all of these together", value: (line) => line.found.adjusted_p_value, render: (value) => (value < 0.001 ? "< 0.001" : number(value, 3)) },
      { title: "Verdict", value: (line) => verdict(line.found), render: (text) => badge(text, text === "better" ? "good" : text === "worse" ? "bad" : "plain") },
    ],
    (line) => line.id,
  );
  const real = lines.filter((/** @type {any} */ line) => line.found.real);
  function show() {
    list.update(only.checked ? real : lines);
  }
  show();
  return h(
    "section",
    { class: "stack-gap" },
    h("div", { class: "section-head" }, h("h2", {}, "Differences"), h("p", { class: "muted" }, `${real.length} of ${counted(comparison.tests, "difference")} significant, at ${percent(comparison.level, 0)} for all together.`), real.length > 0 && h("label", { class: "check" }, only, "only significant ones")),
    list.element,
  );
}

/** @param {any} found */
const verdict = (found) => (!found.real ? "not significant" : found.better ? "better" : "worse");

/** @param {string} metric @param {number} value */
function signed(metric, value) {
  const text = metric === "accuracy" ? `${number(100 * Math.abs(value), 1)} points` : figure(Math.abs(value));
  return `${value < 0 ? "−" : "+"}${text}`;
}
