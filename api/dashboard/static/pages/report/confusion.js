/** Single classes in the report itself: the worst calibrated ones, and what is taken for what. */

import { empty } from "../../components/empty.js";
import { table } from "../../components/table.js";
import { NONE, number, percent } from "../../core/format.js";
import { h } from "../../core/h.js";
import { datasetName, rowsOf, withInterval } from "./figures.js";

/** @param {any} document */
export function worstClasses(document) {
  const rows = rowsOf(document).filter((row) => row.worst_classes);
  if (rows.length === 0) return empty("This report says nothing of single classes.", "Evaluate its checkpoint again to see them.");
  return h("div", { class: "sections" }, rows.map((row) => h("section", { class: "stack-gap" }, h("h2", {}, datasetName(row)), gaps(row), matrix(row.worst_classes))));
}

/** @param {any} row */
function gaps({ worst_classes: worst }) {
  if (worst.gaps.length === 0) return h("p", { class: "muted" }, "No class has a mean confidence outside the 95 % interval of its accuracy.");
  const list = table(
    "Worst calibrated classes",
    [
      { title: "Class", kind: "main", value: (each) => each.name, render: (name) => h("bdi", {}, name) },
      { title: "Images", kind: "number", value: (each) => each.images, render: (value) => number(value) },
      { title: "Accuracy", kind: "number", hint: "With Wilson's 95 % interval", value: (each) => [each.accuracy, ...each.accuracy_interval], render: (value) => withInterval(value), csv: (value) => value, csvTitles: ["accuracy", "accuracy low", "accuracy high"] },
      { title: "Mean confidence", kind: "number", hint: "Of the answers, whatever they are", value: (each) => each.mean_confidence, render: (value) => percent(value) },
      { title: "Most often taken for", value: (each) => (each.confused_with ? [each.confused_with, each.confused] : null), render: (value) => (value ? [h("bdi", {}, value[0]), ` (${number(value[1])})`] : NONE), csv: (value) => value ?? ["", ""], csvTitles: ["taken for", "how often"] },
    ],
    (each) => each.name,
  );
  list.update(worst.gaps);
  return list.element;
}

/** Rows are classes, columns answers. @param {any} worst */
function matrix({ names, confusion, confused }) {
  if (!confusion) {
    if (confused.length === 0) return h("p", { class: "muted" }, "No mistakes.");
    return h("p", { class: "muted" }, "Most frequent mistakes: ", confused.slice(0, 10).flatMap((/** @type {any} */ each, /** @type {number} */ i) => [i > 0 && ", ", h("bdi", {}, each.label), " taken for ", h("bdi", {}, each.answer), ` (${number(each.images)})`]));
  }
  const columns = names.map((/** @type {string} */ name, /** @type {number} */ i) => ({ title: name, kind: "number", hint: `Answered ${name}`, value: (/** @type {any} */ line) => line.counts[i], render: (/** @type {number} */ count) => (count > 0 ? number(count) : "") }));
  const list = table("Confusion matrix", [{ title: "Class", kind: "main", hint: "Columns are the answers", value: (line) => line.name, render: (name) => h("bdi", {}, name) }, ...columns], (line) => line.name);
  list.update(confusion.map((/** @type {number[]} */ counts, /** @type {number} */ i) => ({ name: names[i], counts })));
  return list.element;
}
