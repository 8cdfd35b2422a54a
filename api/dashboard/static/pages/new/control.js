/** A field of the form: its name, what it means, what holds without it, and what is wrong with it. */

import { words, capital, shown } from "../../core/format.js";
import { explained, h, replace } from "../../core/h.js";
import { picker } from "../../components/picker.js";

/**
 * @typedef {object} Control
 * @property {HTMLElement} element
 * @property {HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement} input
 * @property {(message: string | null, path?: string) => void} fault `path` is what the server says is wrong
 */

/**
 * @param {import("./schema.js").Field} field
 * @param {string} value what was typed before
 * @param {(text: string) => void} onChange
 * @param {{label?: string, options?: [string, string][], none?: string, long?: boolean,
 *   suggestions?: string[], from?: {source: import("../../components/picker.js").Source, signal: AbortSignal}}} [more]
 *   `options` are values and their words, in place of the field's own choices; `suggestions` are
 *   offered while it is typed; `from` is what it names one of
 * @returns {Control}
 */
export function control(field, value, onChange, { label, options, none, long = false, suggestions = [], from } = {}) {
  const id = `field-${field.path.replaceAll(".", "-")}`;
  const fault = h("p", { class: "fault", id: `${id}-fault`, role: "alert" });
  const help = h("p", { class: "help", id: `${id}-help` }, explained(field.description));
  const pick = from && picker(from.source, { value, none, signal: from.signal, onPick: take });
  const input = pick ? pick.input : made(field, value, options, none ?? instead(field), long);
  input.id = id;
  input.name = field.path;
  if (pick) pick.describe(`${id}-help`, `${id}-fault`);
  else {
    input.setAttribute("aria-describedby", `${id}-help ${id}-fault`);
    input.addEventListener("input", () => take(input.value));
  }

  const offered = suggestions.length > 0 && h("datalist", { id: `${id}-offered` }, suggestions.map((value) => h("option", { value })));
  if (offered) input.setAttribute("list", offered.id);

  /** @param {string} now */
  function take(now) {
    say(null);
    onChange(now);
  }

  /** @param {string | null} message */
  function say(message) {
    replace(fault, message ?? "");
    if (message) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
  }

  return {
    element: h("div", { class: ["field", long && "field-wide"], "data-path": field.path }, h("label", { for: id }, label ?? capital(words(field.name))), pick ? pick.element : input, offered, help, fault),
    input,
    fault: say,
  };
}

/** @param {import("./schema.js").Field} field @param {string} value @param {[string, string][] | undefined} options @param {string} none @param {boolean} long */
function made(field, value, options, none, long) {
  const choices = options ?? (field.kind === "flag" ? [["true", "yes"], ["false", "no"]] : field.choices.map((each) => [String(each), String(each)]));
  if (options || field.kind === "choice" || field.kind === "flag") {
    const known = value === "" || choices.some(([name]) => name === value);
    return /** @type {HTMLSelectElement} */ (
      h("select", { class: "input" }, h("option", { value: "", selected: value === "" }, none), choices.map(([name, text]) => h("option", { value: name, selected: name === value }, text)), !known && h("option", { value, selected: true }, value))
    );
  }
  const common = { class: "input", value, placeholder: none, autocomplete: "off", spellcheck: "false" };
  if (field.kind === "json" || long) return /** @type {HTMLTextAreaElement} */ (h("textarea", { ...common, rows: 2, class: "input mono" }));
  return /** @type {HTMLInputElement} */ (h("input", { ...common, type: "text", inputmode: field.kind === "number" ? "decimal" : null }));
}

/** What holds where nothing is given. @param {import("./schema.js").Field} field */
function instead({ preset }) {
  if (preset === undefined || preset === null) return "not set";
  return shown(preset);
}
