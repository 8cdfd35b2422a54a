/** What a job is called, in which state it is, and how far. */

import { badge, stateBadge } from "../../components/badge.js";
import { copyButton } from "../../components/button.js";
import { facts } from "../../components/facts.js";
import { bar, doing, share } from "../../components/progress.js";
import { time } from "../../components/time.js";
import { NONE, capital, duration, figure, number, words } from "../../core/format.js";
import { h, replace } from "../../core/h.js";
import { link } from "../../core/router.js";

const HELD = ["running", "pausing", "cancelling"];
const ENDED = ["succeeded", "failed", "cancelled"];

export function head() {
  const title = h("h1", {});
  const under = h("div", { class: "under muted" });
  const progress = h("div", { class: "progress-line" });
  const shown = facts();
  let named = "";
  let moved = "";
  /** @type {boolean | null} whether its training is shown: what was there once stays, so that nothing jumps */
  let followed = null;
  return {
    element: h(
      "div",
      { class: "page-head-text" },
      h("nav", { class: "crumbs", "aria-label": "Where this is" }, h("a", { href: link("jobs") }, "Jobs")),
      title,
      under,
    ),
    facts: h("section", { class: "card facts-card job-facts", "aria-label": "Progress" }, progress, shown.element),
    /** @param {any} job */
    update(job) {
      const name = JSON.stringify([job.name, job.state, job.not_responding_since]);
      if (name !== named) {
        named = name;
        replace(title, h("bdi", {}, job.name ?? job.id), " ", stateBadge(job.state), job.not_responding_since && [" ", badge("not responding", "warn")]);
        replace(under, h("code", {}, job.id), copyButton("", () => job.id, "Copy the job's id"));
      }
      const move = JSON.stringify([job.state, share(job), doing(job)]);
      if (move !== moved) {
        moved = move;
        const active = HELD.includes(job.state) || job.state === "paused";
        followed ??= !ENDED.includes(job.state);
        progress.hidden = !followed;
        replace(progress, bar(job.state === "succeeded" ? 1 : share(job) ?? (active ? null : 0), "Progress"), h("span", {}, capital((active && doing(job)) || job.state)));
      }
      shown.update(told(job, followed === true));
    },
  };
}

/** @param {any} job @param {boolean} followed @returns {import("../../components/facts.js").Fact[]} */
function told(job, followed) {
  const progress = HELD.includes(job.state) ? job.progress : null;
  const trains = followed && job.kind === "finetune";
  /** @type {(import("../../components/facts.js").Fact | false)[]} */
  const all = [
    stands(job),
    trains && { name: "Loss", value: figure(progress?.loss) },
    trains && { name: "Speed", value: progress?.rate == null ? NONE : `${figure(progress.rate)} steps/s`, note: progress?.epoch == null ? "" : `epoch ${number(progress.epoch, 1)}` },
    followed && { name: "Heartbeat", value: progress ? time(job.heartbeat_at) : NONE, mark: [progress && job.heartbeat_at, job.worker], note: job.worker && h("bdi", { title: job.worker }, job.worker) },
    { name: "Kind", value: words(job.kind), note: job.method ? `${words(job.method)}${job.spec.adapters ? ", LoRA" : ""}` : NONE },
    { name: "Data set", value: h("bdi", {}, job.dataset), mark: job.dataset },
    { name: "Attempts", value: `${job.attempts} of ${job.max_attempts}`, note: job.retries ? `retried ${job.retries === 1 ? "once" : `${job.retries} times`}` : "" },
    { name: "Running for", value: duration(job.seconds_spent), hint: "All attempts since the last retry", note: job.max_seconds ? `of at most ${duration(job.max_seconds)}` : "" },
    { name: "Created", value: time(job.created_at), mark: job.created_at },
  ];
  return /** @type {any} */ (all.filter(Boolean));
}

/** When it begins, ends or ended: one fact at a time. @param {any} job @returns {import("../../components/facts.js").Fact | false} */
function stands(job) {
  if (job.state === "queued") return { name: "Queue position", value: job.queue_position ? `number ${number(job.queue_position)}` : NONE, note: `queue ${job.queue}, priority ${job.priority}` };
  if (job.finished_at) return { name: "Ended", value: time(job.finished_at), mark: job.finished_at };
  return { name: "Time left", value: HELD.includes(job.state) ? duration(job.progress?.eta_seconds) : NONE, hint: "Of the current phase, at the current speed" };
}
