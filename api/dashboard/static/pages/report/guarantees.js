/** What rests on raw confidences and features: prediction sets, thresholds for a risk, the shift score. */

import { badge } from "../../components/badge.js";
import { empty } from "../../components/empty.js";
import { table } from "../../components/table.js";
import { NONE, number, percent } from "../../core/format.js";
import { h } from "../../core/h.js";
import { datasetName, rowsOf, withInterval } from "./figures.js";

const NOTHING = "It needs a calibration split; older reports lack it too.";

/** @typedef {{id: string, row: any, found: any}} Line */

/** @param {any} document */
export function guarantees(document) {
  const rows = rowsOf(document);
  return h("div", { class: "sections" }, sets(rows), risks(rows), shifts(rows), document.unseen && unseen(document.unseen));
}

/** @param {any[]} rows @param {string} name @returns {Line[]} */
function linesOf(rows, name) {
  return rows.flatMap((row) => (row[name] ?? []).map((/** @type {any} */ found, /** @type {number} */ i) => ({ id: `${row.name} ${i}`, row, found })));
}

const dataset = { title: "Data set", kind: "main", value: (/** @type {Line} */ line) => line.row.name, render: (/** @type {any} */ _, /** @type {Line} */ line) => datasetName(line.row) };
const triple = (/** @type {any} */ share, /** @type {any} */ bounds) => [share ?? null, bounds?.[0] ?? null, bounds?.[1] ?? null];
const same = (/** @type {any} */ value) => value;

/** @param {any[]} rows */
function sets(rows) {
  const lines = linesOf(rows, "sets");
  const methods = [...new Set(lines.map((line) => line.found.method))];
  const list = table(
    "Prediction sets",
    [
      dataset,
      { title: "Method", value: (line) => line.found.method },
      { title: "Target", kind: "number", value: (line) => line.found.asked, render: (value) => percent(value, 1) },
      { title: "Coverage", kind: "number", hint: "Share of sets that contain the right class, with Wilson's 95 % interval", value: (line) => triple(line.found.measured?.coverage, line.found.measured?.coverage_interval), render: (value) => withInterval(value), csv: same, csvTitles: ["covered", "covered low", "covered high"] },
      { title: "", value: (line) => verdict(line.found), render: (text) => (text ? badge(text, text === "below target" ? "warn" : "good") : ""), csv: same, csvTitles: ["verdict"] },
      { title: "Worst class", hint: "The class that is surest to be in its sets too rarely, with its coverage and Wilson's 95 % interval", value: (line) => lowest(line.found), render: (value) => (value ? [h("bdi", {}, value[0]), ": ", withInterval(value.slice(1))] : NONE), csv: (value) => value ?? ["", "", "", ""], csvTitles: ["worst class", "its coverage", "its coverage low", "its coverage high"] },
      { title: "Classes in a set", kind: "number", hint: "Mean, with a normal 95 % interval", value: (line) => triple(line.found.measured?.mean_size, line.found.measured?.mean_size_interval), render: sizes, csv: same, csvTitles: ["mean size", "mean size low", "mean size high"] },
      { title: "Largest", kind: "number", value: (line) => line.found.measured?.largest ?? null, render: (value) => number(value) },
      { title: "Reason if none", kind: "wide", value: (line) => line.found.reason ?? NONE },
    ],
    (line) => line.id,
  );
  const first = methods.includes("raps") ? "raps" : methods[0];
  const select = /** @type {HTMLSelectElement} */ (h("select", { class: "input", "aria-label": "Method of the sets", on: { change: show } }, methods.map((name) => h("option", { value: name, selected: name === first }, name)), h("option", { value: "" }, "all")));
  function show() {
    list.update(lines.filter((line) => !select.value || line.found.method === select.value));
  }
  show();
  return part("Prediction sets", "On images like the calibration images they contain the right class at least as often as the target says, on average; for each class by itself only with the method mondrian. Under shift there is no guarantee: this is what was measured.", lines.length > 0 && list.element, h("label", { class: "field-inline" }, "Method", select));
}

/** @param {any} found @returns {any[] | null} */
function lowest({ classes }) {
  const worst = classes?.[0];
  return worst ? [worst.name, worst.coverage, ...worst.coverage_interval] : null;
}

/** @param {any} found */
function verdict({ measured, asked }) {
  if (!measured?.coverage_interval) return "";
  return measured.coverage_interval[1] < asked ? "below target" : "met";
}

/** @param {[number | null, number | null, number | null]} value */
function sizes([mean, low, high]) {
  if (mean === null) return NONE;
  return [number(mean, 2), low !== null && h("span", { class: "interval" }, `${number(low, 2)} to ${number(high, 2)}`)];
}

