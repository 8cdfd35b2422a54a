/** Why a job failed, or why its last attempt ended, in plain words. */

import { warnings } from "../../components/warnings.js";
import { capital, words } from "../../core/format.js";
import { h, replace } from "../../core/h.js";

/** @type {Record<string, string>} */
const ADVICE = {
  out_of_memory: "It needed more memory than was available. A smaller batch size needs less.",
  cuda_error: "The GPU reported an error. If it happens again on the same worker, check that GPU.",
  worker_lost: "Its worker sent no heartbeat until its lease ended: the machine or its network may be down.",
  worker_stopped: "Its worker was shut down. No attempt was lost, and it goes on from its snapshot elsewhere.",
  time_limit: "It reached its time limit. A retry goes on from its last snapshot, with as much time again.",
  signal: "Something ended the trainer from outside. If nobody did, the system may have been out of memory.",
};

export function trouble() {
  const element = h("div", { class: "gone" });
  let before = "";
  return {
    element,
    /** @param {any} job */
    update(job) {
      const mark = JSON.stringify([job.state, job.error, job.last_exit]);
      if (mark === before) return;
      before = mark;
      replace(element, job.error ? failed(job) : job.last_exit && ended(job.last_exit, job.state));
    },
  };
}

/** What the run warned of; a job that succeeded has some, too. */
export function jobWarnings() {
  const element = h("div", { class: "gone" });
  let before = "";
  return {
    element,
    /** @param {any} job */
    update(job) {
      const mark = JSON.stringify(job.warnings);
      if (mark === before) return;
      before = mark;
      replace(element, warnings(job.warnings));
    },
  };
}

/** @param {any} job */
function failed({ error, last_exit: exit }) {
  const sameWords = exit && exit.message === error.message;
  return h(
    "section",
    { class: "error-box", "aria-label": "Why it failed" },
    h(
      "div",
      { class: "error-text" },
      h("p", {}, h("strong", {}, "It failed: "), stop(error.message ?? words(error.code ?? "without a reason"))),
      error.field && h("p", {}, "Look at ", h("code", {}, error.field), "."),
      exit && !sameWords && h("p", {}, "The last attempt: ", stop(exit.message)),
      advice(exit?.reason ?? error.code),
      error.names?.length > 0 && h("details", {}, h("summary", {}, "Files in question"), h("ul", {}, error.names.map((/** @type {string} */ name) => h("li", {}, h("bdi", { class: "mono" }, name))))),
      exit && lastWords(exit),
    ),
  );
}

/** @param {any} exit @param {string} state */
function ended(exit, state) {
  return h(
    "section",
    { class: "note-box", "aria-label": "Its last attempt" },
    h(
      "div",
      { class: "error-text" },
      h("p", {}, h("strong", {}, "An attempt ended before the job did: "), stop(exit.message), state === "queued" && " It is queued again."),
      advice(exit.reason),
      lastWords(exit),
    ),
  );
}

/** @param {string | undefined} reason */
const advice = (reason) => reason && ADVICE[reason] && h("p", { class: "muted" }, ADVICE[reason]);

/** @param {any} exit */
function lastWords(exit) {
  if (!exit.last_words) return null;
  return h("details", {}, h("summary", {}, "Last output of the trainer"), h("pre", { tabindex: 0 }, exit.last_words));
}

/** @param {string} text as a sentence */
function stop(text) {
  const whole = capital(text.trim());
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}
