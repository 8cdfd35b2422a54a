/** Reliability diagrams: how often answers of each confidence are right, raw and calibrated. */

import { chart } from "../../components/chart.js";
import { empty } from "../../components/empty.js";
import { whenSeen } from "../../components/lazy.js";
import { number, percent } from "../../core/format.js";
import { h } from "../../core/h.js";
import { rowsOf } from "./figures.js";

/** @typedef {{lower: number, upper: number, count: number, confidence: number | null, accuracy: number | null, accuracy_interval: [number, number] | null}} Bin */

const HEIGHT = 320;

/** @param {any} document @param {AbortSignal} signal */
export function reliability(document, signal) {
  const rows = rowsOf(document).filter((row) => row.reliability_raw?.length > 0);
  if (rows.length === 0) return empty("This report has no reliability diagrams.", "Evaluate its checkpoint again to get them.");
  const charts = rows.map((row) => ({
    drawn: chart(row.name, {
      x: "confidence", y: "accuracy", file: `reliability-${row.name.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-")}`,
      note: note(row), height: HEIGHT, signal, layout: LAYOUT, axes: AXES,
    }),
    lines: linesOf(row),
  }));
  for (const { drawn, lines } of charts) whenSeen(drawn.element, () => drawn.update(lines), signal);
  return h(
    "div",
    { class: "stack-gap" },
    h("p", { class: "muted" }, "On the dashed line accuracy equals confidence. Whiskers are Wilson's 95 % intervals; bars below count the images of each bin."),
    h("div", { class: "curves" }, charts.map((each) => each.drawn.element)),
  );
}

/** @param {any} row */
function note(row) {
  const calibrated = row.calibrated ? `, ${percent(row.calibrated.ece, 2)} calibrated` : "";
  return `${number(row.images)} images; ECE ${percent(row.raw.ece, 2)} raw${calibrated}; chance level ${percent((row.calibrated ?? row.raw).ece_null_p95, 2)}`;
}

const LAYOUT = { hovermode: "closest", barmode: "group" };
const AXES = {
  xaxis: { range: [-0.01, 1.01], tickformat: ".0%", anchor: "y2" },
  yaxis: { range: [-0.02, 1.03], tickformat: ".0%", domain: [0.27, 1] },
  yaxis2: { domain: [0, 0.17], anchor: "x", title: { text: "images", font: { size: 11.5 } }, nticks: 3, rangemode: "tozero" },
};

/** @param {any} row @returns {import("../../components/chart.js").Line[]} */
function linesOf(row) {
  const sides = [["raw", row.reliability_raw], ["calibrated", row.reliability_calibrated]].filter(([, bins]) => bins);
  return [
    { name: "ideal", x: [0, 1], y: [0, 1], mode: "lines", dash: "dash", color: "#8b8e94", more: { hoverinfo: "skip" } },
    ...sides.map(([name, bins], i) => points(name, bins, 1 - i)),
    ...sides.map(([name, bins], i) => counts(name, bins, 1 - i)),
  ];
}

/** @param {string} name @param {Bin[]} bins @param {number} i */
function points(name, bins, i) {
  const full = bins.filter((bin) => bin.count > 0 && bin.accuracy !== null);
  const array = full.map((bin) => (bin.accuracy_interval?.[1] ?? Number(bin.accuracy)) - Number(bin.accuracy));
  const arrayminus = full.map((bin) => Number(bin.accuracy) - (bin.accuracy_interval?.[0] ?? Number(bin.accuracy)));
  return {
    name, x: full.map((bin) => Number(bin.confidence)), y: full.map((bin) => bin.accuracy), mode: "lines+markers", series: i,
    columns: { low: full.map((bin) => bin.accuracy_interval?.[0] ?? null), high: full.map((bin) => bin.accuracy_interval?.[1] ?? null), images: full.map((bin) => bin.count) },
    more: {
      error_y: { type: "data", array, arrayminus, symmetric: false, thickness: 1.2, width: 3 },
      text: full.map((bin) => `${name}: ${number(bin.count)} images<br>confidence ${percent(bin.confidence)}, accuracy ${percent(bin.accuracy)}<br>95 %: ${percent(bin.accuracy_interval?.[0])} to ${percent(bin.accuracy_interval?.[1])}`),
      hoverinfo: "text",
    },
  };
}

/** @param {string} name @param {Bin[]} bins @param {number} i */
function counts(name, bins, i) {
  return {
    name: `${name}, images`, x: bins.map((bin) => (bin.lower + bin.upper) / 2), y: bins.map((bin) => bin.count), series: i,
    more: {
      type: "bar", yaxis: "y2", showlegend: false, opacity: 0.75,
      text: bins.map((bin) => `${name}: ${number(bin.count)} images`), textposition: "none", hoverinfo: "text",
    },
  };
}
