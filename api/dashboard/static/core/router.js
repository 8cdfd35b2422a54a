/**
 * Which page an address means. Pages lie behind the `#`: the server sends one page for all of them,
 * no path of the API is taken, and what somebody searches for is never in a log.
 */

import { session } from "./session.js";

/**
 * @typedef {object} Place
 * @property {import("../pages.js").Page | null} page
 * @property {Record<string, string>} params from the path
 * @property {URLSearchParams} query
 * @property {string} path
 */

/** @type {import("../pages.js").Page[]} */
let pages = [];

/**
 * Say which pages there are, before anything else here is called. They are given and not imported:
 * pages link to each other by way of this module.
 * @param {import("../pages.js").Page[]} all
 */
export function start(all) {
  pages = all;
}

/** Where one arrives: the first page that whoever looks may see. */
export function home() {
  return pages.find((page) => page.scope && session.may(page.scope)) ?? pages[0];
}

/** Where the browser is. @returns {Place} */
export function here() {
  const text = location.hash.replace(/^#/, "") || home().path;
  const [path, query = ""] = split(text, "?");
  for (const page of pages) {
    const params = match(page.path, path);
    if (params) return { page, params, query: new URLSearchParams(query), path };
  }
  return { page: null, params: {}, query: new URLSearchParams(query), path };
}

/** @param {string} text @param {string} mark */
function split(text, mark) {
  const at = text.indexOf(mark);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

/** @param {string} pattern @param {string} path @returns {Record<string, string> | null} */
function match(pattern, path) {
  const wanted = pattern.split("/");
  const given = path.split("/");
  if (wanted.length !== given.length) return null;
  /** @type {Record<string, string>} */
  const params = {};
  for (const [i, part] of wanted.entries()) {
    if (part.startsWith("{")) {
      try {
        params[part.slice(1, -1)] = decodeURIComponent(given[i]);
      } catch {
        return null;
      }
      if (given[i] === "") return null;
    } else if (part !== given[i]) return null;
  }
  return params;
}

/**
 * The address of a page, or null where this dashboard has no such page.
 * @param {string} name
 * @param {Record<string, string>} [params]
 * @param {Record<string, any> | URLSearchParams} [query]
 * @returns {string | null}
 */
export function link(name, params = {}, query = {}) {
  const page = pages.find((each) => each.name === name);
  if (!page) return null;
  const path = page.path.replace(/\{(\w+)\}/g, (_, key) => encodeURIComponent(params[key]));
  const given = query instanceof URLSearchParams ? query : new URLSearchParams(
    Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== ""),
  );
  const text = given.toString();
  return `#${path}${text ? `?${text}` : ""}`;
}

/**
 * Go to an address of `link`; with `replace`, without a step for the back button.
 * @param {string | null} address
 * @param {{replace?: boolean}} [options]
 */
export function go(address, { replace = false } = {}) {
  if (address === null || address === location.hash) return;
  if (!replace) location.hash = address;
  else {
    history.replaceState(null, "", address);
    window.dispatchEvent(new HashChangeEvent("hashchange"));
  }
}
