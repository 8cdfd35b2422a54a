/** What a report says in all: a few numbers, the table, and accuracy against calibration error. */

import { chart, plain } from "../../components/chart.js";
import { facts } from "../../components/facts.js";
import { whenSeen } from "../../components/lazy.js";
import { table } from "../../components/table.js";
import { NONE, counted, figure, number, percent } from "../../core/format.js";
import { h } from "../../core/h.js";
import { CHANCE_SERVED, OOD_MEAN, aboveChance, accuracyOf, beside, calibratorName, datasetName, debiased, rowsOf, served, withInterval } from "./figures.js";

const DEBIASED = "Root of the squared calibration error without the bias of the ECE, after the served calibrator, with its 95 % interval";

/** @typedef {{name: string, row: any, mean: any, start: any}} Line */

/** @param {any} document @param {any} start the report of the zero-shot start, or null */
export function summaryFacts(document, start) {
  const [inside] = rowsOf(document).filter((row) => row.in_distribution);
  const mean = document.ood_mean;
  const worst = inside?.worst_classes?.gaps?.[0];
  const before = start && rowsOf(start.document).find((row) => row.in_distribution);
  const element = facts();
  element.update([
    { name: "ID accuracy", value: inside ? percent(inside.raw.accuracy) : NONE, note: inside?.raw.accuracy_interval ? `${percent(inside.raw.accuracy_interval[0])} to ${percent(inside.raw.accuracy_interval[1])}` : "", hint: "On the data set's own test images, with Wilson's 95 % interval" },
    { name: "ID ECE as served", value: inside ? percent(served(inside).ece, 2) : NONE, note: inside?.calibrated ? `${percent(inside.raw.ece, 2)} before calibration` : "not calibrated", hint: "Expected calibration error over the whole set, 15 bins" },
    { name: "OOD accuracy", value: percent(mean?.accuracy), note: mean?.datasets ? `mean of ${counted(mean.datasets, "data set")}` : "", hint: OOD_MEAN },
    { name: "OOD ECE as served", hint: OOD_MEAN, value: percent(mean?.calibrated_ece ?? mean?.ece, 2), note: mean?.calibrated_ece != null ? `${percent(mean.ece, 2)} before calibration` : "" },
    { name: "Calibrator", value: document.calibrator?.kind ? calibratorName(document.calibrator.kind) : "none", note: document.calibration?.images ? `fitted on ${counted(document.calibration.images, "image")}` : "" },
    { name: "Worst class", value: worst ? h("bdi", {}, worst.name) : NONE, note: worst ? `right ${percent(worst.accuracy)} at ${percent(worst.mean_confidence)} mean confidence` : inside?.worst_classes ? "none beyond chance" : "not measured", hint: "The class whose mean confidence lies farthest outside the interval of its accuracy, in distribution" },
    { name: "Zero-shot start", value: before ? percent(before.raw.accuracy) : NONE, note: before ? "ID accuracy before fine-tuning" : "not measured", hint: "The model that this one started from, where a report of it was found" },
  ]);
  return element.element;
}

