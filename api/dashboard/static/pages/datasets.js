/** What there is to train on. */

import { command, empty } from "../components/empty.js";
import { errorCard } from "../components/errorbox.js";
import { pager } from "../components/pager.js";
import { table } from "../components/table.js";
import { time } from "../components/time.js";
import { warningBadge } from "../components/warnings.js";
import { get } from "../core/api.js";
import { NONE, bytes, counted, number } from "../core/format.js";
import { h, replace, setText } from "../core/h.js";
import { poll } from "../core/poller.js";
import { link } from "../core/router.js";
import { SPLITS, inSplit, sourceName } from "./datasets/data.js";

const EVERY_MS = 15_000;
const SHOWN = 50;

/** @type {import("../components/table.js").Column<any>[]} */
const COLUMNS = [
  { title: "Data set", kind: "main", value: (row) => [row.name, row.id], render: ([name, id]) => [h("a", { class: "job-name", href: link("dataset", { id }) }, h("bdi", {}, name)), h("span", { class: "job-under muted mono" }, id)], csvTitles: ["name", "id"], csv: (/** @type {any} */ both) => both },
  { title: "From", value: (row) => sourceName(row), render: (text) => h("bdi", {}, text) },
  { title: "Classes", kind: "number", value: (row) => row.classes.length, render: (count) => number(count) },
  ...SPLITS.map((split) => ({
    title: split, kind: "number", hint: `Images of the ${split} split`, value: (/** @type {any} */ row) => inSplit(row, split), render: (/** @type {number} */ count) => (count > 0 ? number(count) : NONE),
  })),
  { title: "Size", kind: "number", value: (row) => row.bytes, render: (size) => (size > 0 ? bytes(size) : NONE) },
  { title: "Warnings", value: (row) => row.warnings, render: (all) => warningBadge(all) ?? NONE, csv: (all) => all.map((/** @type {any} */ each) => each.message).join("; ") },
  { title: "Created", value: (row) => row.created_at, render: (moment) => time(moment) },
];

/** @param {import("../pages.js").Context} context @returns {import("../pages.js").View} */
export function open({ query, signal }) {
  const list = table("Data sets", COLUMNS, (row) => row.id);
  const place = h("div", { class: "list-place datasets" });
  const summary = h("p", { class: "muted", role: "status" }, "Loading…");
  const pages = pager("Pages of the list", (cursor) => link("datasets", {}, { cursor }));
  const cursor = query.get("cursor");
  let loaded = false;

  const poller = poll(
    async () => {
      try {
        const { data } = await get("/datasets", { query: { limit: SHOWN, cursor }, signal });
        loaded = true;
        list.update(data.data);
        setText(summary, `${counted(data.data.length, "data set")}${data.next_cursor ? " on this page" : ""}`);
        if (data.data.length === 0) replace(place, nothing());
        else if (list.element.parentElement !== place) replace(place, list.element);
        pages.update(cursor, data.next_cursor);
      } catch (error) {
        if (!loaded && !signal.aborted) {
          setText(summary, "");
          replace(place, errorCard("The data sets cannot be shown", error, { retry: () => poller.soon() }));
        }
        throw error;
      }
    },
    { every: EVERY_MS, signal },
  );

  return { title: "Data sets", element: h("div", { class: "page" }, h("div", { class: "page-head" }, h("div", { class: "page-head-text" }, h("h1", {}, "Data sets"), summary)), place, pages.element) };
}

function nothing() {
  const address = link("new");
  return empty(
    "There are no data sets yet.",
    h("p", {}, "Upload a folder of images, one folder for each class. The handwritten digits need no upload: they are builtin:digits."),
    command("carot datasets push FOLDER"),
    address && h("p", {}, h("a", { href: address }, "Or drop one into a new job")),
  );
}
