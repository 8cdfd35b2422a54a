/** The form of one kind of job, made of the API's own description of it. */

import { h, replace } from "../../core/h.js";
import { words, capital } from "../../core/format.js";
import { control } from "./control.js";
import { modelPart } from "./model.js";
import { modelsPart } from "./models.js";
import { fields, named } from "./schema.js";

/**
 * @typedef {object} Known what can be chosen among
 * @property {any} openapi
 * @property {Map<string, any>} kinds
 * @property {any[]} presets
 * @property {any[]} architectures pairs of an architecture and a tag
 * @property {{source: import("../../components/picker.js").Source, signal: AbortSignal} | null} checkpoints
 *   where to pick them from; null where this key may not look
 * @typedef {import("./schema.js").Field} Field
 */

const APART = ["kind", "model", "models", "dataset", "method", "adapters", "preset", "name", "alias", "start"];
const RUNNING = ["resources", "priority", "max_seconds"];
/** @type {Record<string, string>} */
const KIND_WORDS = {
  finetune: "Fine-tune a model", evaluate: "Evaluate a model", interpolate: "Interpolate towards the start",
  merge: "Merge checkpoints", select: "Select the best checkpoint", predict: "Predict a data set",
};
/** Kinds whose `model` has to be a checkpoint. */
const TRAINED = ["interpolate", "predict"];

/** @param {Known} known @param {import("./draft.js").Draft} draft @param {() => void} onChange */
export function form(known, draft, onChange) {
  const element = h("div", { class: "sections" });
  /** @type {Map<string, import("./control.js").Control>} */
  let controls = new Map();
  /** @type {Field[]} */
  let shown = [];
  const opened = new Set();

  /** @param {Field} field @param {any} [more] @param {boolean} [redraw] whether other fields depend on it */
  function make(field, more = {}, redraw = false) {
    const made = control(field, draft.text(field.path), (text) => {
      draft.set(field.path, text);
      if (redraw) draw(field.path);
      onChange();
    }, more);
    controls.set(field.path, made);
    shown.push(field);
    return made.element;
  }

  /** @param {string} [focus] the field to stay at */
  function draw(focus) {
    controls = new Map();
    shown = [];
    const schema = known.kinds.get(draft.kind);
    const preset = known.presets.find((each) => each.name === draft.text("preset"));
    const all = fields(known.openapi, schema, "", preset?.filled ?? {}, ["method", "kind"]);
    const find = (/** @type {string} */ path) => /** @type {Field} */ (all.find((each) => each.path === path));
    const has = (/** @type {string} */ name) => name in schema.properties;
    const method = has("method") ? methodParts(known, schema, draft, preset) : null;
    const adapted = has("adapters") && draft.text("adapters.kind") !== "";
    replace(
      element,
      card("Job", [
        kindChoice(schema),
        make(find("name"), { label: "Name", none: "optional" }),
        has("alias") && find("alias") && make(find("alias"), { none: "none" }),
      ]),
      card(has("models") ? "Models" : "Model", [
        has("models") ? models(find("models")) : model(find, { path: "model", label: "Start from", checkpoints: TRAINED.includes(draft.kind) }),
        has("start") && model(find, { path: "start", label: "Zero-shot start", none: "the start of the checkpoints" }),
      ]),
      (has("preset") || method) && card("Method", [
        has("preset") && make(find("preset"), { options: known.presets.map((each) => [each.name, each.name]), none: "none" }, true),
        preset && h("p", { class: "help field-wide" }, preset.description, " ", preset.source),
        method && make(method.name, { label: "Method", options: method.choices, none: method.default }, true),
        method && h("p", { class: "help field-wide" }, method.description),
        has("adapters") && adapters(find("adapters.kind")),
        adapted && make(find("adapters.rank"), { label: "Rank of the adapters" }),
      ]),
      adapted && more("adapters", "Settings of the adapters", all.filter(({ path }) => path.startsWith("adapters.") && !["adapters.kind", "adapters.rank"].includes(path)).map((each) => make(each))),
      method && method.fields.length > 0 && more("method", `Settings of ${method.chosen}`, method.fields.map((each) => make(each))),
      groups(all).map(([name, group]) => more(name, name === "running" ? "Resources and priority" : capital(words(name)), group.map((each) => make(each)))),
    );
    if (focus) controls.get(focus)?.input.focus();
  }

  /**
   * @param {(path: string) => Field} find
   * @param {Omit<import("./model.js").Part, "more">} part
   */
  const model = (find, part) =>
    modelPart(draft, { ...part, architectures: known.architectures, more: known.checkpoints ? { from: known.checkpoints } : { none: "ckpt_…" } }, {
      make: (path, more) => make(find(path), more),
      keep: (path) => shown.push(find(path)),
      again(id) {
        draw();
        document.getElementById(id)?.focus();
        onChange();
      },
    });

  /** @param {Field} field */
  function adapters(field) {
    const element = make(field, { label: "Trains", options: [["lora", "LoRA adapters"]], none: "all that the method trains" }, true);
    controls.set("adapters", /** @type {import("./control.js").Control} */ (controls.get(field.path)));
    return element;
  }

  /** @param {Field} field */
  function models(field) {
    if (!known.checkpoints) return make(field, { long: true, label: "Checkpoints", none: '[{"checkpoint": "ckpt_…"}, {"checkpoint": "ckpt_…"}]' });
    const made = modelsPart(field, draft, known.checkpoints, onChange);
    controls.set(field.path, made);
    shown.push(field);
    return made.element;
  }

  /** @param {any} schema */
  function kindChoice(schema) {
    const select = /** @type {HTMLSelectElement} */ (h("select", { class: "input", id: "kind" }, [...known.kinds.keys()].map((kind) => h("option", { value: kind, selected: kind === draft.kind }, KIND_WORDS[kind] ?? words(kind)))));
    select.addEventListener("input", () => {
      draft.kind = select.value;
      draw();
      element.querySelector("#kind")?.focus();
      onChange();
    });
    return h("div", { class: "field" }, h("label", { for: "kind" }, "Kind"), select, h("p", { class: "help" }, schema.description));
  }

  /** @param {string} name @param {string} title @param {HTMLElement[]} content */
  function more(name, title, content) {
    const given = content.some((each) => draft.text(each.dataset.path ?? ""));
    const box = h("details", { class: "card more", "data-part": name, open: opened.has(name) || given }, h("summary", {}, title), h("div", { class: "fields" }, content));
    box.addEventListener("toggle", () => (/** @type {HTMLDetailsElement} */ (box).open ? opened.add(name) : opened.delete(name)));
    return box;
  }

  draw();
  return {
    element,
    draw,
    get fields() {
      return shown;
    },
    /** Show in empty fields what the service would choose. @param {any} spec */
    suggest(spec) {
      for (const [path, { input }] of controls) {
        const value = path.split(".").reduce((inner, name) => inner?.[name], spec);
        if (typeof value === "number" && "placeholder" in input) input.placeholder = String(value);
      }
    },
    /** Show what is wrong beside its field. @param {{field?: string, message?: string}[]} errors @returns {number} how many found one */
    faults(errors) {
      for (const each of controls.values()) each.fault(null);
      /** @type {import("./control.js").Control[]} */
      const found = [];
      for (const { field = "", message = "" } of errors) {
        const made = nearest(controls, field);
        if (!made) continue;
        made.fault(message, field);
        made.element.closest("details")?.setAttribute("open", "");
        found.push(made);
      }
      found[0]?.input.focus();
      return found.length;
    },
  };
}

