/** Class by class, and the most confident mistakes: computed by the server when they are asked for. */

import { copyButton } from "../../components/button.js";
import { empty } from "../../components/empty.js";
import { errorCard } from "../../components/errorbox.js";
import { csv, table } from "../../components/table.js";
import { get, path, Problem } from "../../core/api.js";
import { NONE, counted, number, percent } from "../../core/format.js";
import { h, replace } from "../../core/h.js";
import { rowsOf, withInterval } from "./figures.js";

const MISTAKES = 24;

/**
 * A part that asks for a data set's details once it is looked at.
 * @param {any} report @param {"classes" | "mistakes"} what @param {(answer: any) => HTMLElement} draw @param {AbortSignal} signal
 */
function detail(report, what, draw, signal) {
  const rows = rowsOf(report.document);
  const select = /** @type {HTMLSelectElement} */ (h("select", { class: "input", on: { change: load } }, rows.map((row) => h("option", { value: row.name }, row.name))));
  const place = h("div", { class: "list-place" }, h("p", { class: "muted" }, "Loading…"));
  let turn = 0;
  let looked = false;

  async function load() {
    const mine = ++turn;
    place.setAttribute("aria-busy", "true");
    try {
      const query = { dataset: select.value, limit: what === "mistakes" ? MISTAKES : undefined };
      const { data } = await get(path`/reports/${report.id}/${what}`, { query, signal });
      if (mine === turn) replace(place, draw(data));
    } catch (error) {
      if (signal.aborted || mine !== turn) return;
      replace(place, error instanceof Problem && error.status === 409
        ? empty("This report kept no logits, so single answers cannot be shown.", "Evaluate its checkpoint again to get them.")
        : errorCard("Not shown", error, { retry: load }));
    } finally {
      if (mine === turn) place.removeAttribute("aria-busy");
    }
  }

  return {
    element: rows.length === 0 ? empty("This report measured no data set.") : h("div", { class: "stack-gap" }, h("div", { class: "section-head" }, h("label", { class: "field-inline" }, "Data set", select)), place),
    look() {
      if (looked || rows.length === 0) return;
      looked = true;
      load();
    },
  };
}

/** @param {any} report @param {AbortSignal} signal */
export const classes = (report, signal) => detail(report, "classes", drawClasses, signal);
/** @param {any} report @param {AbortSignal} signal */
export const mistakes = (report, signal) => detail(report, "mistakes", drawMistakes, signal);

/** @param {any} answer */
function drawClasses(answer) {
  const list = table(
    "Classes",
    [
      { title: "Class", kind: "main", value: (each) => each.name, render: (name) => h("bdi", {}, name) },
      { title: "Images", kind: "number", value: (each) => each.images, render: (value) => number(value) },
      { title: "Accuracy", kind: "number", hint: "With Wilson's 95 % interval", value: (each) => [each.accuracy, each.accuracy_interval?.[0] ?? null, each.accuracy_interval?.[1] ?? null], render: (value) => withInterval(value), csv: (value) => value, csvTitles: ["accuracy", "accuracy low", "accuracy high"] },
      { title: "Mean confidence", kind: "number", value: (each) => each.mean_confidence, render: (value) => percent(value) },
      { title: "ECE", kind: "number", hint: "Above 0 even for a calibrated model, and the more so the fewer images there are", value: (each) => each.ece, render: (value) => percent(value, 2) },
      { title: "Most often taken for", value: (each) => (each.confused_with ? [each.confused_with, each.confused] : null), render: (value) => (value ? [h("bdi", {}, value[0]), ` (${number(value[1])})`] : NONE), csv: (value) => value ?? ["", ""], csvTitles: ["taken for", "how often"] },
    ],
    (each) => each.name,
  );
  list.update([...answer.data].sort((a, b) => (a.accuracy ?? 2) - (b.accuracy ?? 2)));
  return h("div", { class: "stack-gap" }, h("p", { class: "muted" }, `Worst first; confidences are ${answer.confidence}.`), list.element);
}

/** @param {any} answer */
function drawMistakes(answer) {
  if (answer.data.length === 0) return empty("No mistakes here.", `All ${counted(answer.images, "image")} were classified correctly.`);
  const columns = ["key", "label", "prediction", "confidence", "raw_confidence", "label_confidence"].map((name) => ({ title: name.replaceAll("_", " "), value: (/** @type {any} */ each) => each[name] }));
  return h(
    "div",
    { class: "stack-gap" },
    h("div", { class: "section-head" }, h("p", { class: "muted" }, `${counted(answer.mistakes, "mistake")} on ${counted(answer.images, "image")}; the most confident first, by ${answer.confidence} confidence.`), copyButton("Copy as CSV", () => csv(columns, answer.data), "Copy mistakes as CSV")),
    h("ul", { class: "mistakes" }, answer.data.map(mistake)),
  );
}

/** @param {any} each */
function mistake(each) {
  return h(
    "li",
    { class: "mistake card" },
    picture(each),
    h(
      "div",
      { class: "mistake-text" },
      h("p", {}, h("strong", {}, h("bdi", {}, each.prediction)), ` ${percent(each.confidence)}`),
      h("p", { class: "muted" }, "correct: ", h("bdi", { class: "strong" }, each.label), ` ${percent(each.label_confidence)}`),
      each.raw_confidence !== each.confidence && h("p", { class: "muted" }, `raw ${percent(each.raw_confidence)}`),
      h("p", { class: "mono muted mistake-key", title: each.key }, h("bdi", {}, each.key)),
    ),
  );
}

/** @param {any} each */
function picture(each) {
  const none = () => h("div", { class: "mistake-picture none muted" }, "no picture");
  if (!each.picture?.startsWith("/reports/")) return none();
  const image = h("img", {
    class: "mistake-picture", src: each.picture, alt: `${each.label}, taken for ${each.prediction}`, loading: "lazy",
    width: 160, height: 160, on: { error: () => image.replaceWith(none()) },
  });
  return image;
}
