/** What one can do to a job, by its state. */

import { button, busy } from "../../components/button.js";
import { confirm } from "../../components/dialog.js";
import { errorBox } from "../../components/errorbox.js";
import { toast } from "../../components/toast.js";
import { path, post } from "../../core/api.js";
import { number } from "../../core/format.js";
import { h, replace } from "../../core/h.js";
import { link } from "../../core/router.js";
import { changePriority } from "./priority.js";

/**
 * @typedef {{name: string, label: string, states: string[], done: string, failed: string,
 *   danger?: boolean, ask?: (job: any) => Parameters<typeof confirm>[0]}} Action
 */

/** @type {Action[]} */
const ACTIONS = [
  { name: "resume", label: "Resume", states: ["paused"], done: "Back in the queue.", failed: "The job was not resumed" },
  { name: "retry", label: "Retry", states: ["failed", "cancelled"], done: "Queued again.", failed: "The job was not retried" },
  { name: "pause", label: "Pause", states: ["queued", "running"], done: "Pausing.", failed: "The job was not paused" },
  {
    name: "cancel", label: "Cancel", states: ["queued", "running", "pausing", "paused"], done: "Cancelling.",
    failed: "The job was not cancelled", danger: true, ask: question,
  },
];

/** States in which it matters how urgent a job is. */
const WAITING = ["queued", "paused"];

/** @param {any} job @returns {Parameters<typeof confirm>[0]} */
function question(job) {
  const kept = job.snapshot_step
    ? `A retry would go on from its last snapshot, at step ${number(job.snapshot_step)}; what came after that is lost.`
    : "It has no snapshot yet: a retry would begin from the start.";
  return {
    title: "Cancel this job?",
    text: [h("p", {}, h("bdi", {}, job.name ?? job.id)), h("p", {}, job.state === "queued" ? "It has not been started." : kept)],
    yes: "Cancel the job",
    no: "Let it run",
  };
}

/** @param {(job: any) => void} onChange */
export function actions(onChange) {
  const element = h("div", { class: "actions job-actions" });
  let before = "";
  /** @type {any} */
  let job = null;
  const places = ACTIONS.map((each) => errorBox(each.failed));

  /** @param {Action} action @param {number} i @param {HTMLElement} pressed */
  async function act(action, i, pressed) {
    if (action.ask && !(await confirm(action.ask(job)))) return;
    places[i].clear();
    await busy(pressed, async () => {
      try {
        const { data } = await post(path`/jobs/${job.id}/${action.name}`);
        onChange(data);
        toast(data.state === "cancelled" ? "Cancelled." : data.state === "paused" ? "Paused." : action.done);
      } catch (error) {
        places[i].show(error);
      }
    });
  }

  return {
    element,
    problems: h("div", { class: "problems" }, places.map((each) => each.element)),
    /** @param {any} now @param {boolean} may */
    update(now, may) {
      job = now;
      const clone = link("new", {}, { from: job.id });
      const mark = `${job.state} ${may}`;
      if (mark === before) return;
      before = mark;
      const offered = may ? ACTIONS.filter((each) => each.states.includes(job.state)) : [];
      replace(
        element,
        offered.map((each) => {
          const made = button(each.label, () => act(each, ACTIONS.indexOf(each), made), { kind: each.danger ? "danger" : undefined });
          return made;
        }),
        may && WAITING.includes(job.state) && button("Priority", () => changePriority(job, onChange), { name: "Change the priority" }),
        clone && may && h("a", { class: "button", href: clone }, "Clone"),
      );
    },
  };
}
