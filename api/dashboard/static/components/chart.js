/** Charts: lines over steps, by the library that the server brings; loaded when one is wanted. */

import { h, replace } from "../core/h.js";
import { button, copyButton } from "./button.js";
import { errorCard } from "./errorbox.js";
import { csv } from "./table.js";
import { themeChanges } from "./theme.js";

/**
 * @typedef {object} Line
 * @property {string} name
 * @property {(number | string)[]} x
 * @property {(number | null)[]} y
 * @property {string} [mode]
 * @property {string} [color] by default that of `series`
 * @property {number} [series] which colour; by default the next one
 * @property {string} [dash]
 * @property {Record<string, any>} [marker]
 * @property {Record<string, any>} [more] for the library
 * @property {Record<string, (number | string | null)[]>} [columns] of the CSV besides, by title
 */

const HEIGHT = 220;
// Ids by which the library knows its style sheets: what has them is not made again, which the page's
// policy would forbid. The first is where rules go; the second belongs to maps, which are not drawn.
const RULES_ID = "plotly.js-style-global";
const MAPS_ID = "9f215cf04c5486422605d13261cb87401f4e7763b6296af81e98efbc0130da53";
/** @type {Promise<any> | null} */
let library = null;

/** The charts' library. @returns {Promise<any>} */
export function plotly() {
  library ??= load().catch((error) => {
    library = null;
    throw error;
  });
  return library;
}

async function load() {
  const sheet = h("link", { rel: "stylesheet", id: RULES_ID, href: new URL("../css/plotly.css", import.meta.url).href });
  document.head.append(h("meta", { id: MAPS_ID }));
  await placed(sheet);
  await placed(h("script", { src: document.documentElement.dataset.charts }));
  return /** @type {any} */ (window).Plotly;
}

/** @param {HTMLElement} element a script or sheet, to be waited for */
function placed(element) {
  return new Promise((resolve, reject) => {
    element.addEventListener("load", resolve);
    element.addEventListener("error", () => reject(new Error("the charts cannot be loaded")));
    document.head.append(element);
  });
}

