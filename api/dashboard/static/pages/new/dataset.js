/** Which data set: one that is there, one that is dropped, or one that the server's files hold. */

import { get, path } from "../../core/api.js";
import { counted } from "../../core/format.js";
import { h, replace } from "../../core/h.js";
import { picker } from "../../components/picker.js";
import { DATASETS } from "../../components/sources.js";
import { toast } from "../../components/toast.js";
import { control } from "./control.js";
import { holds, upload } from "./upload.js";

const OTHER = "other";
const SAMPLES = 12;
const DIGITS = "builtin:digits";
const FIXED = [
  { value: DIGITS, name: "the handwritten digits that come with the service" },
  { value: OTHER, name: "another, by its reference" },
];

/**
 * @param {any} first the row of the data set that is chosen, if it has one
 * @param {import("./draft.js").Draft} draft @param {import("./schema.js").Field} field
 * @param {() => void} onChange @param {AbortSignal} signal
 */
export function datasetPart(first, draft, field, onChange, signal) {
  if (!draft.text("dataset")) draft.set("dataset", first?.id ?? DIGITS);
  const pick = picker(DATASETS, { fixed: FIXED, signal, onPick: (value, row) => take(value === OTHER ? "" : value || DIGITS, row) });
  pick.input.id = "dataset-source";
  const written = control(field, draft.text("dataset"), (text) => {
    draft.set("dataset", text);
    onChange();
  }, { label: "Reference", none: "imagenet:imagenet" });
  const about = h("div", { class: "about-dataset" });

  /** @param {string} reference "" where it is going to be written @param {any} row */
  function take(reference, row) {
    draft.set("dataset", reference);
    written.input.value = reference;
    show(row);
    if (reference === "") written.input.focus();
    onChange();
  }

  /** @param {any} row of the data set that is chosen, if it has one */
  function show(row) {
    const now = draft.text("dataset");
    pick.set(row ? row.id : now === DIGITS ? DIGITS : OTHER, row);
    written.element.hidden = Boolean(row) || now === DIGITS;
    replace(about, row ? holds(row, []) : "");
    if (row) picture(row);
  }

  /** @param {any} row */
  async function picture(row) {
    try {
      const { data } = await get(path`/datasets/${row.id}/samples`, { query: { limit: SAMPLES }, signal });
      if (draft.text("dataset") === row.id) replace(about, holds(row, data.data));
    } catch {
      // What it holds is said without pictures.
    }
  }

  const drop = upload((made) => {
    take(made.id, made);
    toast(`${counted(made.images, "image")} stored.`);
  }, signal);
  show(first);
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
      h("div", { class: "dataset-part" }, h("div", { class: "stack-gap" }, h("div", { class: "field" }, h("label", { for: "dataset-source" }, "Data set"), pick.element), written.element, about), drop),
    ),
  };
}
