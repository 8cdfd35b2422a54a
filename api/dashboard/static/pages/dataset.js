/** One data set: its images, how many of each class lie in which split, what was left out. */

import { button } from "../components/button.js";
import { confirm } from "../components/dialog.js";
import { errorBox } from "../components/errorbox.js";
import { facts } from "../components/facts.js";
import { table } from "../components/table.js";
import { tabs } from "../components/tabs.js";
import { time } from "../components/time.js";
import { toast } from "../components/toast.js";
import { warnings } from "../components/warnings.js";
import { get, path, request } from "../core/api.js";
import { bytes, counted, number } from "../core/format.js";
import { h } from "../core/h.js";
import { go, link } from "../core/router.js";
import { session } from "../core/session.js";
import { SPLITS, inSplit, sourceName } from "./datasets/data.js";
import { nearCopies } from "./datasets/near.js";
import { samples } from "./datasets/samples.js";

/** @param {import("../pages.js").Context} context @returns {Promise<import("../pages.js").View>} */
export async function open({ params, query, signal }) {
  const { data: dataset } = await get(path`/datasets/${params.id}`, { signal });
  const numbers = facts();
  numbers.update([
    { name: "From", value: h("bdi", {}, sourceName(dataset)) },
    { name: "Classes", value: number(dataset.classes.length) },
    { name: "Images", value: number(dataset.images) },
    ...SPLITS.map((split) => ({ name: split, value: number(inSplit(dataset, split)), note: inSplit(dataset, split) === 0 ? "none of its own" : "" })),
    { name: "Size", value: dataset.bytes > 0 ? bytes(dataset.bytes) : "–" },
    { name: "Created", value: time(dataset.created_at), mark: dataset.created_at },
  ]);
  const wrong = errorBox("The data set was not deleted");
  const parts = tabs(
    "Parts of the data set",
    [
      { name: "samples", title: "Images", panel: h("div", {}, dataset.deleted_at ? h("p", {}, "Its images were deleted ", time(dataset.deleted_at, "at"), ".") : samples(dataset, signal)) },
      { name: "classes", title: "Classes", panel: h("div", {}, classes(dataset)) },
      ...(dataset.near_copies > 0 && !dataset.deleted_at ? [{ name: "near", title: `Look-alikes (${number(dataset.near_copies)})`, panel: h("div", {}, nearCopies(dataset, signal)) }] : []),
    ],
    (tab) => go(link("dataset", { id: dataset.id }, tab === "samples" ? {} : { tab }), { replace: true }),
  );
  parts.select(query.get("tab") ?? "samples");

  async function remove() {
    const yes = await confirm({ title: "Delete this data set?", text: [h("p", {}, h("bdi", {}, dataset.name)), h("p", {}, `Its ${counted(dataset.images, "image")} are deleted for good; its description stays.`)], yes: "Delete it" });
    if (!yes) return;
    wrong.clear();
    try {
      await request("DELETE", path`/datasets/${dataset.id}`, { signal });
      toast("Deleted.");
      go(link("datasets"));
    } catch (error) {
      if (!signal.aborted) wrong.show(error);
    }
  }

  const may = session.may("jobs:write");
  const newJob = link("new", {}, { dataset: dataset.id });
  return {
    title: dataset.name,
    element: h(
      "div",
      { class: "page" },
      h(
        "div",
        { class: "page-head" },
        h("div", { class: "page-head-text" }, h("p", { class: "crumbs" }, h("a", { href: link("datasets") }, "Data sets")), h("h1", {}, h("bdi", {}, dataset.name)), h("p", { class: "under muted mono" }, dataset.id)),
        h("div", { class: "actions" }, may && newJob && h("a", { class: "button primary", href: newJob }, "Train on it"), may && !dataset.deleted_at && button("Delete", remove, { kind: "danger" })),
      ),
      wrong.element,
      warnings(dataset.warnings, unreadable(dataset)),
      h("section", { class: "card" }, numbers.element),
      parts.element,
    ),
    update: (given) => parts.select(given.get("tab") ?? "samples"),
  };
}

/** @param {any} dataset */
function unreadable({ unreadable: all = [], unreadable_images: count = 0 }) {
  if (all.length === 0) return null;
  return h("details", {}, h("summary", {}, `${counted(count, "image")} that cannot be read`), h("pre", {}, all.join("\n")));
}

/** @param {any} dataset */
function classes(dataset) {
  const there = SPLITS.filter((split) => dataset.splits[split]);
  const list = table(
    "Classes",
    [
      { title: "Class", kind: "main", value: (row) => row.name, render: (name) => h("bdi", {}, name) },
      ...there.map((split) => ({ title: split, kind: "number", value: (/** @type {any} */ row) => row.counts[split], render: (/** @type {number} */ count) => number(count) })),
      { title: "All", kind: "number", value: (row) => row.all, render: (count) => number(count) },
    ],
    (row) => String(row.index),
  );
  list.update(
    dataset.classes.map((/** @type {string} */ name, /** @type {number} */ index) => {
      const counts = Object.fromEntries(there.map((split) => [split, dataset.splits[split][name] ?? 0]));
      return { name, index, counts, all: Object.values(counts).reduce((sum, count) => sum + count, 0) };
    }),
  );
  return list.element;
}