/** @param {any} document @param {any} start */
export function mainTable(document, start) {
  const startRows = new Map(start ? rowsOf(start.document).map((row) => [row.name, row]) : []);
  /** @type {Line[]} */
  const lines = rowsOf(document).map((row) => ({ name: row.name, row, mean: null, start: startRows.get(row.name)?.raw ?? null }));
  if (document.ood_mean) lines.push({ name: "OOD mean", row: null, mean: document.ood_mean, start: start?.document.ood_mean ?? null });
  const raw = (/** @type {Line} */ line) => line.row?.raw ?? line.mean;
  const calibrated = (/** @type {Line} */ line, /** @type {string} */ name) => (line.row ? line.row.calibrated?.[name] : line.mean[`calibrated_${name}`]) ?? null;
  const pair = (/** @type {[any, any, any]} */ [share, low, high]) => [share, low, high];
  const made = table(
    "Accuracy and calibration",
    [
      { title: "Data set", kind: "main", value: (line) => line.name, render: (_, line) => (line.row ? datasetName(line.row) : h("span", { title: OOD_MEAN }, h("strong", {}, "OOD mean"), line.mean.datasets && h("span", { class: "muted" }, ` of ${counted(line.mean.datasets, "data set")}`))) },
      { title: "Images", kind: "number", value: (line) => line.row?.images ?? null, render: (images) => number(images) },
      { title: "Accuracy", kind: "number", hint: "With Wilson's 95 % interval", value: (line) => accuracyOf(raw(line)), render: (value) => withInterval(value), csv: pair, csvTitles: ["accuracy", "accuracy low", "accuracy high"] },
      ...(start ? [
        { title: "Zero-shot", kind: "number", hint: "Accuracy of the model that this one started from", value: (/** @type {Line} */ line) => line.start?.accuracy ?? null, render: (/** @type {any} */ value) => percent(value) },
        { title: "Zero-shot ECE", kind: "number", hint: "Raw, as the start has no calibrator of this run", value: (/** @type {Line} */ line) => line.start?.ece ?? null, render: (/** @type {any} */ value) => percent(value, 2) },
      ] : []),
      { title: "ECE raw", kind: "number", value: (line) => [raw(line).ece ?? null, line.row?.raw.ece_null_p95 ?? null], render: aboveChance, csv: ([ece]) => ece },
      { title: "ECE calibrated", kind: "number", hint: "After the calibrator that is served", value: (line) => [calibrated(line, "ece"), line.row?.calibrated?.ece_null_p95 ?? null], render: aboveChance, csv: ([ece]) => ece },
      { title: "Chance level", kind: "number", hint: CHANCE_SERVED, value: (line) => (line.row ? served(line.row).ece_null_p95 ?? null : null), render: (value) => percent(value, 2) },
      { title: "Debiased error", kind: "number", hint: DEBIASED, value: (line) => (line.row ? debiased(served(line.row)) : [null, null, null]), render: (value) => withInterval(value, 2), csv: pair, csvTitles: ["debiased error", "debiased error low", "debiased error high"] },
      { title: "NLL raw", kind: "number", hint: "Mean negative log-likelihood, in nats", value: (line) => raw(line).nll ?? null, render: (value) => figure(value) },
      { title: "NLL calibrated", kind: "number", hint: "`worse` where it is above the raw one", value: (line) => [calibrated(line, "nll"), raw(line).nll ?? null], render: beside, csv: ([nll]) => nll },
    ],
    (line) => line.name,
  );
  made.update(lines);
  return made.element;
}

/** @param {any} document @param {any} start @param {AbortSignal} signal */
export function scatter(document, start, signal) {
  const drawn = chart("Accuracy against calibration error", {
    x: "ECE", y: "accuracy", percent: true, note: "Up and to the left is better. A point is a data set; the circle is in distribution.", height: 320, signal,
    layout: { hovermode: "closest" }, axes: { xaxis: { tickformat: ".2~%", rangemode: "tozero" } },
  });
  /** @param {string} name @param {any[]} rows @param {(row: any) => any} pick @param {number} series @param {string} shape */
  const points = (name, rows, pick, series, shape) => {
    const found = rows.filter(pick);
    return {
      name, mode: "markers", series, x: found.map((row) => pick(row).ece), y: found.map((row) => pick(row).accuracy),
      more: {
        text: found.map((row) => `${plain(row.name)}, ${plain(name)}<br>accuracy ${percent(pick(row).accuracy)}, ECE ${percent(pick(row).ece, 2)}`),
        hoverinfo: "text",
      },
      marker: { size: 9, symbol: found.map((row) => (row.in_distribution ? (shape.endsWith("open") ? "circle-open" : "circle") : shape)) },
      columns: { "data set": found.map((row) => row.name) },
    };
  };
  const rows = rowsOf(document);
  const lines = [points("raw", rows, (row) => row.raw, 1, "diamond-open"), points("calibrated", rows, (row) => row.calibrated, 0, "diamond")];
  if (start) lines.push(points("zero-shot", rowsOf(start.document), (row) => row.raw, 4, "square-open"));
  whenSeen(drawn.element, () => drawn.update(lines.filter((line) => line.x.length > 0)), signal);
  return drawn.element;
}
