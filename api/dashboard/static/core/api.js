/** Requests to the API of this server, and what can come of them. */

import { noteServerTime } from "./clock.js";
import { session } from "./session.js";

const TIMEOUT_MS = 30_000;

/** What the server says is wrong (RFC 9457). */
export class Problem extends Error {
  /** @param {number} status @param {any} document @param {number | null} retryAfter seconds */
  constructor(status, document, retryAfter) {
    super(document?.detail || document?.title || `the server answered with status ${status}`);
    this.status = status;
    this.code = document?.code ?? "";
    /** @type {{field?: string, message?: string}[]} */
    this.errors = Array.isArray(document?.errors) ? document.errors : [];
    this.requestId = document?.request_id ?? null;
    this.retryAfter = retryAfter;
  }
}

/** Nobody answers. */
export class Unreachable extends Error {
  constructor() {
    super("the server does not answer");
  }
}

/**
 * @typedef {object} Answer
 * @property {number} status
 * @property {any} data null when there is no body, as with 304
 * @property {string | null} etag
 */

/**
 * Ask the server.
 * @param {string} method
 * @param {string} path
 * @param {{query?: Record<string, any>, body?: any, etag?: string | null, signal?: AbortSignal,
 *   headers?: Record<string, string>}} [options] `body` is sent as JSON, or as it is when it is a form
 * @returns {Promise<Answer>}
 * @throws {Problem | Unreachable | DOMException} the last when `signal` was aborted
 */
export async function request(method, path, options = {}) {
  const answer = await attempt(method, path, options);
  // Another tab may have signed in again: its token holds for all tabs.
  if (answer instanceof Problem && answer.status === 403 && /csrf/i.test(answer.message)) {
    const known = await attempt("GET", "/session", { signal: options.signal });
    if (!(known instanceof Problem)) {
      session.set(known.data);
      return thrown(await attempt(method, path, options));
    }
  }
  if (answer instanceof Problem && answer.status === 401 && path !== "/session") session.lose(answer);
  return thrown(answer);
}

/** @param {Answer | Problem} answer @returns {Answer} */
function thrown(answer) {
  if (answer instanceof Problem) throw answer;
  return answer;
}

/** @param {string} method @param {string} path @param {any} options @returns {Promise<Answer | Problem>} */
async function attempt(method, path, { query, body, etag, signal, headers: more }) {
  /** @type {Record<string, string>} */
  const headers = { Accept: "application/json", ...more };
  if (etag) headers["If-None-Match"] = etag;
  if (method !== "GET" && session.csrf) headers["X-CSRF-Token"] = session.csrf;
  const isForm = body instanceof FormData;
  if (body !== undefined && !isForm) headers["Content-Type"] = "application/json";
  const limits = [signal, isForm ? null : AbortSignal.timeout(TIMEOUT_MS)].filter(Boolean);
  let response;
  let document = null;
  try {
    response = await fetch(address(path, query), {
      method,
      headers,
      body: body === undefined || isForm ? body : JSON.stringify(body),
      cache: "no-store",
      credentials: "same-origin",
      signal: AbortSignal.any(/** @type {AbortSignal[]} */ (limits)),
    });
    const type = response.headers.get("content-type") ?? "";
    if (type.includes("json") && ![204, 304].includes(response.status)) document = await response.json();
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    throw new Unreachable();
  }
  noteServerTime(response.headers.get("date"));
  if (response.ok || response.status === 304) {
    return { status: response.status, data: document, etag: response.headers.get("etag") };
  }
  const after = Number(response.headers.get("retry-after"));
  return new Problem(response.status, document, after > 0 ? after : null);
}

/**
 * A path with a query; lists are given as often as they have items, what is empty is left out.
 * @param {string} path
 * @param {Record<string, any>} [query]
 */
export function address(path, query = {}) {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const each of Array.isArray(value) ? value : [value]) {
      if (each !== null && each !== undefined && each !== "") given.append(name, String(each));
    }
  }
  const text = given.toString();
  return text ? `${path}?${text}` : path;
}

/** @param {string} path @param {Parameters<typeof request>[2]} [options] */
export const get = (path, options) => request("GET", path, options);
/** @param {string} path @param {any} [body] @param {Parameters<typeof request>[2]} [options] */
export const post = (path, body, options) => request("POST", path, { body, ...options });

/**
 * A path of the API, with what is put into it escaped.
 * @param {TemplateStringsArray} parts
 * @param {...string} values
 */
export function path(parts, ...values) {
  return parts.reduce((all, part, i) => all + encodeURIComponent(values[i - 1]) + part);
}
