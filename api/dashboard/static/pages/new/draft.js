/** What somebody has typed so far. It outlives the page, until the job is queued. */

import { parse } from "./schema.js";

export class Draft {
  kind = "finetune";
  /** Text by dotted path; what is empty is not given. @type {Map<string, string>} */
  texts = new Map();
  /** Where each model comes from, by its path; see `model.js`. @type {Map<string, string>} */
  sources = new Map([["model", "carot-mini"]]);

  /** @param {string} path */
  text(path) {
    return this.texts.get(path) ?? "";
  }

  /** @param {string} path @param {string} text */
  set(path, text) {
    if (text === "") this.texts.delete(path);
    else this.texts.set(path, text);
  }

  /** Take a job's spec for what it says itself. @param {any} job */
  clone(job) {
    this.kind = job.kind;
    this.texts.clear();
    const { kind: _, ...spec } = job.spec;
    const own = { ...spec, name: job.name && `${job.name} again`.slice(0, 200), resources: { queue: job.queue, processes: job.processes }, priority: job.priority, max_seconds: job.max_seconds };
    this.#take(own, "");
  }

  /** @param {any} value @param {string} path */
  #take(value, path) {
    if (value === null || value === undefined) return;
    if (typeof value === "object" && !Array.isArray(value) && path !== "prompts.class_names") {
      for (const [name, each] of Object.entries(value)) this.#take(each, path ? `${path}.${name}` : name);
    } else this.texts.set(path, typeof value === "string" ? value : JSON.stringify(value));
  }

  /** Forget what would hold anyway. @param {import("./schema.js").Field[]} fields */
  prune(fields) {
    for (const field of fields) {
      if (this.texts.has(field.path) && field.preset !== undefined && same(parse(field, this.text(field.path)), field.preset)) this.texts.delete(field.path);
    }
  }

  /** The body of `POST /jobs`. @param {import("./schema.js").Field[]} fields those that the form shows */
  body(fields) {
    /** @type {any} */
    const body = { kind: this.kind };
    for (const field of fields) {
      const text = this.text(field.path);
      if (text === "") continue;
      const parts = field.path.split(".");
      let at = body;
      for (const part of parts.slice(0, -1)) at = at[part] ??= {};
      at[/** @type {string} */ (parts.at(-1))] = parse(field, text);
    }
    return body;
  }
}

/** @param {any} a @param {any} b */
const same = (a, b) => JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));

/** @param {any} value @returns {any} */
function sorted(value) {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, each]) => [name, sorted(each)]));
}

