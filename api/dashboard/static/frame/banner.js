/** A quiet line while the server does not answer. */

import { button } from "../components/button.js";
import { connection } from "../core/connection.js";
import { Unreachable } from "../core/api.js";
import { h, setText } from "../core/h.js";

const TICK_MS = 500;

/** @returns {HTMLElement} */
export function banner() {
  const text = h("span", { role: "status" });
  const when = h("span", { class: "nowrap", "aria-hidden": "true" });
  const again = button("Try now", () => connection.trouble?.retry());
  const element = h("div", { class: "banner", hidden: true }, h("div", { class: "banner-inner" }, text, when, again));

  function update() {
    const trouble = connection.trouble;
    element.hidden = trouble === null;
    if (trouble === null) {
      setText(text, "");
      return;
    }
    const { error } = trouble;
    setText(
      text,
      error instanceof Unreachable
        ? "The server does not answer. What you see may be out of date."
        : `The server cannot answer: ${error.message}. What you see may be out of date.`,
    );
    const seconds = Math.max(0, Math.ceil((trouble.again - Date.now()) / 1000));
    setText(when, seconds > 0 ? `Next try in ${seconds} s.` : "Trying…");
  }

  connection.addEventListener("change", update);
  setInterval(() => connection.trouble !== null && update(), TICK_MS);
  return element;
}
