/** Images of a data set, by split and class. */

import { button, busy } from "../../components/button.js";
import { empty } from "../../components/empty.js";
import { errorBox } from "../../components/errorbox.js";
import { choice, labelled } from "../../components/labelled.js";
import { get, path } from "../../core/api.js";
import { h, replace } from "../../core/h.js";
import { SPLITS, inSplit } from "./data.js";

const SHOWN = 48;

/** @param {any} dataset @param {AbortSignal} signal */
export function samples(dataset, signal) {
  const there = SPLITS.filter((split) => inSplit(dataset, split) > 0);
  const split = choice("Split", [["", "all splits"], ...there.map((each) => /** @type {[string, string]} */ ([each, each]))], () => look(null));
  const kind = choice("Class", [["", "all classes"], ...dataset.classes.map((/** @type {string} */ each) => [each, each])], () => look(null));
  const wrong = errorBox("The images cannot be shown");
  const grid = h("ul", { class: "samples" });
  const place = h("div", { class: "list-place" }, grid);
  const more = button("More", () => busy(more, () => look(cursor)));
  /** @type {string | null} */
  let cursor = null;
  let turn = 0;
  more.hidden = true;

  /** @param {string | null} from a cursor; without one it starts over */
  async function look(from) {
    const mine = ++turn;
    wrong.clear();
    try {
      const { data } = await get(path`/datasets/${dataset.id}/samples`, { query: { limit: SHOWN, split: split.value, class: kind.value, cursor: from }, signal });
      if (mine !== turn) return;
      if (from === null) replace(grid);
      grid.append(...data.data.map(sample));
      cursor = data.next_cursor;
      more.hidden = cursor === null;
      if (grid.childElementCount === 0) replace(place, empty("No image found.", "Choose another split or class."));
      else if (grid.parentElement !== place) replace(place, grid);
    } catch (error) {
      if (!signal.aborted && mine === turn) wrong.show(error, () => look(from));
    }
  }

  look(null);
  return h("div", { class: "stack-gap" }, h("div", { class: "form-line narrow" }, labelled("Split", split).element, labelled("Class", kind).element), wrong.element, place, h("div", { class: "actions" }, more));
}

/** @param {any} each */
function sample(each) {
  return h(
    "li",
    {},
    h("img", { src: each.picture, alt: `${each.class}, ${each.key}`, title: each.key, loading: "lazy", width: 96, height: 96 }),
    h("bdi", { class: "sample-class" }, each.class),
    h("span", { class: "muted sample-split" }, each.split),
  );
}