/** @param {any[]} rows */
function risks(rows) {
  const lines = linesOf(rows, "risks");
  const list = table(
    "Risks",
    [
      dataset,
      { title: "Target risk", kind: "number", value: (line) => line.found.max_risk, render: (value) => percent(value, 1) },
      { title: "Threshold", kind: "number", hint: "Raw confidence; answers that reach it are accepted", value: (line) => line.found.threshold ?? null, render: (value) => percent(value, 1) },
      { title: "Accepted", kind: "number", value: (line) => line.found.accepted_share ?? null, render: (value) => percent(value, 1) },
      { title: "Wrong among accepted", kind: "number", hint: "With Wilson's 95 % interval", value: (line) => triple(line.found.risk, line.found.risk_interval), render: (value) => withInterval(value), csv: same, csvTitles: ["risk", "risk low", "risk high"] },
      { title: "", value: (line) => (line.found.risk_interval ? (line.found.risk_interval[0] > line.found.max_risk ? "exceeded" : "met") : ""), render: (text) => (text ? badge(text, text === "exceeded" ? "warn" : "good") : ""), csv: same, csvTitles: ["verdict"] },
      { title: "Reason if none", kind: "wide", value: (line) => line.found.reason ?? NONE },
    ],
    (line) => line.id,
  );
  list.update(lines);
  return part("Risk", "From the threshold on the share of wrong answers is guaranteed to stay below the target risk, with 95 % probability, for images like the calibration images.", lines.length > 0 && list.element);
}

/** @param {any[]} rows */
function shifts(rows) {
  const lines = rows.filter((row) => row.shift_score).map((row) => ({ id: row.name, row, found: row.shift_score }));
  const list = table(
    "Shift score",
    [
      dataset,
      { title: "AUROC", kind: "number", hint: "Probability that an image lies farther away than one in distribution; 0.5 is no difference", value: (line) => line.found.auroc, render: (value) => number(value, 3) },
      { title: "Beyond 0.99", kind: "number", hint: "Share of images farther away than 99 % of the calibration images; 1 % is expected without shift", value: (line) => line.found.beyond, render: (value) => percent(value, 1) },
      { title: "Median score", kind: "number", hint: "Share of calibration images that lie nearer", value: (line) => line.found.median_percentile, render: (value) => number(value, 2) },
    ],
    (line) => line.id,
  );
  list.update(lines);
  return part("Shift", "How far the images lie from the calibration images, by their features.", lines.length > 0 && list.element);
}

/** @param {any} found */
function unseen({ known, rows, chosen }) {
  const lines = rows.flatMap((/** @type {any} */ row) => row.scores.map((/** @type {any} */ each) => ({ id: `${row.name} ${each.score}`, row, found: each })));
  const list = table(
    "None of the classes",
    [
      { title: "Unseen", kind: "main", value: (line) => line.row.name, render: (name) => h("bdi", {}, name) },
      { title: "Images", kind: "number", value: (line) => line.row.images, render: (value) => number(value) },
      { title: "Score", value: (line) => line.found.score },
      { title: "", value: (line) => (line.found.score === chosen ? "served" : ""), render: (text) => (text ? badge(text, "good") : ""), csv: same, csvTitles: ["served"] },
      { title: "AUROC", kind: "number", hint: "Probability that an unseen image looks less like the classes than one in distribution, with DeLong's 95 % interval", value: (line) => triple(line.found.auroc, line.found.auroc_interval), render: (value) => areas(value), csv: same, csvTitles: ["AUROC", "AUROC low", "AUROC high"] },
      { title: "FPR95", kind: "number", hint: "Share of unseen images that are accepted where 95 % of those in distribution are, with a 95 % interval", value: (line) => triple(line.found.fpr95, line.found.fpr95_interval), render: (value) => withInterval(value), csv: same, csvTitles: ["FPR95", "FPR95 low", "FPR95 high"] },
      { title: "Abstained", kind: "number", hint: "Share of the unseen images that predictions abstain from, by the score that is served", value: (line) => (line.found.score === chosen ? line.row.abstained : null), render: (value) => percent(value, 1) },
      { title: "Abstained, known", kind: "number", hint: "The same of the images in distribution", value: (line) => (line.found.score === chosen ? line.row.known_abstained : null), render: (value) => percent(value, 1) },
    ],
    (line) => line.id,
  );
  list.update(lines);
  return part("None of the classes", `Images of other classes against ${number(rows[0].known_images)} images of ${known}. Which score is served was chosen by other images than these.`, list.element);
}

/** @param {[number | null, number | null, number | null]} value */
function areas([area, low, high]) {
  return [number(area, 3), low !== null && h("span", { class: "interval" }, `${number(low, 3)} to ${number(high, 3)}`)];
}

/** @param {string} title @param {string} note @param {HTMLElement | false} content @param {HTMLElement} [tool] */
function part(title, note, content, tool) {
  return h(
    "section",
    { class: "stack-gap" },
    h("div", { class: "section-head" }, h("h2", {}, title), h("p", { class: "muted" }, note), content && tool),
    content || empty("Not measured.", NOTHING),
  );
}