/** The field that an error speaks of: itself, or the nearest around it. @param {Map<string, import("./control.js").Control>} controls @param {string} path */
function nearest(controls, path) {
  const parts = path.split(".");
  for (let end = parts.length; end > 0; end -= 1) {
    for (let begin = 0; begin < end; begin += 1) {
      const made = controls.get(parts.slice(begin, end).join("."));
      if (made && (begin === 0 || controls.size > 0)) return made;
    }
    // A method's own name stands between: `method.carot.weight`.
    const short = parts.slice(0, end).filter((_, i) => i !== 1).join(".");
    const made = end > 2 && controls.get(short);
    if (made) return made;
  }
  return null;
}

/** @param {Field[]} all @returns {[string, Field[]][]} */
function groups(all) {
  /** @type {Map<string, Field[]>} */
  const found = new Map();
  for (const field of all) {
    const [first] = field.path.split(".");
    if (APART.includes(first)) continue;
    const name = RUNNING.includes(first) ? "running" : field.path.includes(".") ? first : "settings";
    found.set(name, [...(found.get(name) ?? []), field]);
  }
  const running = found.get("running") ?? [];
  found.delete("running");
  return [...found, ["running", running]];
}

/** @param {Known} known @param {any} schema @param {import("./draft.js").Draft} draft @param {any} preset */
function methodParts(known, schema, draft, preset) {
  const methods = named(known.openapi, schema.properties.method);
  const usual = preset?.filled.method ?? schema.properties.method.default;
  const chosen = draft.text("method.name") || usual?.name || "";
  const found = methods.get(chosen);
  const given = usual?.name === chosen ? usual : {};
  return {
    chosen,
    /** @type {Field} */
    name: { path: "method.name", name: "method", kind: "choice", description: "", choices: [], preset: usual?.name },
    choices: [...methods.keys()].map((name) => [name, words(name)]),
    default: usual?.name ? `${words(usual.name)}${preset ? ", by the preset" : ""}` : "choose one",
    description: found?.description ?? "",
    fields: found ? fields(known.openapi, found, "method", given, ["name"]) : [],
  };
}

/** @param {string} title @param {any[]} content */
function card(title, content) {
  return h("section", { class: "card" }, h("div", { class: "card-head" }, h("h2", {}, title)), h("div", { class: "fields" }, content));
}
