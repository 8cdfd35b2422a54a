/** One job: how it goes, what happened to it, what it was asked for, what one can do. */

import { errorCard } from "../components/errorbox.js";
import { tabs } from "../components/tabs.js";
import { get, path } from "../core/api.js";
import { h, replace, setText } from "../core/h.js";
import { poll } from "../core/poller.js";
import { go, link } from "../core/router.js";
import { session } from "../core/session.js";
import { actions } from "./job/actions.js";
import { curves } from "./job/curves.js";
import { eventLog } from "./job/events.js";
import { follow } from "./job/feed.js";
import { head } from "./job/head.js";
import { results } from "./job/results.js";
import { snapshots } from "./job/snapshots.js";
import { specification } from "./job/spec.js";
import { timeline } from "./job/timeline.js";
import { jobWarnings, trouble } from "./job/trouble.js";

const ACTIVE_MS = 2000;
const STREAMING_MS = 10_000;
const ENDED_MS = 15_000;
const CURVES_MS = 3000;
export const ENDED = ["succeeded", "failed", "cancelled"];

/** @param {import("../pages.js").Context} context @returns {Promise<import("../pages.js").View>} */
export async function open({ params, query, signal }) {
  const id = params.id;
  let { data: job, etag } = await get(path`/jobs/${id}`, { signal });
  /** @type {any[]} */
  const events = [];

  const top = head();
  let changes = 0;
  const doing = actions((changed) => {
    changes += 1;
    take(changed, null);
    jobPoller.soon();
  });
  const wrong = trouble();
  const warned = jobWarnings();
  const measured = results();
  const lines = curves(signal);
  const life = timeline();
  const log = eventLog();
  const asked = specification(signal);
  const kept = snapshots();
  const overview = h("div", { class: "columns" }, h("div", { class: "column-wide" }, measured.element, lines.element), h("div", { class: "column" }, life.element));
  const parts = tabs(
    "Parts of the job",
    [
      { name: "overview", title: "Overview", panel: overview },
      { name: "events", title: "Events", panel: h("div", {}, log.element) },
      { name: "spec", title: "Specification", panel: h("div", {}, asked.element) },
      { name: "snapshots", title: "Snapshots", panel: h("div", {}, kept.element) },
    ],
    (tab) => go(link("job", { id }, tab === "overview" ? {} : { tab }), { replace: true }),
  );
  parts.select(query.get("tab") ?? "overview");

  const ended = () => ENDED.includes(job.state);

  /** @param {any} now @param {string | null} tag */
  function take(now, tag) {
    const before = job.state;
    job = now;
    etag = tag;
    show();
    if (before !== job.state) curvePoller.soon();
  }

  function show() {
    const may = session.may("jobs:write");
    top.update(job);
    doing.update(job, may);
    wrong.update(job);
    warned.update(job);
    measured.update(job);
    asked.update(job);
    kept.update(job, events);
    life.update(job, events);
  }

  const curvePoller = poll(
    () => lines.look(id, job),
    { every: () => (ended() ? Infinity : CURVES_MS), signal },
  );
  const feed = follow(id, {
    signal,
    ended,
    onEvents: (fresh) => {
      events.push(...fresh);
      log.update(events);
      life.update(job, events);
      kept.update(job, events);
      jobPoller.soon();
    },
    onProgress: (progress) => {
      job = { ...job, progress };
      top.update(job);
    },
  });
  const jobPoller = poll(
    async () => {
      const before = changes;
      const answer = await get(path`/jobs/${id}`, { etag, signal });
      // What was asked before a change does not undo it.
      if (answer.status !== 304 && changes === before) take(answer.data, answer.etag);
    },
    { every: () => (ended() ? ENDED_MS : feed.live ? STREAMING_MS : ACTIVE_MS), signal },
  );

  show();
  return {
    title: job.name ?? id,
    element: h(
      "div",
      { class: "page" },
      h("div", { class: "page-head" }, top.element, doing.element),
      doing.problems,
      wrong.element,
      warned.element,
      top.facts,
      parts.element,
    ),
    update: (given) => parts.select(given.get("tab") ?? "overview"),
  };
}
