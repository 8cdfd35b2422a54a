/** The figures of every model on every data set, side by side. */

import { table } from "../../components/table.js";
import { figure, percent } from "../../core/format.js";
import { h } from "../../core/h.js";
import { CHANCE_SERVED, aboveChance, accuracyOf, datasetName, withInterval } from "../report/figures.js";

/** @param {any} comparison @param {any[]} models */
export function figures(comparison, models) {
  const letters = new Map(models.map((each) => [each.report_id, each.letter]));
  const lines = comparison.datasets.flatMap((/** @type {any} */ row) =>
    row.models.map((/** @type {any} */ each) => ({ id: `${row.name} ${each.report_id}`, row, letter: letters.get(each.report_id), raw: each.raw, calibrated: each.calibrated })),
  );
  const list = table(
    "Figures",
    [
      { title: "Data set", kind: "main", value: (line) => line.row.name, render: (_, line) => datasetName(line.row) },
      { title: "Model", value: (line) => line.letter },
      { title: "Accuracy", kind: "number", hint: "With Wilson's 95 % interval", value: (line) => accuracyOf(line.raw), render: (value) => withInterval(value), csv: (value) => value, csvTitles: ["accuracy", "accuracy low", "accuracy high"] },
      { title: "ECE raw", kind: "number", value: (line) => [line.raw.ece, line.raw.ece_null_p95], render: aboveChance, csv: ([ece]) => ece },
      { title: "ECE calibrated", kind: "number", value: (line) => [line.calibrated?.ece ?? null, line.calibrated?.ece_null_p95 ?? null], render: aboveChance, csv: ([ece]) => ece },
      { title: "Chance level", kind: "number", hint: CHANCE_SERVED, value: (line) => (line.calibrated ?? line.raw).ece_null_p95, render: (value) => percent(value, 2) },
      { title: "NLL raw", kind: "number", hint: "Mean negative log-likelihood, in nats", value: (line) => line.raw.nll, render: (value) => figure(value) },
      { title: "NLL calibrated", kind: "number", value: (line) => line.calibrated?.nll ?? null, render: (value) => figure(value) },
      { title: "Brier", kind: "number", value: (line) => (line.calibrated ?? line.raw).brier, render: (value) => figure(value) },
    ],
    (line) => line.id,
  );
  list.update(lines);
  return h("section", { class: "stack-gap" }, h("h2", {}, "Figures"), list.element);
}
