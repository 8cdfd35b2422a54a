/** What of the list is to be seen; it all stands in the address. */

import { icon } from "../../components/icon.js";
import { get } from "../../core/api.js";
import { capital, words } from "../../core/format.js";
import { h, replace } from "../../core/h.js";
import { link } from "../../core/router.js";
import { VIEWS } from "./follower.js";

const TYPING_MS = 250;
const KINDS = ["finetune", "evaluate", "interpolate", "merge", "select"];

/**
 * @param {(changes: Record<string, string | null>) => void} onChange
 * @returns {{element: HTMLElement, update(query: URLSearchParams): void}}
 */
export function filterBar(onChange) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const views = h("nav", { class: "segments", "aria-label": "States" });
  const search = /** @type {HTMLInputElement} */ (
    h("input", {
      type: "search", class: "input", maxlength: 200, placeholder: "Search name, id, data set", "aria-label": "Search jobs",
      on: {
        input: () => {
          clearTimeout(timer);
          timer = setTimeout(() => onChange({ search: search.value.trim() || null }), TYPING_MS);
        },
      },
    })
  );
  const method = choice("Method", "All methods", (value) => onChange({ method: value }));
  const kind = choice("Kind", "All kinds", (value) => onChange({ kind: value }));
  kind.offer(KINDS);
  knownMethods().then(method.offer, () => {});

  return {
    element: h(
      "div",
      { class: "filters" },
      views,
      h("div", { class: "search" }, icon("search"), search),
      method.element,
      kind.element,
    ),
    update(query) {
      const now = query.get("view") ?? "";
      const kept = new URLSearchParams(query);
      kept.delete("cursor");
      replace(
        views,
        ["", ...Object.keys(VIEWS)].map((view) => {
          if (view) kept.set("view", view);
          else kept.delete("view");
          return h("a", { href: link("jobs", {}, kept), "aria-current": view === now && "true" }, capital(view || "all"));
        }),
      );
      if (document.activeElement !== search) search.value = query.get("search") ?? "";
      method.show(query.get("method") ?? "");
      kind.show(query.get("kind") ?? "");
    },
  };
}

/** @type {Promise<string[]> | null} */
let asked = null;

/** The methods that there are, by their presets. @returns {Promise<string[]>} */
function knownMethods() {
  asked ??= get("/presets").then(({ data }) =>
    [...new Set(data.data.map((/** @type {any} */ each) => each.filled.method.name))].sort(),
  );
  return /** @type {Promise<string[]>} */ (asked);
}

/** @param {string} name @param {string} all @param {(value: string | null) => void} onChange */
function choice(name, all, onChange) {
  let wanted = "";
  const element = /** @type {HTMLSelectElement} */ (
    h("select", { class: "input", "aria-label": name, on: { change: () => onChange(element.value || null) } }, h("option", { value: "" }, all))
  );

  /** @param {string} value */
  function show(value) {
    wanted = value;
    if (![...element.options].some((each) => each.value === value)) offer([value]);
    element.value = value;
  }

  /** @param {string[]} values */
  function offer(values) {
    const there = new Set([...element.options].map((each) => each.value));
    const added = values.filter((each) => !there.has(each));
    element.append(...added.map((each) => h("option", { value: each }, words(each))));
    element.value = wanted;
  }
  return { element, show, offer };
}
