/** One of many, found by typing: a field whose list the API searches, page by page. */

import { get } from "../core/api.js";
import { h, replace, setText } from "../core/h.js";
import { sentence } from "./errorbox.js";

const TYPING_MS = 250;
const PAGE = 20;
let made = 0;

/**
 * What is picked from.
 * @typedef {object} Source
 * @property {string} where of the list in the API; `{where}/{id}` is one of them
 * @property {string} none what stands in an empty list
 * @property {(row: any) => string} name
 * @property {(row: any) => string} note
 *
 * @typedef {{value: string, name: string}} Fixed a choice that no list has; it is always offered
 * @typedef {{key: string, name: string, note: string, act: (() => void) | null}} Offer
 * @typedef {ReturnType<typeof picker>} Picker
 */

/** Rows that were looked up by id, by address: they change in nothing that is shown here. @type {Map<string, Promise<any>>} */
const known = new Map();

/** A line that is no choice. @param {string} text @returns {Offer} */
const said = (text) => ({ key: "said", name: text, note: "", act: null });

/** One of them. @param {Source} source @param {string} id @returns {Promise<any>} */
export function lookUp({ where }, id) {
  const place = `${where}/${encodeURIComponent(id)}`;
  const asked = known.get(place) ?? get(place).then(({ data }) => data);
  known.set(place, asked);
  asked.catch(() => known.delete(place));
  return asked;
}

/**
 * @param {Source} source
 * @param {{value?: string, none?: string, fixed?: Fixed[], onPick?: (value: string, row: any) => void, signal: AbortSignal}} options
 *   `value` is the id that is picked at first, `none` stands in the field while nothing is; `onPick`
 *   gets "" when the field was emptied, and the row where there is one
 */
