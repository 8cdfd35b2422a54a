/** Several, in an order: rows of pickers that one adds and removes. */

import { h, replace } from "../core/h.js";
import { button } from "./button.js";
import { picker } from "./picker.js";

/**
 * @param {string} what one of them is, as `Checkpoint`
 * @param {import("./picker.js").Source} source
 * @param {{values?: string[], fewest?: number, most?: number, onChange: (values: string[]) => void, signal: AbortSignal}} options
 *   `values` are ids, "" where nothing is picked yet; so are those of `onChange`
 */
export function picks(what, source, { values = [], fewest = 2, most = 100, onChange, signal }) {
  /** @type {ReturnType<typeof row>[]} */
  let rows = [];
  const list = h("ol", { class: "picks" });
  const wrong = h("p", { class: "fault", role: "alert" });
  const adding = /** @type {HTMLButtonElement} */ (button(`Add a ${what.toLowerCase()}`, () => {
    rows.push(row(""));
    draw();
    changed();
    rows.at(-1)?.pick.input.focus();
  }, { icon: "plus" }));

  /** @param {string} value */
  function row(value) {
    const pick = picker(source, { value, signal, onPick: () => {
      made.fault(null);
      changed();
    } });
    const fault = h("p", { class: "fault", role: "alert" });
    const label = h("label", {});
    const removing = /** @type {HTMLButtonElement} */ (button("", remove, { kind: "quiet", icon: "close" }));

    function remove() {
      const at = rows.indexOf(made);
      rows = rows.filter((each) => each !== made);
      draw();
      changed();
      rows[Math.min(at, rows.length - 1)].pick.input.focus();
    }

    const made = {
      pick,
      element: h("li", { class: "field" }, label, h("div", { class: "pick-line" }, pick.element, removing), fault),
      /** @param {number} i */
      number(i) {
        const name = `${what} ${i + 1}`;
        pick.input.id = `${what.toLowerCase()}-${i + 1}`;
        fault.id = `${pick.input.id}-fault`;
        pick.describe(fault.id);
        label.setAttribute("for", pick.input.id);
        replace(label, name);
        removing.setAttribute("aria-label", `Remove ${name.toLowerCase()}`);
        removing.disabled = rows.length <= fewest;
      },
      /** @param {string | null} message */
      fault(message) {
        replace(fault, message ?? "");
        if (message) pick.input.setAttribute("aria-invalid", "true");
        else pick.input.removeAttribute("aria-invalid");
      },
    };
    return made;
  }

  function draw() {
    rows.forEach((each, i) => each.number(i));
    list.replaceChildren(...rows.map((each) => each.element));
    adding.disabled = rows.length >= most;
  }

  function changed() {
    replace(wrong);
    onChange(rows.map((each) => each.pick.value));
  }

  rows = [...values, ...Array(Math.max(0, fewest - values.length)).fill("")].map(row);
  draw();
  return {
    element: h("div", { class: "stack-gap field-wide" }, list, wrong, h("div", { class: "actions" }, adding)),
    /** Say what is wrong with one of them, or with all. @param {number | null} at @param {string} message */
    fault(at, message) {
      if (at === null || !rows[at]) replace(wrong, message);
      else rows[at].fault(rows[at].pick.value ? message : "Nothing is chosen here.");
    },
    faultless() {
      replace(wrong);
      for (const each of rows) each.fault(null);
    },
    /** @param {number} at */
    input: (at) => rows[Math.min(at, rows.length - 1)].pick.input,
  };
}
