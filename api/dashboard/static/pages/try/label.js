/** The right class of an image, from somebody who knows it. */

import { button, busy } from "../../components/button.js";
import { errorBox } from "../../components/errorbox.js";
import { failFields, labelled } from "../../components/labelled.js";
import { path, post, Problem } from "../../core/api.js";
import { h, replace } from "../../core/h.js";

/** @param {AbortSignal} signal */
export function labelForm(signal) {
  const names = h("datalist", { id: "try-classes" });
  const input = /** @type {HTMLInputElement} */ (h("input", { class: "input", list: "try-classes", maxlength: 1000, autocomplete: "off" }));
  const field = labelled("What it really shows", input, { hint: "Labels show whether confidences are calibrated; add them for wrong and right answers alike." });
  const wrong = errorBox("The label was not stored");
  const done = h("p", { class: "label-done", role: "status" });
  const giving = button("Save label", () => busy(giving, () => give(false)));
  const replacing = button("Replace it", () => busy(replacing, () => give(true)), { kind: "danger" });
  const why = h("p", { class: "muted" });
  const form = h("form", { class: "stack-gap", on: { submit: (/** @type {Event} */ event) => { event.preventDefault(); busy(giving, () => give(false)); } } }, names, field.element, wrong.element, h("div", { class: "actions" }, giving, replacing), done);
  const element = h("section", { class: "card stack-gap" }, h("h2", {}, "Add label"), why, form);
  /** @type {string | null} */
  let id = null;

  /** @param {boolean} replace_ */
  async function give(replace_) {
    wrong.clear();
    replace(done);
    if (input.value.trim() === "") {
      field.fail("choose the right class");
      input.focus();
      return;
    }
    try {
      await post(path`/predictions/${id ?? ""}/label`, { label: input.value.trim(), ...(replace_ ? { replace: true } : {}) }, { signal });
      failFields(null, { label: field });
      replacing.hidden = true;
      replace(done, "Stored: ", h("bdi", {}, input.value.trim()), ".");
    } catch (error) {
      if (signal.aborted) return;
      replacing.hidden = !(error instanceof Problem && error.status === 409);
      if (!failFields(error, { label: field })) wrong.show(error);
    }
  }

  return {
    element,
    /** @param {string | null} prediction its id @param {string[]} classes @param {boolean} asModel */
    update(prediction, classes, asModel) {
      id = prediction;
      form.hidden = id === null;
      why.hidden = id !== null;
      replacing.hidden = true;
      replace(why, asModel ? "This prediction was not logged: the model logs only a share of them." : "Predictions of a checkpoint are not logged. Choose a model to add labels.");
      wrong.clear();
      field.fail(null);
      replace(done);
      input.value = "";
      replace(names, classes.map((each) => h("option", { value: each })));
    },
  };
}
