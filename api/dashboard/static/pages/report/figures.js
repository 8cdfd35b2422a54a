/** What reports say, as the tables and charts of them want it. Reports stored long ago lack some. */

import { badge } from "../../components/badge.js";
import { NONE, figure, percent } from "../../core/format.js";
import { h } from "../../core/h.js";

/** What the chance level of an ECE is. */
export const CHANCE = "95th percentile of the ECE that a perfectly calibrated model with the same confidences shows on as many images. An ECE below it is no evidence of miscalibration";

/** Where one column has the chance level beside raw and calibrated figures. */
export const CHANCE_SERVED = `Of the confidences that are served: ${CHANCE}`;

/** What figures over several data sets are a mean of. */
export const OOD_MEAN = "Unweighted mean over the shifted data sets";

/** What a report calls a calibrator, in words. @param {string} kind */
export const calibratorName = (kind) => kind.replaceAll("_", " ");

/** The data set in distribution comes first. @param {any} document @returns {any[]} */
export function rowsOf(document) {
  const rows = (document.datasets ?? []).filter((/** @type {any} */ row) => row.raw);
  return [...rows].sort((a, b) => Number(b.in_distribution) - Number(a.in_distribution));
}

/** What a data set was served with. @param {any} row */
export const served = (row) => row.calibrated ?? row.raw;

/** A data set's name, and whether it is the one in distribution. @param {any} row */
export function datasetName(row) {
  return [h("bdi", {}, row.name ?? row.dataset ?? "data set"), row.in_distribution && [" ", badge("ID", "live")]];
}

/**
 * The debiased calibration error with its interval: the root of the squared one.
 * @param {any} metrics @returns {[number | null, number | null, number | null]}
 */
export function debiased(metrics) {
  const squared = metrics?.debiased_squared;
  const bounds = metrics?.debiased_squared_interval;
  const root = (/** @type {number} */ value) => Math.sqrt(Math.max(0, value));
  if (typeof squared !== "number") return [metrics?.debiased_ece ?? null, null, null];
  return bounds ? [root(squared), root(bounds[0]), root(bounds[1])] : [root(squared), null, null];
}

/** @param {any} metrics @returns {[number | null, number | null, number | null]} */
export function accuracyOf(metrics) {
  const bounds = metrics?.accuracy_interval;
  return [metrics?.accuracy ?? null, bounds?.[0] ?? null, bounds?.[1] ?? null];
}

/** A share over its interval, so that columns stay narrow. @param {[number | null, number | null, number | null]} value @param {number} [digits] */
export function withInterval([share, low, high], digits = 1) {
  if (share === null) return NONE;
  const under = low === null || high === null ? null : `${(100 * low).toFixed(digits)} to ${(100 * high).toFixed(digits)}`;
  return [percent(share, digits), under && h("span", { class: "interval" }, under)];
}

/**
 * An ECE, and whether it is above its chance level.
 * @param {[number | null, number | null]} value
 */
export function aboveChance([ece, chance]) {
  if (ece === null) return NONE;
  if (chance === null) return percent(ece, 2);
  const said = ece > chance;
  return h(
    "span",
    { class: said ? "over" : null, title: said ? "Above the chance level: evidence of miscalibration" : "Not above the chance level: no evidence of miscalibration" },
    percent(ece, 2), said && h("span", { class: "visually-hidden" }, " above the chance level"),
  );
}

/** A loss beside what it is without a calibrator. @param {[number | null, number | null]} value */
export function beside([nll, raw]) {
  if (nll === null) return NONE;
  const worse = raw !== null && nll > raw;
  return [figure(nll), worse && [" ", badge("worse", "warn")]];
}
