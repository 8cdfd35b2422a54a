/** Buttons, and those that copy something. */

import { h, replace } from "../core/h.js";
import { icon } from "./icon.js";
import { toast } from "./toast.js";

const SHOWN_MS = 1500;

/**
 * A button.
 * @param {import("../core/h.js").Child} label
 * @param {(event: Event) => void} act
 * @param {{kind?: "primary" | "danger" | "quiet", icon?: any, title?: string, name?: string,
 *   disabled?: boolean}} [options] `name` is for those who do not see the label
 */
export function button(label, act, options = {}) {
  return h(
    "button",
    {
      type: "button",
      class: ["button", options.kind, label === "" && "icon-only"],
      title: options.title,
      "aria-label": options.name,
      disabled: options.disabled,
      on: { click: act },
    },
    options.icon && icon(options.icon),
    label !== "" && h("span", {}, label),
  );
}

/**
 * A button that copies a text.
 * @param {string} label @param {() => string} text @param {string} [name]
 */
export function copyButton(label, text, name) {
  const element = button(label, copy, { kind: "quiet", icon: "copy", name, title: name });
  async function copy() {
    if (!(await toClipboard(text()))) {
      toast("This browser does not let the page copy.", "bad");
      return;
    }
    element.querySelector("svg")?.replaceWith(icon("check"));
    toast("Copied.");
    setTimeout(() => element.querySelector("svg")?.replaceWith(icon("copy")), SHOWN_MS);
  }
  return element;
}

/** @param {string} text whether it was copied */
async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Without https there is no clipboard; the old way still works there.
    const area = h("textarea", { class: "visually-hidden", value: text });
    document.body.append(area);
    /** @type {HTMLTextAreaElement} */ (area).select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

/**
 * While something is under way a button says so and takes no second click.
 * @param {HTMLElement} element @param {() => Promise<void>} work
 */
export async function busy(element, work) {
  const before = [...element.childNodes];
  element.setAttribute("aria-busy", "true");
  /** @type {HTMLButtonElement} */ (element).disabled = true;
  try {
    await work();
  } finally {
    element.removeAttribute("aria-busy");
    /** @type {HTMLButtonElement} */ (element).disabled = false;
    replace(element, ...before);
  }
}
