/** What a job measured in a few numbers, and where to read on. */

import { facts } from "../../components/facts.js";
import { percent } from "../../core/format.js";
import { h, replace } from "../../core/h.js";
import { link } from "../../core/router.js";

export function results() {
  const numbers = facts();
  const links = h("div", { class: "actions" });
  const element = h("section", { class: "card", hidden: true }, h("div", { class: "card-head" }, h("h2", {}, "Results"), links), numbers.element);
  let before = "";
  return {
    element,
    /** @param {any} job */
    update(job) {
      element.hidden = !job.report_id;
      const mark = JSON.stringify([job.report_id, job.checkpoint_id, job.headline]);
      if (mark === before || !job.report_id) return;
      before = mark;
      replace(
        links,
        to("report", job.report_id, "Report", `/reports/${job.report_id}`),
        job.checkpoint_id && to("checkpoint", job.checkpoint_id, "Checkpoint", `/checkpoints/${job.checkpoint_id}`),
        job.checkpoint_id && h("a", { class: "button", href: `/checkpoints/${job.checkpoint_id}/download`, download: true }, "Download"),
      );
      const { headline: found } = job;
      numbers.update(
        found === null
          ? []
          : [
              { name: "ID accuracy", value: percent(found.id_accuracy), hint: "On the data set's own test images" },
              error("ID ECE", found.id_ece, found.id_calibrated_ece),
              { name: "OOD accuracy", value: percent(found.ood_accuracy), hint: "Unweighted mean over the shifted data sets" },
              error("OOD ECE", found.ood_ece, found.ood_calibrated_ece, "; unweighted mean over the shifted data sets"),
            ],
      );
    },
  };
}

/** @param {string} name @param {number | null} raw @param {number | null} calibrated @param {string} [of] what it is a mean of */
function error(name, raw, calibrated, of = "") {
  const hint = `Expected calibration error, over the whole set${of}`;
  if (calibrated == null) return { name, hint, value: percent(raw, 2), note: raw == null ? "" : "not calibrated" };
  return { name, hint, value: percent(calibrated, 2), note: `${percent(raw, 2)} before calibration` };
}

/** To a page, or to the API where this dashboard has no such page. @param {string} page @param {string} id @param {string} text @param {string} api */
function to(page, id, text, api) {
  return h("a", { class: "button", href: link(page, { id }) ?? api }, text);
}
