/** What the live model is doing: by labels, and before there are any. */

import { empty } from "../../components/empty.js";
import { facts } from "../../components/facts.js";
import { choice } from "../../components/labelled.js";
import { time } from "../../components/time.js";
import { NONE, figure, number, percent, percentInterval } from "../../core/format.js";
import { h, replace } from "../../core/h.js";
import { link } from "../../core/router.js";
import { evidence } from "./evidence.js";
import { online } from "./online.js";
import { reliability } from "./reliability.js";

const WINDOWS = ["1000", "10000", "100000"];

/** @param {string} alias @param {() => void} onWindow somebody chose another window */
export function live(alias, onWindow) {
  const size = choice("Window", WINDOWS.map((each) => [each, `the last ${number(Number(each))} predictions`]), onWindow);
  size.value = "10000";
  const numbers = facts();
  const before = facts();
  const alert = h("div", { role: "status" });
  const curve = reliability();
  const test = evidence();
  const sets = online();
  const span = h("p", { class: "muted" });
  const place = h("div", { class: "list-place" });
  const body = h(
    "div",
    { class: "live-columns" },
    h(
      "div",
      { class: "column-wide" },
      test.element,
      h("section", { class: "card stack-gap" }, h("div", { class: "section-head" }, h("h2", {}, "From labels"), span), numbers.element),
      sets.element,
      h("section", { class: "card stack-gap" }, h("h2", {}, "Without labels"), before.element, h("p", { class: "muted" }, "Drift means that the images have changed, not that confidences are wrong: it is a reason to collect labels.")),
    ),
    h("div", { class: "column" }, curve.element),
  );
  let shownAlert = "";

  /** @param {any} found */
  function showAlert(found) {
    const late = found.test.delays?.text;
    const mark = JSON.stringify([found.alert, late]);
    if (mark === shownAlert) return;
    shownAlert = mark;
    const open = found.alert;
    replace(
      alert,
      open &&
        h(
          "div",
          { class: "error-box" },
          h("div", { class: "error-text" },
            h("p", {}, h("strong", {}, "Alert: "), `its confidences are miscalibrated${open.finding ? `, ${open.finding}` : ""}. Raised `, time(open.raised_at, "at"), ` after ${number(open.labels)} labels.`),
            late && h("p", {}, h("strong", {}, "Look at the labels first: "), `${late}.`),
            h("p", { class: "muted" }, "Recalibrate on the labels, or roll back to an earlier checkpoint; either closes the alert. If accuracy fell, only training on the new images helps."))),
    );
  }

  return {
    element: h("div", { class: "stack-gap" }, h("div", { class: "filters" }, size), alert, place),
    size,
    /** @param {any} found what `GET /models/{alias}/calibration` says */
    update(found) {
      showAlert(found);
      if (found.live === null) {
        if (!place.querySelector(".empty")) replace(place, nothing(alias));
        return;
      }
      if (body.parentElement !== place) replace(place, body);
      const { live: now, reported } = found;
      test.update(found.test);
      sets.update(found.online);
      numbers.update(measured(now.measured, reported, now));
      before.update(unlabelled(now, reported));
      curve.update(now.measured?.reliability ?? [], reported?.reliability ?? []);
      replace(span, `${number(found.window.labels)} of ${number(found.window.predictions)} predictions have a label, the latest `, time(found.window.last_at));
    },
  };
}

/** @param {string} alias */
function nothing(alias) {
  return empty(
    "No predictions since it points to this checkpoint.",
    h("p", {}, "Predictions are logged from the first one on; labels then tell how good they were."),
    h("p", {}, h("a", { href: link("try", {}, { model: alias }) }, "Try it with an image of yours")),
  );
}

/** @param {any} of @param {any} reported @param {any} now */
function measured(of, reported, now) {
  const was = (/** @type {string} */ text) => (reported ? `${text} reported` : "nothing reported");
  if (of === null) {
    return [
      { name: "Accuracy", value: NONE, note: was(percent(reported?.accuracy)) },
      { name: "ECE", value: NONE, note: was(percent(reported?.ece, 2)) },
      ...["Chance level", "Debiased error", "Mean confidence"].map((name) => ({ name, value: NONE })),
      { name: "Labels", value: `none of ${number(now.predictions)}`, note: "add some: POST /predictions/{id}/label" },
    ];
  }
  const [low, high] = of.accuracy_interval;
  const telling = of.ece > of.ece_null_p95;
  return [
    { name: "Accuracy", value: percentInterval(of.accuracy, low, high), hint: "Wilson's 95 % interval", note: was(percent(reported?.accuracy)) },
    { name: "ECE", value: percent(of.ece, 2), hint: "Expected calibration error, 15 equal-width bins", note: was(percent(reported?.ece, 2)) },
    { name: "Chance level", value: percent(of.ece_null_p95, 2), hint: "95th percentile of the ECE that a perfectly calibrated model with these confidences shows on as many labels", note: telling ? "the ECE is above it: evidence of miscalibration" : "the ECE is not above it: no evidence of miscalibration" },
    {
      name: "Debiased error", value: percent(of.debiased_ece, 2), hint: "Root mean square calibration error minus its bias; below, its 95 % interval",
      note: `${percent(root(of.debiased_squared_interval[0]), 2)} to ${percent(root(of.debiased_squared_interval[1]), 2)}`,
    },
    { name: "Mean confidence", value: percent(of.mean_confidence), note: `accuracy is ${percent(of.accuracy)}` },
    { name: "Labels", value: number(of.labels), note: of.effective_labels < of.labels - 0.5 ? `weighted; as informative as ${number(of.effective_labels)}` : "" },
  ];
}

/** @param {number} square */
const root = (square) => Math.sqrt(Math.max(0, square));

/** @param {any} now @param {any} reported */
function unlabelled(now, reported) {
  const ends = now.expected_accuracy_interval;
  return [
    {
      name: "Expected accuracy", value: percentInterval(now.expected_accuracy, ends?.[0], ends?.[1]),
      hint: "Mean confidence: the accuracy if confidences are still calibrated. No check of that.", note: reported ? `${percent(reported.accuracy)} reported` : "",
    },
    drift("Confidence drift", now.confidence_drift, "Raw confidences against those of the calibration images"),
    drift("Shift drift", now.shift_drift, "Shift scores against those of the calibration images"),
  ];
}

/** @param {string} name @param {any} of @param {string} hint */
function drift(name, of, hint) {
  if (of === null) return { name, hint, value: "unknown", note: "the checkpoint has no calibration images" };
  return {
    name, hint: `${hint}: population stability index; its chance level is the 95th percentile without drift`,
    value: `PSI ${figure(of.psi)}`, note: `${of.psi > of.psi_null_p95 ? "above" : "below"} the chance level ${figure(of.psi_null_p95)}; KS ${figure(of.ks)}, p ${of.p_value < 0.001 ? "under 0.001" : figure(of.p_value, 2)}`,
  };
}