export function picker(source, { value = "", none = "choose one", fixed = [], onPick = () => {}, signal }) {
  const id = `picker-${++made}`;
  let chosen = { value: "", name: "" };
  let term = "";
  let turn = 0;
  let answered = 0;
  let active = -1;
  /** @type {Offer[]} */
  let offers = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;

  const input = /** @type {HTMLInputElement} */ (
    h("input", {
      class: "input", type: "text", role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": `${id}-list`,
      "aria-describedby": `${id}-note`, autocomplete: "off", spellcheck: "false", placeholder: none, maxlength: 200,
      on: { click: () => list.hidden && open(""), input: typed, keydown: pressed, blur: left, focus: () => input.select() },
    })
  );
  const list = h("div", { class: "picker-list", role: "listbox", id: `${id}-list`, "aria-label": "Found", hidden: true, on: { mousedown: (/** @type {Event} */ event) => event.preventDefault() } });
  const note = h("p", { class: "picker-note mono muted", id: `${id}-note` });
  const element = h("div", { class: "picker" }, input, list, note);

  /** @param {string} now @param {string} name @param {string} [below] */
  function show(now, name, below = "") {
    chosen = { value: now, name };
    input.value = name;
    setText(note, below);
  }

  /** @param {string} now @param {any} [given] its row, where that is known */
  async function set(now, given) {
    const own = fixed.find((each) => each.value === now);
    show(now, own?.name ?? (given ? source.name(given) : now), given ? source.note(given) : "");
    if (own || given || now === "") return;
    try {
      const row = await lookUp(source, now);
      if (chosen.value === now) show(now, source.name(row), source.note(row));
    } catch {
      // Its id says what it is; whether it is there, the server says when it is used.
    }
  }

  /** @param {string} now @param {string} name @param {any} row */
  function pick(now, name, row) {
    show(now, name, row ? source.note(row) : "");
    close();
    onPick(now, row);
  }

  /** @param {string} text what to search for */
  function open(text) {
    timer = undefined;
    if (!list.hidden && text === term) return mark();
    term = text;
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    ask(null, []);
  }

  function close() {
    clearTimeout(timer);
    timer = undefined;
    answered = ++turn;
    mark();
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  /** Whether the list is of what was typed last. */
  function mark() {
    list.setAttribute("aria-busy", String(timer !== undefined || answered !== turn));
  }

  /** @param {string | null} cursor @param {Offer[]} before what is there already */
  async function ask(cursor, before) {
    const mine = ++turn;
    mark();
    if (before.length === 0) offer([said("Searching…")]);
    try {
      const { data } = await get(source.where, { query: { search: term, limit: PAGE, cursor }, signal });
      if (mine !== turn) return;
      const rows = [...before, ...data.data.map(one)];
      if (rows.length === 0) rows.push(said(term ? "Nothing found." : source.none));
      const older = data.next_cursor === null ? [] : [{ key: "older", name: "Show older", note: "", act: () => ask(data.next_cursor, rows) }];
      offer([...rows, ...older, ...fixed.map((each) => ({ key: each.value, name: each.name, note: "", act: () => pick(each.value, each.name, null) }))], before.length);
      answered = mine;
    } catch (error) {
      if (!signal.aborted && mine === turn) offer([...before, said(sentence(error)), { key: "again", name: "Try again", note: "", act: () => ask(cursor, before) }], before.length);
      if (mine === turn) answered = mine;
    }
    mark();
  }

  /** @param {any} row @returns {Offer} */
  const one = (row) => ({ key: row.id, name: source.name(row), note: source.note(row), act: () => pick(row.id, source.name(row), row) });

  /** @param {Offer[]} now @param {number} [at] where the keyboard stands */
  function offer(now, at = 0) {
    offers = now;
    replace(
      list,
      now.map(({ key, name, note: below, act }, i) =>
        h("div", { class: "picker-option", role: "option", id: `${id}-${i}`, "aria-selected": String(key === chosen.value), "aria-disabled": act === null && "true", on: { click: () => act?.() } }, h("bdi", {}, name), below && h("span", { class: "muted mono" }, below)),
      ),
    );
    move(term || at > 0 ? at : Math.max(0, now.findIndex((each) => each.key === chosen.value)), at > 0);
  }

  /** @param {number} to @param {boolean} [reveal] */
  function move(to, reveal = true) {
    list.children[active]?.classList.remove("active");
    active = Math.min(Math.max(to, 0), offers.length - 1);
    const now = list.children[active];
    if (!now) return;
    now.classList.add("active");
    input.setAttribute("aria-activedescendant", now.id);
    if (reveal) now.scrollIntoView({ block: "nearest" });
  }

  function search() {
    clearTimeout(timer);
    open(input.value.trim());
  }

  function typed() {
    clearTimeout(timer);
    if (list.hidden) return open(input.value.trim());
    timer = setTimeout(search, TYPING_MS);
    mark();
  }

  /** @param {KeyboardEvent} event */
  function pressed(event) {
    const { key } = event;
    const closed = list.hidden;
    if (key === "Tab" || (closed && !["ArrowDown", "ArrowUp"].includes(key))) return;
    if (!["ArrowDown", "ArrowUp", "Enter", "Escape"].includes(key)) return;
    event.preventDefault();
    event.stopPropagation();
    if (closed) open("");
    else if (key === "Enter" && timer !== undefined) search(); // the list is not of it yet
    else if (key === "Enter") offers[active]?.act?.();
    else if (key === "Escape") left();
    else move(active + (key === "ArrowDown" ? 1 : -1));
  }

  /** What was typed and not picked is forgotten; a field that was emptied is empty. */
  function left() {
    close();
    if (input.value.trim() === "" && chosen.value !== "") pick("", "", null);
    else input.value = chosen.name;
  }

  set(value);
  return {
    element,
    input,
    /** The elements that describe the field; its note is always among them. @param {...string} ids */
    describe: (...ids) => input.setAttribute("aria-describedby", [...ids, note.id].join(" ")),
    set,
    get value() {
      return chosen.value;
    },
  };
}
