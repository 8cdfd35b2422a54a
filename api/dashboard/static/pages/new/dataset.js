/** Which data set: one that is there, one that is dropped, or one that the server's files hold. */

import { get, path } from "../../core/api.js";
import { counted } from "../../core/format.js";
import { h, replace } from "../../core/h.js";
import { toast } from "../../components/toast.js";
import { control } from "./control.js";
import { holds, upload } from "./upload.js";

const OTHER = "other";
const SAMPLES = 12;
const DIGITS = "builtin:digits";

/**
 * @param {any[]} datasets @param {import("./draft.js").Draft} draft @param {import("./schema.js").Field} field
 * @param {() => void} onChange @param {AbortSignal} signal
 */
export function datasetPart(datasets, draft, field, onChange, signal) {
  const known = new Map(datasets.map((each) => [each.id, each]));
  if (!draft.text("dataset")) draft.set("dataset", datasets[0]?.id ?? DIGITS);
  const select = /** @type {HTMLSelectElement} */ (h("select", { class: "input", id: "dataset-source" }));
  const written = control(field, draft.text("dataset"), (text) => {
    draft.set("dataset", text);
    onChange();
  }, { label: "Reference", none: "imagenet:imagenet" });
  const about = h("div", { class: "about-dataset" });

  function options() {
    const now = draft.text("dataset");
    const isKnown = known.has(now) || now === DIGITS;
    replace(
      select,
      [...known.values()].map((each) => h("option", { value: each.id, selected: each.id === now }, `${each.name}, ${counted(each.images, "image")}`)),
      h("option", { value: DIGITS, selected: now === DIGITS }, "the handwritten digits that come with the service"),
      h("option", { value: OTHER, selected: !isKnown }, "another, by its reference"),
    );
    written.element.hidden = isKnown;
    tell();
  }

  async function tell() {
    const dataset = known.get(draft.text("dataset"));
    replace(about, dataset ? holds(dataset, []) : "");
    if (!dataset) return;
    try {
      const { data } = await get(path`/datasets/${dataset.id}/samples`, { query: { limit: SAMPLES }, signal });
      if (draft.text("dataset") === dataset.id) replace(about, holds(dataset, data.data));
    } catch {
      // What it holds is said without pictures.
    }
  }

  select.addEventListener("input", () => {
    const other = select.value === OTHER;
    draft.set("dataset", other ? "" : select.value);
    written.input.value = draft.text("dataset");
    options();
    written.element.hidden = !other;
    if (other) {
      select.value = OTHER;
      written.input.focus();
    }
    onChange();
  });
  const drop = upload((made) => {
    known.set(made.id, made);
    draft.set("dataset", made.id);
    written.input.value = made.id;
    options();
    onChange();
    toast(`${counted(made.images, "image")} stored.`);
  }, signal);
  options();
  return {
    fault: written.fault,
    show() {
      written.element.hidden = false;
      written.input.focus();
    },
    element: h(
      "section",
      { class: "card" },
      h("div", { class: "card-head" }, h("h2", {}, "Data set")),
      h("div", { class: "dataset-part" }, h("div", { class: "stack-gap" }, h("div", { class: "field" }, h("label", { for: "dataset-source" }, "Data set"), select), written.element, about), drop),
    ),
  };
}
