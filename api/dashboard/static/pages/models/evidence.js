/** The test's evidence against the level at which it is an alarm, on a scale of powers of ten. */

import { figure, number, percent } from "../../core/format.js";
import { h, replace, s } from "../../core/h.js";
import { time } from "../../components/time.js";

const WIDTH = 600;
const HEIGHT = 58;
const LEAST = 0.01;
const BAR = 20;
const BEYOND = 200;

export function evidence() {
  const drawing = s("svg", { class: "evidence", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  const words = h("p", { class: "evidence-words" });
  const small = h("p", { class: "muted" });
  let before = "";
  return {
    element: h("section", { class: "card stack-gap" }, h("h2", {}, "Are its confidences calibrated?"), words, drawing, small),
    /** @param {any} test */
    update(test) {
      const mark = JSON.stringify(test);
      if (mark === before) return;
      before = mark;
      const said = `Evidence of miscalibration ${figure(test.evidence)}, alarm at ${figure(test.threshold)}`;
      replace(words, h("strong", {}, said), test.peak > test.evidence ? `; its maximum was ${figure(test.peak)}` : "", ".");
      drawing.setAttribute("aria-label", said);
      replace(drawing, parts(test));
      replace(
        small,
        test.labels === 0 ? "No labels yet. Choose which images to label without looking at whether the answer was right. " : [`${number(test.labels)} labels since `, time(test.begun_at, "at"), ". "],
        test.delays?.text && [h("strong", {}, sentence(test.delays.text)), " "],
        test.rejected && ["Rejected ", time(test.rejected_at, "at"), test.finding ? `: ${test.finding}. ` : ". "],
        `If confidences are calibrated, the alarm level is ever reached with a probability of at most ${percent(test.alpha, 0)}, however often you look.`,
      );
    },
  };
}

/** @param {string} text */
const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;

/** @param {any} test */
function parts({ evidence: now, peak, threshold }) {
  const most = threshold * BEYOND; // of what is beyond, only the figure tells
  const [low, high] = [Math.log(LEAST), Math.log(most)];
  const x = (/** @type {number} */ value) => 4 + ((WIDTH - 8) * (Math.log(Math.min(most, Math.max(LEAST, value))) - low)) / (high - low);
  return [
    s("rect", { class: "track", x: x(LEAST), width: x(most) - x(LEAST), y: BAR, height: 12, rx: 6 }),
    s("rect", { class: "alarm", x: x(threshold), width: x(most) - x(threshold), y: BAR, height: 12, rx: 6 }),
    s("line", { class: "one", x1: x(1), x2: x(1), y1: BAR - 3, y2: BAR + 15 }),
    s("text", { x: x(1), y: HEIGHT - 8, "text-anchor": "middle" }, "1: no evidence"),
    s("line", { class: "level", x1: x(threshold), x2: x(threshold), y1: BAR - 5, y2: BAR + 17 }),
    s("text", { x: x(threshold), y: HEIGHT - 8, "text-anchor": "middle" }, `${figure(threshold)}: alarm`),
    peak > now && s("circle", { class: "peak", cx: x(peak), cy: BAR + 6, r: 5 }, s("title", {}, `maximum: ${figure(peak)}`)),
    s("circle", { class: now >= threshold ? "now bad" : "now", cx: x(now), cy: BAR + 6, r: 7 }, s("title", {}, `now: ${figure(now)}`)),
  ];
}
