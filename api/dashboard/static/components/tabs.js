/** Tabs: one panel at a time, by arrow keys as well. */

import { h } from "../core/h.js";

/**
 * @param {string} label of all of them
 * @param {{name: string, title: string, panel: HTMLElement}[]} tabs
 * @param {(name: string) => void} [onChange] somebody chose one
 * @returns {{element: HTMLElement, select(name: string): void}}
 */
export function tabs(label, tabs, onChange = () => {}) {
  const buttons = tabs.map(({ name, title }, i) =>
    h(
      "button",
      {
        type: "button", role: "tab", id: `tab-${name}`, "aria-controls": `panel-${name}`, class: "tab",
        on: { click: () => choose(name), keydown: (/** @type {KeyboardEvent} */ event) => onKey(event, i) },
      },
      title,
    ),
  );
  for (const { name, panel } of tabs) {
    panel.id = `panel-${name}`;
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", `tab-${name}`);
  }

  /** @param {string} name */
  function select(name) {
    const known = tabs.some((each) => each.name === name) ? name : tabs[0].name;
    tabs.forEach((each, i) => {
      const chosen = each.name === known;
      buttons[i].setAttribute("aria-selected", String(chosen));
      buttons[i].tabIndex = chosen ? 0 : -1;
      each.panel.hidden = !chosen;
    });
  }

  /** @param {string} name */
  function choose(name) {
    select(name);
    onChange(name);
  }

  /** @param {KeyboardEvent} event @param {number} i */
  function onKey(event, i) {
    const to = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = (to + tabs.length) % tabs.length;
    choose(tabs[next].name);
    buttons[next].focus();
  }

  select(tabs[0].name);
  return {
    element: h("div", { class: "tabs" }, h("div", { class: "tab-list", role: "tablist", "aria-label": label }, buttons), tabs.map((each) => each.panel)),
    select,
  };
}
