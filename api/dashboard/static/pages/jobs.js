/** Every job: what is training, how it is going, what came of it. */

import { command, empty } from "../components/empty.js";
import { errorCard } from "../components/errorbox.js";
import { pager } from "../components/pager.js";
import { table } from "../components/table.js";
import { get } from "../core/api.js";
import { counted } from "../core/format.js";
import { h, replace, setText } from "../core/h.js";
import { poll } from "../core/poller.js";
import { go, link } from "../core/router.js";
import { filterBar } from "./jobs/filters.js";
import { COLUMNS } from "./jobs/columns.js";
import { Follower } from "./jobs/follower.js";

const EVERY_MS = 2000;

/** @param {import("../pages.js").Context} context @returns {import("../pages.js").View} */
export function open({ query, signal }) {
  const follower = new Follower(query);
  const list = table("Jobs", COLUMNS, (job) => job.id);
  const place = h("div", { class: "list-place jobs" });
  const filters = filterBar((changes) => go(link("jobs", {}, changed(follower.query, changes)), { replace: "search" in changes }));
  const summary = h("p", { class: "muted", role: "status" }, "Loading…");
  const pages = pager("Pages of the list", (cursor) => link("jobs", {}, changed(follower.query, { cursor })));

  function show() {
    const { jobs, next } = follower;
    const cursor = follower.query.get("cursor");
    if (jobs.length > 0) {
      list.update(jobs);
      if (list.element.parentElement !== place) replace(place, list.element);
    } else replace(place, nothing(follower.query));
    setText(summary, `${cursor ? "Older jobs: " : ""}${counted(jobs.length, "job")}${next ? " on this page" : ""}`);
    pages.update(cursor, next);
  }

  const poller = poll(
    async () => {
      try {
        const changed = await follower.look(get, signal);
        if (changed) show();
      } catch (error) {
        if (!follower.loaded && !signal.aborted) {
          setText(summary, "");
          replace(place, errorCard("The jobs cannot be shown", error, { retry: () => poller.soon() }));
        }
        throw error;
      }
    },
    { every: EVERY_MS, signal },
  );

  filters.update(query);
  return {
    title: "Jobs",
    element: h(
      "div",
      { class: "page" },
      h("div", { class: "page-head" }, h("div", { class: "page-head-text" }, h("h1", {}, "Jobs"), summary), newJob()),
      filters.element,
      place,
      pages.element,
    ),
    update(given) {
      follower.query = given;
      filters.update(given);
      poller.soon();
    },
  };
}

function newJob() {
  const address = link("new");
  return address && h("a", { class: "button primary", href: address }, "New job");
}

/** @param {URLSearchParams} query @param {Record<string, string | null>} changes the first page again */
function changed(query, changes) {
  const made = new URLSearchParams(query);
  if (!("cursor" in changes)) made.delete("cursor");
  for (const [name, value] of Object.entries(changes)) {
    if (value) made.set(name, value);
    else made.delete(name);
  }
  return made;
}

/** @param {URLSearchParams} query */
function nothing(query) {
  if ([...query.keys()].length > 0) {
    return empty("No job found.", h("a", { href: link("jobs") }, "Show all jobs"));
  }
  return empty(
    "There are no jobs yet.",
    h("p", {}, "A first one, on the handwritten digits that come with the service:"),
    command("carot run --dataset builtin:digits --preset carot"),
    link("new") && h("p", {}, h("a", { href: link("new") }, "Or set one up here")),
  );
}
