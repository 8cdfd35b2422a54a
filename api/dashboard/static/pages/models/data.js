/** What models and checkpoints look like, for several pages. */

import { lookUp } from "../../components/picker.js";
import { CHECKPOINTS } from "../../components/sources.js";
import { warningBadge } from "../../components/warnings.js";
import { number, percent } from "../../core/format.js";
import { h } from "../../core/h.js";
import { link } from "../../core/router.js";

/** One of them; they do not change but for being deleted. @param {string} id @returns {Promise<any>} */
export const checkpoint = (id) => lookUp(CHECKPOINTS, id);

/** Headline figures of a checkpoint; null where there is none. @param {any} checkpoint */
export function headline({ metrics }) {
  const inside = metrics?.in_distribution ?? {};
  const outside = metrics?.ood_mean ?? {};
  return {
    idAccuracy: inside.accuracy ?? null,
    idEce: inside.calibrated_ece ?? inside.ece ?? null,
    idRawEce: inside.ece ?? null,
    oodAccuracy: outside.accuracy ?? null,
    oodEce: outside.calibrated_ece ?? outside.ece ?? null,
    oodRawEce: outside.ece ?? null,
  };
}

/** Columns of a table with the headline figures. @template T @param {(row: T) => any} of a row's checkpoint, or null */
export function figureColumns(of) {
  const names = [
    ["ID acc.", "idAccuracy", 1, "Accuracy on the data set's own test images"],
    ["ID ECE", "idEce", 2, "Expected calibration error, calibrated where there is a calibrator"],
    ["OOD acc.", "oodAccuracy", 1, "Accuracy, unweighted mean over the shifted data sets"],
    ["OOD ECE", "oodEce", 2, "Expected calibration error, calibrated where there is a calibrator; unweighted mean over the shifted data sets"],
  ];
  return names.map(([title, name, digits, hint]) => ({
    title: String(title), csvTitles: [String(title).replace("acc.", "accuracy")], hint: String(hint), kind: "number",
    value: (/** @type {T} */ row) => /** @type {any} */ (of(row) && headline(of(row)))?.[name] ?? null,
    render: (/** @type {number | null} */ value) => percent(value, Number(digits)),
  }));
}

export const checkpointName = CHECKPOINTS.name;

/** Name and id of a checkpoint, with a way to the job that made it. @param {any} row */
export function checkpointCell(row) {
  return [
    h("a", { class: "job-name", href: link("job", { id: row.job_id }) }, h("bdi", {}, checkpointName(row))),
    h("span", { class: "job-under muted mono" }, row.id),
    warningBadge(row.warnings),
  ];
}

/** Which calibrator, in words. @param {string | null} id */
export const calibratorName = (id) => (id === null ? "the checkpoint's own" : h("span", { class: "mono" }, id));

/** @typedef {{label: string, tone: string, text: string}} Verdict */

/** What live calibration comes to, in words. @param {any} found @returns {Verdict} */
export function verdict(found) {
  const { alert, test, window } = found;
  if (alert !== null || test.rejected) {
    return { label: "miscalibrated", tone: "bad", text: `The test rejected after ${number(alert?.labels ?? test.labels)} labels${finding(alert ?? test)}.` };
  }
  if (window.predictions === 0) return { label: "no predictions", tone: "plain", text: "No predictions since it points to this checkpoint." };
  if (test.labels === 0) return { label: "no labels", tone: "plain", text: "Without labels its calibration cannot be tested." };
  return { label: "no evidence of miscalibration", tone: "good", text: `${number(test.labels)} labels, and the evidence is below the alarm level.` };
}

/** @param {any} of */
const finding = (of) => (of.finding ? `: ${of.finding}` : "");
