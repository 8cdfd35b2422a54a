/** What the list says of a job. */

import { badge, stateBadge } from "../../components/badge.js";
import { bar, doing, share } from "../../components/progress.js";
import { time } from "../../components/time.js";
import { warningBadge } from "../../components/warnings.js";
import { NONE, duration, number, percent, words } from "../../core/format.js";
import { h } from "../../core/h.js";
import { link } from "../../core/router.js";

const HELD = ["running", "pausing", "cancelling"];

/** Seconds that a job ran, from its first start to its end. @param {any} job */
export function took(job) {
  return job.started_at && job.finished_at ? (Date.parse(job.finished_at) - Date.parse(job.started_at)) / 1000 : null;
}

/** @param {string} title @param {string} name @param {string} hint @returns {import("../../components/table.js").Column<any>} */
function measured(title, name, hint) {
  const isError = name.endsWith("ece");
  return {
    title,
    hint,
    kind: "number",
    csvTitles: isError ? [`${title}, raw`, `${title}, calibrated`] : [title],
    value: (job) => job.headline && [job.headline[name], job.headline[name.replace("ece", "calibrated_ece")]],
    render: (found) => (found === null ? h("span", { class: "muted" }, NONE) : isError ? error(found) : percent(found[0])),
    csv: (found) => /** @type {any} */ (isError ? (found ?? [null, null]) : (found?.[0] ?? null)),
  };
}

/** As served: calibrated where there is a calibrator. @param {(number | null)[]} found */
function error([raw, calibrated]) {
  if (calibrated == null) return h("span", { title: "raw: not calibrated" }, percent(raw, 2));
  return h("span", { title: `${percent(raw, 2)} before calibration` }, percent(calibrated, 2));
}

/** @type {import("../../components/table.js").Column<any>[]} */
export const COLUMNS = [
  {
    title: "Job",
    kind: "main",
    csvTitles: ["id", "name", "data set"],
    value: (job) => [job.id, job.name, job.dataset],
    render: ([id, name, dataset]) => [
      h("a", { class: "job-name", title: name ?? id, href: link("job", { id }) }, h("bdi", {}, name ?? id)),
      h("span", { class: "job-under muted" }, h("bdi", {}, dataset)),
    ],
    csv: (value) => value,
  },
  {
    title: "State",
    csvTitles: ["state", "warnings"],
    value: (job) => [job.state, job.not_responding_since, job.warnings],
    render: ([state, silent, warnings]) => [stateBadge(state), silent && [" ", badge("not responding", "warn")], warnings.length > 0 && [" ", warningBadge(warnings)]],
    csv: ([state, , warnings]) => [state, warnings.length],
  },
  {
    title: "Progress",
    kind: "progress",
    csvTitles: ["done"],
    value: (job) => [job.state, share(job), doing(job), took(job), job.error?.message ?? null, job.queue_position, job.queue],
    render: ([state, part, text, seconds, why, place, queue]) => {
      if (HELD.includes(state)) return [bar(part, "Progress"), h("span", { class: "job-under muted" }, text)];
      if (state === "queued") return [h("span", {}, place ? `position ${number(place)}` : "waiting"), h("span", { class: "job-under muted" }, `queue ${queue}`)];
      if (state === "paused") return [bar(part, "Progress"), h("span", { class: "job-under muted" }, "paused")];
      if (state === "failed") return h("span", { class: "job-why", title: why }, why);
      return h("span", { class: "muted" }, seconds === null ? NONE : `took ${duration(seconds)}`);
    },
    csv: ([, part]) => part,
  },
  {
    title: "Left",
    kind: "number",
    csvTitles: ["seconds left"],
    hint: "Of the current phase, at the current speed",
    value: (job) => (HELD.includes(job.state) ? (job.progress?.eta_seconds ?? null) : null),
    render: (seconds) => (seconds === null ? h("span", { class: "muted" }, NONE) : duration(seconds)),
  },
  {
    title: "Heartbeat",
    kind: "number",
    csvTitles: ["heartbeat"],
    hint: "Time since the last heartbeat of its worker",
    value: (job) => job.heartbeat_at,
    render: (moment) => time(moment, "age"),
  },
  {
    title: "Method",
    csvTitles: ["method"],
    value: (job) => job.method ?? job.kind,
    render: (method) => h("span", { class: "nowrap" }, words(method)),
  },
  measured("ID acc.", "id_accuracy", "Accuracy on the data set's own test images"),
  measured("ID ECE", "id_ece", "Expected calibration error there, as served: calibrated where there is a calibrator"),
  measured("OOD acc.", "ood_accuracy", "Accuracy, unweighted mean over the shifted data sets"),
  measured("OOD ECE", "ood_ece", "Expected calibration error, as served; unweighted mean over the shifted data sets"),
  {
    title: "Created",
    kind: "number",
    csvTitles: ["created at"],
    value: (job) => job.created_at,
    render: (moment) => time(moment),
  },
];
