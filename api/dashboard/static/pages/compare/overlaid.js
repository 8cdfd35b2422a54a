/** Reliability diagrams of several models in one, for each data set. */

import { chart } from "../../components/chart.js";
import { whenSeen } from "../../components/lazy.js";
import { h } from "../../core/h.js";
import { number, percent } from "../../core/format.js";
import { rowsOf } from "../report/figures.js";

/** @param {any} comparison @param {any[]} models @param {string} confidence @param {AbortSignal} signal */
export function overlaid(comparison, models, confidence, signal) {
  const charts = comparison.datasets.map((/** @type {any} */ row) => {
    const drawn = chart(row.name, {
      x: "confidence", y: "accuracy", height: 300, signal, note: `${number(row.images)} images`,
      layout: { hovermode: "closest" },
      axes: { xaxis: { range: [-0.01, 1.01], tickformat: ".0%" }, yaxis: { range: [-0.02, 1.03], tickformat: ".0%" } },
    });
    const lines = models.flatMap((each, i) => lineOf(each, i, row.name, confidence));
    whenSeen(drawn.element, () => drawn.update([{ name: "ideal", x: [0, 1], y: [0, 1], mode: "lines", dash: "dash", color: "#8b8e94", more: { hoverinfo: "skip" } }, ...lines]), signal);
    return drawn.element;
  });
  return h("section", { class: "stack-gap" }, h("h2", {}, "Reliability"), h("div", { class: "curves" }, charts));
}

/** @param {any} model @param {number} i @param {string} name @param {string} confidence */
function lineOf(model, i, name, confidence) {
  const row = rowsOf(model.report.document).find((each) => each.name === name);
  const bins = (confidence === "raw" ? null : row?.reliability_calibrated) ?? row?.reliability_raw;
  const full = (bins ?? []).filter((/** @type {any} */ bin) => bin.count > 0);
  if (full.length === 0) return [];
  const bound = (/** @type {any} */ bin, /** @type {number} */ at) => bin.accuracy_interval?.[at] ?? bin.accuracy;
  return [{
    name: model.letter, series: i, x: full.map((/** @type {any} */ bin) => bin.confidence), y: full.map((/** @type {any} */ bin) => bin.accuracy), mode: "lines+markers",
    dash: i >= 5 ? "dot" : undefined,
    columns: { low: full.map((/** @type {any} */ bin) => bound(bin, 0)), high: full.map((/** @type {any} */ bin) => bound(bin, 1)), images: full.map((/** @type {any} */ bin) => bin.count) },
    more: {
      error_y: { type: "data", symmetric: false, thickness: 1, width: 2, array: full.map((/** @type {any} */ bin) => bound(bin, 1) - bin.accuracy), arrayminus: full.map((/** @type {any} */ bin) => bin.accuracy - bound(bin, 0)) },
      text: full.map((/** @type {any} */ bin) => `${model.letter}: ${number(bin.count)} images<br>confidence ${percent(bin.confidence)}, accuracy ${percent(bin.accuracy)}`),
      hoverinfo: "text",
    },
  }];
}
