/** Images of a data set that look like an image of an earlier split, in pairs. */

import { busy, button } from "../../components/button.js";
import { errorBox } from "../../components/errorbox.js";
import { get, path } from "../../core/api.js";
import { h } from "../../core/h.js";

const SHOWN = 24;

/** @param {any} dataset @param {AbortSignal} signal */
export function nearCopies(dataset, signal) {
  const wrong = errorBox("The images cannot be shown");
  const list = h("ul", { class: "near-copies", "aria-label": "Images that look alike" });
  const more = button("More", () => busy(more, look));
  /** @type {string | null} */
  let cursor = null;
  more.hidden = true;

  async function look() {
    wrong.clear();
    try {
      const { data } = await get(path`/datasets/${dataset.id}/near-copies`, { query: { limit: SHOWN, cursor }, signal });
      list.append(...data.data.map(pair));
      cursor = data.next_cursor;
      more.hidden = cursor === null;
    } catch (error) {
      if (!signal.aborted) wrong.show(error, look);
    }
  }

  look();
  return h(
    "div",
    { class: "stack-gap" },
    h("p", {}, "Each image on the left looks like one of an earlier split. A model is right about pictures that it was trained on: accuracy and confidence measured on their copies are too good."),
    wrong.element,
    list,
    h("div", { class: "actions" }, more),
  );
}

/** @param {any} copy */
function pair({ image, other, likeness }) {
  return h("li", {}, placed(image), h("span", { class: "muted" }, `${(100 * likeness).toFixed(1)} % alike`), placed(other));
}

/** @param {any} image */
function placed({ key, split, picture }) {
  return h(
    "figure",
    {},
    h("img", { src: picture, alt: `${split}, ${key}`, title: key, loading: "lazy", width: 96, height: 96 }),
    h("figcaption", {}, h("span", { class: "muted" }, split), " ", h("bdi", {}, key)),
  );
}
