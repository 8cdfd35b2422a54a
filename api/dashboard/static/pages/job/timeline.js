/** The life of a job: from state to state, by attempts, and why. */

import { stateBadge } from "../../components/badge.js";
import { exact, time } from "../../components/time.js";
import { capital, duration, words } from "../../core/format.js";
import { h, reconcile, replace, setText } from "../../core/h.js";

const ALSO = new Set(["phase_started", "not_responding", "responding", "priority"]);

export function timeline() {
  const list = h("ol", { class: "timeline" });
  let stands = "";
  return {
    element: h("section", { class: "card" }, h("div", { class: "card-head" }, h("h2", {}, "Timeline")), list),
    /** @param {any} job @param {any[]} events */
    update(job, events) {
      const steps = events.filter((each) => each.type === "state" || ALSO.has(each.type));
      const mark = `${steps.length} ${steps.at(-1)?.seq} ${job.state}`;
      if (mark === stands) return;
      stands = mark;
      const states = steps.filter((each) => each.type === "state");
      const until = new Map(states.map((each, i) => [each.seq, states[i + 1]?.created_at ?? null]));
      reconcile(list, [...steps].reverse().map((event) => ({ event, until: until.get(event.seq) })), (each) => String(each.event.seq), entry);
    },
  };
}

/** @param {{event: any}} first */
function entry({ event }) {
  const isState = event.type === "state";
  const lasted = h("span", { class: "muted" });
  const reason = event.data?.exit?.message ?? event.message;
  const element = h(
    "li",
    { class: isState ? "timeline-state" : "timeline-note" },
    h(
      "div",
      { class: "timeline-head" },
      isState ? stateBadge(event.data.state) : h("span", {}, said(event)),
      lasted,
      time(event.created_at),
    ),
    isState && reason && h("p", { class: "timeline-why" }, capital(reason)),
    isState && attempt(event) && h("p", { class: "muted timeline-why" }, attempt(event)),
  );
  return {
    element,
    /** @param {any} given */
    update({ until }) {
      const text = isState && until ? `for ${duration((Date.parse(until) - Date.parse(event.created_at)) / 1000)}` : "";
      setText(lasted, text);
    },
  };
}

/** @param {any} event */
function attempt({ data }) {
  if (data.state !== "running") return "";
  return `attempt ${data.attempts}${data.transition === "take_over" ? ", taken over from a worker that stopped responding" : ""}`;
}

/** @param {any} event */
function said(event) {
  if (event.type === "phase_started") return capital(words(event.data?.phase ?? event.message));
  return capital(event.message || words(event.type));
}
