/** The prediction log of a model: how much of its predictions goes there. */

import { button, busy } from "../../components/button.js";
import { errorBox } from "../../components/errorbox.js";
import { failFields, labelled } from "../../components/labelled.js";
import { toast } from "../../components/toast.js";
import { path, request } from "../../core/api.js";
import { h } from "../../core/h.js";
import { session } from "../../core/session.js";

/** @param {string} alias @param {AbortSignal} signal @param {(model: any) => void} onChange */
export function logging(alias, signal, onChange) {
  const rate = /** @type {HTMLInputElement} */ (h("input", { class: "input", type: "number", min: 0, max: 100, step: "any", required: true }));
  const images = /** @type {HTMLInputElement} */ (h("input", { type: "checkbox" }));
  const fields = { log_rate: labelled("Predictions that are logged, %", rate, { hint: "Chosen at random, whatever the answer. Only logged predictions can be labelled." }) };
  const wrong = errorBox("Not saved");
  const saving = button("Save", () => busy(saving, save), { kind: "primary" });
  let touched = false;
  for (const each of [rate, images]) each.addEventListener("input", () => (touched = true));

  async function save() {
    wrong.clear();
    try {
      const value = rate.value === "" ? NaN : Number(rate.value) / 100;
      if (!(value >= 0 && value <= 1)) {
        fields.log_rate.fail("a percentage from 0 to 100");
        return;
      }
      const { data } = await request("PATCH", path`/models/${alias}`, { body: { log_rate: value, log_images: images.checked }, signal });
      failFields(null, fields);
      touched = false;
      toast("Saved.");
      onChange(data);
    } catch (error) {
      if (!signal.aborted && !failFields(error, fields)) wrong.show(error);
    }
  }

  const may = session.may("jobs:write");
  for (const each of [rate, images]) each.disabled = !may;
  saving.hidden = !may;
  return {
    element: h(
      "section",
      { class: "card stack-gap narrow" },
      h("h2", {}, "Prediction log"),
      h("p", { class: "muted" }, "Stored for each logged prediction: class, confidence, shift score and logits. The image only if you choose so."),
      fields.log_rate.element,
      h("label", { class: "check" }, images, "Store the images, too"),
      wrong.element,
      h("div", { class: "actions" }, saving),
    ),
    /** @param {any} model */
    update(model) {
      if (touched) return; // what was typed stays
      rate.value = String(+(100 * model.log_rate).toPrecision(12));
      images.checked = model.log_images;
    },
  };
}
