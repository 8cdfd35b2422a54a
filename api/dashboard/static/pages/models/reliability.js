/** How often answers were right at each confidence: live, beside what was reported before. */

import { saveButtons } from "../../components/savesvg.js";
import { table } from "../../components/table.js";
import { number, percent, percentInterval } from "../../core/format.js";
import { h, replace, s } from "../../core/h.js";

const LEFT = 44;
const TOP = 12;
const SIDE = 300;
const BARS = 46;
const GAP = 14;
const WIDTH = LEFT + SIDE + 14;
const HEIGHT = TOP + SIDE + GAP + BARS + 36;
const TICKS = [0, 0.25, 0.5, 0.75, 1];

/** @param {number} share */
const x = (share) => LEFT + SIDE * share;
/** @param {number} share */
const y = (share) => TOP + SIDE * (1 - share);

export function reliability() {
  const drawing = s("svg", { class: "reliability", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  const rows = table(
    "Reliability",
    [
      { title: "Confidence", kind: "main", value: (bin) => [bin.lower, bin.upper], render: ([low, high]) => `${percent(low, 0)} to ${percent(high, 0)}`, csvTitles: ["from", "to"], csv: (/** @type {any} */ ends) => ends },
      { title: "Live accuracy", kind: "number", value: (bin) => [bin.live?.accuracy ?? null, bin.live?.accuracy_interval ?? null], render: ([share, ends]) => percentInterval(share, ends?.[0], ends?.[1]), csvTitles: ["live accuracy", "low", "high"], csv: (/** @type {any} */ [share, ends]) => [share, ends?.[0], ends?.[1]] },
      { title: "Live labels", kind: "number", value: (bin) => bin.live?.count ?? 0, render: (count) => number(count) },
      { title: "Reported accuracy", kind: "number", value: (bin) => bin.reported?.accuracy ?? null, render: (share) => percent(share) },
      { title: "Reported images", kind: "number", value: (bin) => bin.reported?.count ?? 0, render: (count) => number(count) },
    ],
    (bin) => String(bin.lower),
    { stack: false },
  );
  const element = h(
    "section",
    { class: "card reliability-card" },
    h("div", { class: "chart-head" }, h("h2", {}, "Reliability"), saveButtons("Reliability", drawing)),
    h("p", { class: "legend muted" }, h("span", { class: "key live" }, "live, with 95 % intervals"), h("span", { class: "key reported" }, "reported")),
    drawing,
    h("details", {}, h("summary", {}, "As a table"), rows.element),
  );
  let before = "";
  return {
    element,
    /** @param {any[]} live @param {any[]} reported bins */
    update(live, reported) {
      const mark = JSON.stringify([live, reported]);
      if (mark === before) return;
      before = mark;
      drawing.setAttribute("aria-label", `Reliability: ${live.filter((bin) => bin.count > 0).length} bins with live labels; the figures are in the table below`);
      replace(drawing, axes(), curve(reported, "reported"), whiskers(live), curve(live, "live"), histogram(live));
      const ends = live.length >= reported.length ? live : reported;
      rows.update(ends.map((bin, i) => ({ lower: bin.lower, upper: bin.upper, live: live[i], reported: reported[i] })).filter((bin) => (bin.live?.count ?? 0) + (bin.reported?.count ?? 0) > 0));
    },
  };
}

function axes() {
  return [
    TICKS.map((at) => [
      s("line", { class: "grid", x1: x(at), x2: x(at), y1: y(0), y2: y(1) }),
      s("line", { class: "grid", x1: x(0), x2: x(1), y1: y(at), y2: y(at) }),
      s("text", { x: x(0) - 7, y: y(at) + 4, "text-anchor": "end" }, 100 * at),
      s("text", { x: x(at), y: HEIGHT - 20, "text-anchor": "middle" }, 100 * at),
    ]),
    s("line", { class: "diagonal", x1: x(0), y1: y(0), x2: x(1), y2: y(1) }),
    s("text", { x: x(0.5), y: HEIGHT - 4, "text-anchor": "middle" }, "confidence, %"),
    s("text", { x: 10, y: y(0.5), "text-anchor": "middle", transform: `rotate(-90 10 ${y(0.5)})` }, "accuracy, %"),
  ];
}

/** @param {any[]} bins @param {string} kind */
function curve(bins, kind) {
  const points = bins.filter((bin) => bin.count > 0 && bin.accuracy !== null);
  return [
    points.length > 1 && s("polyline", { class: kind, points: points.map((bin) => `${x(bin.confidence)},${y(bin.accuracy)}`).join(" ") }),
    points.map((bin) =>
      s("circle", { class: kind, cx: x(bin.confidence), cy: y(bin.accuracy), r: 3.6 },
        s("title", {}, `${kind}: accuracy ${percent(bin.accuracy)} at a confidence of ${percent(bin.confidence)}, ${number(bin.count)} ${kind === "live" ? "labels" : "images"}`)),
    ),
  ];
}

/** @param {any[]} bins */
function whiskers(bins) {
  return bins
    .filter((bin) => bin.count > 0 && bin.accuracy_interval)
    .map((bin) => s("line", { class: "whisker", x1: x(bin.confidence), x2: x(bin.confidence), y1: y(bin.accuracy_interval[0]), y2: y(bin.accuracy_interval[1]) }));
}

/** @param {any[]} bins */
function histogram(bins) {
  const most = Math.max(1, ...bins.map((bin) => bin.count));
  const foot = TOP + SIDE + GAP + BARS;
  return [
    bins.map((bin) => {
      const tall = (BARS * bin.count) / most;
      return s("rect", { class: "count", x: x(bin.lower) + 1, width: Math.max(1, SIDE * (bin.upper - bin.lower) - 2), y: foot - tall, height: tall }, s("title", {}, `${number(bin.count)} labels`));
    }),
    s("line", { class: "grid", x1: x(0), x2: x(1), y1: foot, y2: foot }),
    s("text", { x: x(0) - 7, y: foot - BARS + 10, "text-anchor": "end" }, number(most)),
  ];
}
