/** What went wrong, and where: it stays until it is closed or the thing works. */

import { Problem, Unreachable } from "../core/api.js";
import { h, replace } from "../core/h.js";
import { button } from "./button.js";

/**
 * A place for an error, empty at first.
 * @param {string} what went wrong, such as `The job was not cancelled`
 * @returns {{element: HTMLElement, show(error: unknown, retry?: () => void): void, clear(): void}}
 */
export function errorBox(what) {
  const element = h("div", { class: "error-place", role: "alert" });
  return {
    element,
    clear: () => replace(element),
    show(error, retry) {
      replace(element, errorCard(what, error, { retry, close: () => replace(element) }));
    },
  };
}

/**
 * An error.
 * @param {string} what
 * @param {unknown} error
 * @param {{retry?: () => void, close?: () => void}} [options]
 */
export function errorCard(what, error, { retry, close } = {}) {
  const fields = error instanceof Problem ? error.errors : [];
  return h(
    "div",
    { class: "error-box fade" },
    h(
      "div",
      { class: "error-text" },
      h("p", {}, h("strong", {}, `${what}: `), sentence(error)),
      fields.length > 0 &&
        h("ul", {}, fields.map((each) => h("li", {}, each.field && h("code", {}, each.field), " ", each.message))),
      error instanceof Problem && error.status >= 500 && error.requestId &&
        h("p", { class: "muted" }, "Request id in the server's log: ", h("code", {}, error.requestId), "."),
    ),
    retry && button("Try again", retry),
    close && button("", close, { kind: "quiet", icon: "close", name: "Close this message" }),
  );
}

/** An error as a sentence. @param {unknown} error */
export function sentence(error) {
  if (error instanceof Unreachable) return "the server does not answer. Nothing was lost; try again in a moment.";
  const text = error instanceof Error ? error.message : String(error);
  return /[.!?]$/.test(text) ? text : `${text}.`;
}
