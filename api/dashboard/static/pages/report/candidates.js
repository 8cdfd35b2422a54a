/** Of what a run chose: every candidate, and what the choice went by. */

import { badge } from "../../components/badge.js";
import { table } from "../../components/table.js";
import { figure, number, percent } from "../../core/format.js";
import { h } from "../../core/h.js";
import { OOD_MEAN } from "./figures.js";

/** @type {Record<string, string>} */
const RULES = { accuracy: "the highest accuracy", nll: "the lowest negative log-likelihood", bound: "the lowest sum of the bound's two terms" };

/** @param {any} document */
export function candidates(document) {
  const rule = RULES[document.rule] ?? document.rule;
  const list = table(
    "Candidates",
    [
      { title: "Candidate", kind: "main", value: (each) => [each.name, each.chosen], render: ([name, chosen]) => [h("bdi", {}, name), chosen && [" ", badge("chosen", "good")]], csv: ([name]) => name },
      { title: "Accuracy", kind: "number", value: (each) => each.accuracy, render: (value) => percent(value) },
      { title: "NLL", kind: "number", hint: "Mean negative log-likelihood, in nats", value: (each) => each.nll, render: (value) => figure(value) },
      { title: "Calibration error", kind: "number", hint: "Root of the squared error of the top label, debiased", value: (each) => Math.sqrt(Math.max(0, each.calibration_error)), render: (value) => percent(value, 2) },
      { title: "σ_min", kind: "number", hint: "Smallest singular value of the features' correlation", value: (each) => each.sigma_min, render: (value) => figure(value) },
      { title: "Score", kind: "number", hint: "What the rule minimises; the lowest is kept", value: (each) => each.score, render: (value) => figure(value) },
      { title: "OOD accuracy", kind: "number", hint: `${OOD_MEAN}; not used by the rule`, value: (each) => each.ood_mean?.accuracy ?? null, render: (value) => percent(value) },
      { title: "OOD ECE", kind: "number", hint: `${OOD_MEAN}; raw`, value: (each) => each.ood_mean?.ece ?? null, render: (value) => percent(value, 2) },
    ],
    (each) => each.name,
  );
  list.update(document.candidates);
  return h(
    "div",
    { class: "stack-gap" },
    h("p", { class: "muted" }, `Of ${number(document.candidates.length)} candidates the run kept the one with ${rule ?? "the best score"}, on images of the selection split.`),
    list.element,
  );
}
