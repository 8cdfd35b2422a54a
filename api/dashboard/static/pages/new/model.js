/** Which model: one that comes with the service, one of open_clip's, or a checkpoint. */

import { h } from "../../core/h.js";

const BUNDLED = ["carot-mini", "carot-mini-fashion"];
const OPEN_CLIP = "open_clip";
const CHECKPOINT = "checkpoint";
/** @type {Record<string, string>} */
const WORDS = { "carot-mini": "carot-mini (digits), built in", "carot-mini-fashion": "carot-mini-fashion (clothes), built in", [OPEN_CLIP]: "an open_clip model", [CHECKPOINT]: "a checkpoint" };

/**
 * @typedef {object} Part
 * @property {string} path of the model in the body, `model` or `start`
 * @property {string} label
 * @property {string} [none] what holds where nothing is said; without it something must be
 * @property {boolean} [checkpoints] whether it has to be a checkpoint
 * @property {any} [more] options of the checkpoint's field
 * @property {any[]} [architectures] pairs of an architecture and a tag that can be chosen
 */

/**
 * @param {import("./draft.js").Draft} draft @param {Part} part
 * @param {{make: (path: string, more?: any) => HTMLElement, keep: (path: string) => void, again: (id: string) => void}} form
 *   `make` shows a field, `keep` has one in the body that is not shown, `again` redraws and
 *   stays at an element
 */
export function modelPart(draft, { path, label, none, checkpoints = false, more = {}, architectures = [] }, { make, keep, again }) {
  const at = (/** @type {string} */ name) => `${path}.${name}`;
  const given = sourceOf(draft, path);
  const offered = [...(none ? [""] : []), ...(checkpoints ? [CHECKPOINT] : Object.keys(WORDS))];
  const source = offered.includes(given) ? given : offered[0];
  const id = `${path}-source`;
  const select = /** @type {HTMLSelectElement} */ (
    h("select", { class: "input", id }, offered.map((value) => h("option", { value, selected: value === source }, WORDS[value] ?? none)))
  );
  select.addEventListener("input", () => {
    for (const name of ["architecture", "pretrained", "checkpoint"]) draft.set(at(name), "");
    draft.sources.set(path, select.value);
    again(id);
  });
  if (given === source) draft.sources.set(path, source);
  if (BUNDLED.includes(source)) {
    draft.set(at("architecture"), source);
    keep(at("architecture"));
  } else if (BUNDLED.includes(draft.text(at("architecture")))) draft.set(at("architecture"), "");
  return [
    offered.length > 1 && h("div", { class: "field" }, h("label", { for: id }, label), select),
    source === OPEN_CLIP && make(at("architecture"), { none: "ViT-B-16", suggestions: distinct(architectures, "architecture") }),
    source === OPEN_CLIP && make(at("pretrained"), { none: "openai", suggestions: distinct(architectures, "pretrained") }),
    source === CHECKPOINT && make(at("checkpoint"), more),
  ];
}

/** @param {any[]} pairs @param {string} name @returns {string[]} */
function distinct(pairs, name) {
  return [...new Set(pairs.filter((each) => each.pretrained !== null).map((each) => each[name]))].sort();
}

/** @param {import("./draft.js").Draft} draft @param {string} path */
function sourceOf(draft, path) {
  if (draft.text(`${path}.checkpoint`)) return CHECKPOINT;
  const architecture = draft.text(`${path}.architecture`);
  const chosen = draft.sources.get(path) ?? "";
  if (BUNDLED.includes(architecture) && chosen !== OPEN_CLIP) return architecture;
  return architecture ? OPEN_CLIP : chosen;
}
