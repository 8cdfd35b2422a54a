/** Questions before something is destroyed, and small forms. */

import { h } from "../core/h.js";
import { button, busy } from "./button.js";

/**
 * Ask; Escape and the second button mean no.
 * @param {{title: string, text: import("../core/h.js").Child, yes: string, no?: string, danger?: boolean}} question
 * @returns {Promise<boolean>}
 */
export function confirm({ title, text, yes, no = "Keep it", danger = true }) {
  return new Promise((resolve) => {
    const dialog = /** @type {HTMLDialogElement} */ (
      h(
        "dialog",
        { class: "dialog", "aria-labelledby": "dialog-title" },
        h("h2", { id: "dialog-title" }, title),
        h("div", { class: "dialog-text" }, text),
        h(
          "div",
          { class: "actions dialog-actions" },
          button(no, () => dialog.close("no")),
          button(yes, () => dialog.close("yes"), { kind: danger ? "danger" : "primary" }),
        ),
      )
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/**
 * A form over the page; it stays until what it says is done, or Escape or the second button is pressed.
 * @param {{title: string, content: import("../core/h.js").Child, yes: string, no?: string, act: () => Promise<boolean>}} asked
 *   `act` says whether it is done
 */
export function fill({ title, content, yes, no = "Cancel", act }) {
  const doing = h("button", { type: "submit", class: "button primary" }, yes);
  /** @param {Event} event */
  async function submit(event) {
    event.preventDefault();
    await busy(doing, async () => {
      if (await act()) dialog.close();
    });
  }
  const dialog = /** @type {HTMLDialogElement} */ (
    h(
      "dialog",
      { class: "dialog", "aria-labelledby": "dialog-title", on: { close: () => dialog.remove() } },
      h("h2", { id: "dialog-title" }, title),
      h("form", { novalidate: true, on: { submit } }, h("div", { class: "dialog-text" }, content), h("div", { class: "actions dialog-actions" }, button(no, () => dialog.close()), doing)),
    )
  );
  document.body.append(dialog);
  dialog.showModal();
}
