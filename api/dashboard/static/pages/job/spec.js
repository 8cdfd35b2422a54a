/** What a job was asked for, and where that is not what its preset says. */

import { badge } from "../../components/badge.js";
import { copyButton } from "../../components/button.js";
import { table } from "../../components/table.js";
import { get, path } from "../../core/api.js";
import { NONE, shown } from "../../core/format.js";
import { h, replace } from "../../core/h.js";

/** What is chosen for model and images where neither job nor preset says it. */
const OPEN = ["training.epochs", "training.batch_size", "training.learning_rate"];

/** @param {AbortSignal} signal */
export function specification(signal) {
  const list = table(
    "Specification",
    [
      { title: "Setting", kind: "main", value: (row) => row.name, render: (name) => h("code", {}, name) },
      { title: "Value", kind: "wide", value: (row) => [shown(row.value), row.differs], render: ([text, differs]) => [h("bdi", { class: differs && "strong" }, text), differs && [" ", badge("changed", "live")]], csv: ([text]) => text },
      { title: "In the preset", value: (row) => (row.known ? shown(row.preset) : NONE), render: (text) => h("span", { class: "muted" }, text) },
    ],
    (row) => row.name,
  );
  const words = h("p", { class: "muted" });
  const only = /** @type {HTMLInputElement} */ (h("input", { type: "checkbox", on: { change: show } }));
  const filter = h("label", { class: "check" }, only, "only what was changed");
  /** @type {any} */
  let job = null;
  /** @type {Map<string, any>} */
  let preset = new Map();
  let asked = false;
  let trouble = "";

  function show() {
    const rows = [...flat(job.spec)].map(([name, value]) => {
      const known = preset.has(name);
      // A preset that says nothing leaves it to the model; what was chosen for that is no change.
      const open = OPEN.includes(name) && (preset.get(name) ?? null) === null;
      return { name, value, known: known && !open, preset: preset.get(name), differs: known && !open && JSON.stringify(preset.get(name)) !== JSON.stringify(value) };
    });
    const changed = rows.filter((row) => row.differs).length;
    filter.hidden = changed === 0;
    list.update(only.checked && changed > 0 ? rows.filter((row) => row.differs) : rows);
    const { preset: name } = job.spec;
    replace(
      words,
      trouble || (!name ? "No preset was used." : [
        "From the preset ", h("code", {}, name),
        preset.size === 0 ? "." : changed === 0 ? ", with nothing changed." : `, with ${changed} ${changed === 1 ? "setting" : "settings"} changed.`,
      ]),
    );
  }

  async function compare() {
    try {
      const { data } = await get(path`/presets/${job.spec.preset}`, { signal });
      preset = flat(data.filled);
      if (data.model && JSON.stringify(data.model) === "{}") preset.delete("model");
      show();
    } catch (error) {
      if (signal.aborted) return;
      trouble = `Its preset, ${job.spec.preset}, cannot be compared: ${/** @type {Error} */ (error).message}.`;
      show();
    }
  }

  return {
    element: h("div", { class: "stack-gap" }, h("div", { class: "section-head" }, words, filter, copyButton("Copy as JSON", () => JSON.stringify(job.spec, null, 2))), list.element),
    /** @param {any} now */
    update(now) {
      if (job !== null) return; // it never changes
      job = now;
      show();
      if (job.spec.preset && !asked) {
        asked = true;
        compare();
      }
    },
  };
}

/**
 * A document as `part.name: value`; lists stay whole.
 * @param {any} document @param {string} [prefix] @param {Map<string, any>} [found]
 */
export function flat(document, prefix = "", found = new Map()) {
  for (const [name, value] of Object.entries(document)) {
    const full = prefix ? `${prefix}.${name}` : name;
    const isPart = value !== null && typeof value === "object" && !Array.isArray(value) && Object.keys(value).length > 0;
    if (isPart) flat(value, full, found);
    else found.set(full, value);
  }
  return found;
}
