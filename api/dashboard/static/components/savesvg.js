/** Drawings of the page's own, as files: with the colours that style sheets gave them. */

import { h } from "../core/h.js";
import { button } from "./button.js";

const STYLES = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray", "font-size", "font-family", "text-anchor", "opacity"];
const SCALE = 3;

/**
 * Buttons that save a drawing.
 * @param {string} title @param {SVGElement} drawing with a viewBox
 */
export function saveButtons(title, drawing) {
  const name = title.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");
  return h(
    "div",
    { class: "chart-tools" },
    button("PNG", () => savePng(drawing, `${name}.png`), { kind: "quiet", name: `Save ${title} as PNG`, title: "Save as PNG" }),
    button("SVG", () => download(asFile(drawing), `${name}.svg`), { kind: "quiet", name: `Save ${title} as SVG`, title: "Save as SVG" }),
  );
}

/** @param {SVGElement} drawing */
function asFile(drawing) {
  const copy = /** @type {SVGElement} */ (drawing.cloneNode(true));
  const from = [drawing, ...drawing.querySelectorAll("*")];
  [copy, ...copy.querySelectorAll("*")].forEach((each, i) => {
    const seen = getComputedStyle(from[i]);
    for (const style of STYLES) each.setAttribute(style, seen.getPropertyValue(style));
    each.removeAttribute("class");
  });
  const { width, height } = sizeOf(drawing);
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  copy.setAttribute("width", String(width));
  copy.setAttribute("height", String(height));
  return new Blob([new XMLSerializer().serializeToString(copy)], { type: "image/svg+xml" });
}

/** @param {SVGElement} drawing */
function sizeOf(drawing) {
  const [, , width, height] = (drawing.getAttribute("viewBox") ?? "").split(" ").map(Number);
  return { width, height };
}

/** @param {SVGElement} drawing @param {string} name */
async function savePng(drawing, name) {
  const address = URL.createObjectURL(asFile(drawing));
  try {
    const image = new Image();
    image.src = address;
    await image.decode();
    const { width, height } = sizeOf(drawing);
    const canvas = document.createElement("canvas");
    canvas.width = width * SCALE;
    canvas.height = height * SCALE;
    const paint = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    paint.fillStyle = getComputedStyle(document.body).backgroundColor;
    paint.fillRect(0, 0, canvas.width, canvas.height);
    paint.drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((made) => made && download(made, name));
  } finally {
    URL.revokeObjectURL(address);
  }
}

/** @param {Blob} content @param {string} name */
function download(content, name) {
  const address = URL.createObjectURL(content);
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}
