/** Tables that are changed in place, can be copied, and become cards where it is narrow. */

import { NONE } from "../core/format.js";
import { h, reconcile, replace } from "../core/h.js";
import { copyButton } from "./button.js";

/**
 * @template T
 * @typedef {object} Column
 * @property {string} title
 * @property {(item: T) => any} value what the cell depends on, as plain data: it is drawn again only
 *   when this changes
 * @property {(value: any, item: T) => import("../core/h.js").Child} [render] by default the value
 * @property {(value: any, item: T) => string | number | null} [csv] by default the value
 * @property {string[]} [csvTitles] where a cell is several columns of CSV; `csv` gives a list then
 * @property {string} [kind] `number`, `main` (the heading of its row) or `wide`
 * @property {string} [hint] on hover of the heading
 */

/**
 * A table.
 * @template T
 * @param {string} caption
 * @param {Column<T>[]} columns
 * @param {(item: T) => string} key
 * @param {{stack?: boolean, copy?: boolean}} [options] `stack`: cards where it is narrow
 * @returns {{element: HTMLElement, copy: HTMLElement, update(items: T[]): void}}
 */
export function table(caption, columns, key, { stack = true, copy = true } = {}) {
  /** @type {T[]} */
  let shown = [];
  const body = h("tbody", { role: "rowgroup" });
  const copying = copyButton("Copy as CSV", () => csv(columns, shown), `Copy ${caption} as CSV`);
  const element = h(
    "div",
    { class: ["table-place", stack && "stack"], tabindex: stack ? null : 0, role: stack ? null : "region", "aria-label": stack ? null : caption },
    h(
      // Roles are said, since cards would take them away.
      "table",
      { role: "table" },
      h("caption", { class: "visually-hidden" }, caption),
      h(
        "thead",
        { role: "rowgroup" },
        h("tr", { role: "row" }, columns.map((each) => h("th", { role: "columnheader", scope: "col", class: each.kind, title: each.hint }, each.title))),
      ),
      body,
    ),
    copy && h("div", { class: "table-foot" }, copying),
  );
  return {
    element,
    copy: copying,
    update(items) {
      shown = items;
      reconcile(body, items, key, () => row(columns));
    },
  };
}

/** @template T @param {Column<T>[]} columns */
function row(columns) {
  /** @type {(string | undefined)[]} */
  const before = columns.map(() => undefined);
  const cells = columns.map((column) =>
    column.kind === "main"
      ? h("th", { role: "rowheader", scope: "row", class: "main" })
      : h("td", { role: "cell", class: column.kind, "data-title": column.title }),
  );
  return {
    element: h("tr", { role: "row" }, cells),
    /** @param {T} item */
    update(item) {
      columns.forEach((column, i) => {
        const value = column.value(item);
        const mark = JSON.stringify(value);
        if (mark === before[i] && mark !== undefined) return;
        before[i] = mark;
        replace(cells[i], column.render ? column.render(value, item) : value);
        cells[i].classList.toggle("bare", cells[i].textContent === NONE);
      });
    },
  };
}

/** @template T @param {Column<T>[]} columns @param {T[]} items */
export function csv(columns, items) {
  const titles = columns.flatMap((each) => each.csvTitles ?? [each.title]);
  const lines = items.map((item) =>
    columns.flatMap((column) => {
      const value = column.value(item);
      return column.csv ? column.csv(value, item) : value;
    }),
  );
  return [titles, ...lines].map((line) => line.map(field).join(",")).join("\r\n") + "\r\n";
}

/** Text that a spreadsheet would take for a formula gets a mark before it. @param {any} value */
function field(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return String(value);
  const text = /^[=+\-@\t\r]/.test(String(value)) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
