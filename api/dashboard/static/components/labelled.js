/** An input with its name, what it means, and what is wrong with it. */

import { Problem } from "../core/api.js";
import { h, replace } from "../core/h.js";

let made = 0;

/**
 * @param {string} name
 * @param {HTMLElement} input
 * @param {{hint?: import("../core/h.js").Child, aside?: import("../core/h.js").Child, place?: HTMLElement}} [options]
 *   `aside` stands at the right of the name, `place` is what the input stands in, if anything
 * @returns {{element: HTMLElement, fail(message: string | null): void}}
 */
export function labelled(name, input, { hint, aside, place = input } = {}) {
  const id = (input.id ||= `input-${++made}`);
  const wrong = h("p", { class: "field-wrong", id: `${id}-wrong`, role: "alert" });
  const words = hint ? h("p", { class: "muted field-hint", id: `${id}-hint` }, hint) : null;
  input.removeAttribute("aria-label"); // the label says it
  const before = input.getAttribute("aria-describedby");
  input.setAttribute("aria-describedby", [`${id}-wrong`, words && `${id}-hint`, before].filter(Boolean).join(" "));
  return {
    element: h("div", { class: "field" }, h("div", { class: "field-head" }, h("label", { for: id }, name), aside), place, words, wrong),
    fail(message) {
      replace(wrong, message ?? "");
      if (message) input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
    },
  };
}

/**
 * Say beside each input what the server finds wrong with it.
 * @param {unknown} error
 * @param {Record<string, {fail(message: string | null): void}>} fields by their names in the API
 * @returns {boolean} whether all that is wrong was said
 */
export function failFields(error, fields) {
  for (const each of Object.values(fields)) each.fail(null);
  if (!(error instanceof Problem) || error.errors.length === 0) return false;
  let all = true;
  for (const { field, message } of error.errors) {
    const place = fields[field ?? ""];
    if (place) place.fail(message ?? error.message);
    else all = false;
  }
  return all;
}

/**
 * A list to choose from.
 * @param {string} name for those who do not see its label
 * @param {[string, string][]} options value and text
 * @param {(value: string) => void} [onChange]
 * @returns {HTMLSelectElement}
 */
export function choice(name, options, onChange = () => {}) {
  const element = /** @type {HTMLSelectElement} */ (
    h("select", { class: "input", "aria-label": name, on: { change: () => onChange(element.value) } }, options.map(([value, text]) => h("option", { value }, text)))
  );
  return element;
}
