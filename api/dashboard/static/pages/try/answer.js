/** What the model says of an image, what that is worth, and whether to act on it. */

import { badge } from "../../components/badge.js";
import { table } from "../../components/table.js";
import { number, percent, words } from "../../core/format.js";
import { h, replace, s } from "../../core/h.js";

const WIDTH = 200;

/** @type {Record<string, string>} */
const REASONS = {
  low_confidence: "its confidence is below the threshold that guarantees this risk",
  shifted: "the image lies far from those that the model was calibrated on",
  uncalibrated_label_set: "no calibration image has these classes",
  unseen: "the image may show none of the classes",
  no_shift_score: "the checkpoint has no shift score, so shift cannot be checked",
};

export function answer() {
  const verdict = h("div", {});
  const sets = h("div", {});
  const bars = table(
    "Confidences",
    [
      { title: "Class", kind: "main", value: (guess) => guess.label, render: (label) => h("bdi", {}, label) },
      {
        title: "Confidence", kind: "wide", hint: "Calibrated above, raw below", value: (guess) => [guess.confidence, guess.raw_confidence],
        render: ([served, raw]) => pair(served, raw), csvTitles: ["confidence", "raw confidence"], csv: (/** @type {any} */ both) => both,
      },
      { title: "Calibrated", kind: "number", value: (guess) => guess.confidence, render: (share) => percent(share), csv: () => [], csvTitles: [] },
      { title: "Raw", kind: "number", value: (guess) => guess.raw_confidence, render: (share) => percent(share), csv: () => [], csvTitles: [] },
    ],
    (guess) => String(guess.index),
  );
  const facts = h("dl", { class: "try-facts" });
  const small = h("p", { class: "muted" });
  return {
    element: h("div", { class: "stack-gap", role: "status", "aria-label": "Answer" }, verdict, h("div", { class: "bars" }, h("p", { class: "legend muted" }, h("span", { class: "key live" }, "calibrated"), h("span", { class: "key raw" }, "raw")), bars.element), facts, small),
    /** @param {any} body of the answer @param {any} one its prediction */
    update(body, one) {
      replace(verdict, said(one));
      bars.update(one.top);
      replace(sets, theSet(one));
      replace(
        facts,
        fact("Prediction set", sets),
        fact("Calibration evidence", one.evidence ? one.evidence.text : one.missing.evidence?.message),
        fact("Shift score", shift(one, body.limits)),
        body.limits.unseen && fact("None of the classes", unseen(one, body.limits.unseen)),
        body.limits.risk && fact("Risk", `at most ${percent(body.limits.risk.max_risk ?? null, 0)} wrong above a raw confidence of ${percent(body.limits.risk.threshold)}`),
      );
      replace(small, body.limits.guarantee ?? "", body.calibrated ? "" : " No calibrator: confidences are raw.");
    },
  };
}

/** @param {string} name @param {import("../../core/h.js").Child} value */
const fact = (name, value) => h("div", { class: "try-fact" }, h("dt", {}, name), h("dd", {}, value));

/** @param {any} one */
function said(one) {
  const top = one.top[0];
  const tone = one.abstain === true ? "warn" : one.abstain === false ? "good" : "plain";
  const text = one.abstain === true ? "abstain" : one.abstain === false ? "no reason to abstain" : "reliability unknown";
  return h(
    "div",
    { class: "said" },
    h("p", { class: "said-class" }, h("bdi", {}, top.label), " ", h("span", { class: "muted" }, percent(top.confidence))),
    h("p", {}, badge(text, tone)),
    one.abstain_reasons.length > 0 && h("ul", { class: "reasons" }, one.abstain_reasons.map((/** @type {string} */ reason) => h("li", {}, REASONS[reason] ?? words(reason)))),
  );
}

/** Two bars. @param {number} served @param {number} raw */
function pair(served, raw) {
  const bar = (/** @type {number} */ share, /** @type {string} */ kind, /** @type {number} */ y) => s("rect", { class: kind, y, height: 7, width: Math.max(0.5, WIDTH * share), rx: 1.5 });
  return s(
    "svg",
    { class: "pair", viewBox: `0 0 ${WIDTH} 18`, preserveAspectRatio: "none", role: "img", "aria-label": `calibrated ${percent(served)}, raw ${percent(raw)}` },
    s("rect", { class: "back", width: WIDTH, height: 18, rx: 2 }), bar(served, "served", 1), bar(raw, "raw", 10),
  );
}

/** @param {any} one */
function theSet(one) {
  if (one.set === null) return one.missing.set?.message ?? "none";
  const { labels, size, coverage, method, n } = one.set;
  return [
    h("span", { class: "members" }, labels.map((/** @type {any} */ each) => h("bdi", { class: "member" }, each.label)), size > labels.length && `and ${number(size - labels.length)} more`),
    h("span", { class: "muted set-note" }, `${size === 1 ? "one class" : `${number(size)} classes`} at ${percent(coverage, 0)} coverage, by ${number(n)} calibration images (${method.toUpperCase()})`),
  ];
}

/** @param {any} one @param {any} limits */
function shift(one, limits) {
  if (one.shift === null) return one.missing.shift?.message ?? "the checkpoint has none";
  const far = limits.max_shift !== null && one.shift.percentile > limits.max_shift;
  return `${percent(one.shift.percentile)} of ${number(one.shift.n)} calibration images lie nearer${far ? `, more than the ${percent(limits.max_shift, 0)} allowed` : ""}`;
}

/** @param {any} one @param {any} limit */
function unseen(one, limit) {
  const unlike = one.unseen !== null && one.unseen > limit.max;
  return `${percent(one.unseen)} of ${number(limit.n)} calibration images look more like the classes${unlike ? `, more than the ${percent(limit.max, 0)} allowed` : ""} (${limit.score})`;
}