/** The colours of the page, for what knows no style sheets. */
export function colours() {
  const probe = h("span", { hidden: true });
  document.body.append(probe);
  const read = (/** @type {string} */ name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  const found = {
    text: read("text"), muted: read("muted"), line: read("line"), surface: read("surface"),
    series: [read("accent"), read("warn"), read("good"), read("bad"), read("muted"), read("plum"), read("teal")],
  };
  probe.remove();
  return found;
}

/**
 * A chart with a title, that can be saved as a picture and copied as numbers.
 * @param {string} title
 * @param {{x?: string, y?: string, percent?: boolean, note?: string, file?: string, height?: number,
 *   layout?: Record<string, any>, axes?: Record<string, Record<string, any>>, signal: AbortSignal}} options `x` and `y` name the axes; `layout`
 *   is merged over the library's, what is in `axes` over an axis
 * @returns {{element: HTMLElement, update(lines: Line[]): void}}
 */
export function chart(title, options) {
  const { signal, note, file = title.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-") } = options;
  const height = options.height ?? HEIGHT;
  const place = h("div", { class: "chart-place", role: "img", "aria-label": title });
  place.style.height = `${height}px`;
  const words = h("p", { class: "chart-empty muted" }, "No data yet.");
  /** @type {Line[]} */
  let lines = [];
  let drawn = false;
  let waiting = false;

  /** @param {"png" | "svg"} format */
  const save = async (format) => {
    const made = await plotly();
    await made.downloadImage(place, { format, filename: file, width: 900, height: 500, scale: format === "png" ? 2 : 1 });
  };
  const tools = h(
    "div",
    { class: "chart-tools" },
    button("PNG", () => save("png"), { kind: "quiet", name: `Save ${title} as PNG`, title: "Save as PNG" }),
    button("SVG", () => save("svg"), { kind: "quiet", name: `Save ${title} as SVG`, title: "Save as SVG" }),
    copyButton("CSV", () => linesAsCsv(lines, options.x ?? "x"), `Copy ${title} as CSV`),
  );
  tools.hidden = true;

  async function draw() {
    if (waiting || signal.aborted) return;
    waiting = true;
    try {
      const made = await plotly();
      if (signal.aborted) return;
      words.remove();
      const { data, layout } = drawing(lines, options);
      await made.react(place, data, { ...layout, height }, { displayModeBar: false, responsive: true });
      drawn = true;
    } catch (error) {
      replace(place, errorCard(title, error, { retry: draw }));
    } finally {
      waiting = false;
    }
  }

  themeChanges.addEventListener("change", () => drawn && draw(), { signal });
  signal.addEventListener("abort", () => drawn && /** @type {any} */ (window).Plotly.purge(place));
  place.append(words);
  const element = h(
    "section",
    { class: "chart card" },
    h("div", { class: "chart-head" }, h("h3", {}, title), tools),
    note && h("p", { class: "muted chart-note" }, note),
    place,
  );
  return {
    element,
    update(given) {
      const empty = given.every((each) => each.y.length === 0);
      if (empty && !drawn) return;
      if (JSON.stringify(given) === JSON.stringify(lines)) return;
      lines = given;
      tools.hidden = false;
      draw();
    },
  };
}

/**
 * Text as the library shows it unchanged: by itself it takes some for markup.
 * @param {string | undefined} text
 */
export const plain = (text) => text?.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

/** What the library draws. @param {Line[]} lines @param {Parameters<typeof chart>[1]} options */
function drawing(lines, { x, y, percent = false, layout: more = {}, axes = {} }) {
  const paint = colours();
  const font = { family: getComputedStyle(document.body).fontFamily, size: 11.5, color: paint.muted };
  const axis = { gridcolor: paint.line, zeroline: false, linecolor: paint.line, automargin: true, fixedrange: false };
  const colour = (/** @type {Line} */ line, /** @type {number} */ i) => line.color ?? paint.series[(line.series ?? i) % paint.series.length];
  const data = lines.map((line, i) => ({
    type: "scatter",
    mode: line.mode ?? (line.x.length > 40 ? "lines" : "lines+markers"),
    name: plain(line.name),
    x: line.x,
    y: line.y,
    line: { color: colour(line, i), width: 1.8, dash: line.dash },
    marker: { size: 5, color: colour(line, i), ...line.marker },
    connectgaps: false,
    ...line.more,
  }));
  const layout = {
    font, paper_bgcolor: paint.surface, plot_bgcolor: paint.surface,
    margin: { l: 8, r: 12, t: 8, b: 8 },
    xaxis: { ...axis, title: { text: plain(x), standoff: 6, font: { size: 11.5 } }, showgrid: false, ...axes.xaxis },
    yaxis: { ...axis, title: { text: plain(y), font: { size: 11.5 } }, tickformat: percent ? ".3~%" : undefined, exponentformat: "e", ...axes.yaxis },
    ...(axes.yaxis2 && { yaxis2: { ...axis, ...axes.yaxis2 } }),
    showlegend: lines.length > 1,
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
    hovermode: "x unified",
    hoverlabel: { bgcolor: paint.surface, bordercolor: paint.line, font: { ...font, color: paint.text } },
    uirevision: "kept", // zoom stays while the lines grow
    ...more,
  };
  return { data, layout };
}

/** @param {Line[]} lines @param {string} x */
function linesAsCsv(lines, x) {
  const more = [...new Set(lines.flatMap((line) => Object.keys(line.columns ?? {})))];
  const rows = lines.flatMap((line) =>
    line.x.map((at, i) => ({ line: line.name, at, value: line.y[i], more: more.map((name) => line.columns?.[name]?.[i] ?? null) })),
  );
  return csv(
    [
      { title: "line", value: (row) => row.line },
      { title: x, value: (row) => row.at },
      { title: "value", value: (row) => row.value },
      ...more.map((name, i) => ({ title: name, value: (/** @type {typeof rows[0]} */ row) => row.more[i] })),
    ],
    rows,
  );
}
