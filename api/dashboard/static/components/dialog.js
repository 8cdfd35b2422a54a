/** Questions before something is destroyed. */

import { h } from "../core/h.js";
import { button } from "./button.js";

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
