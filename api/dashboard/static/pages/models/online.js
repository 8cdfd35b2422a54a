/** How often prediction sets hold the right class whose threshold follows the labels. */

import { facts } from "../../components/facts.js";
import { NONE, figure, number, percent } from "../../core/format.js";
import { h } from "../../core/h.js";

const RECENT = 300; // labels that `lately` is about, at most

export function online() {
  const levels = facts();
  return {
    element: h(
      "section",
      { class: "card stack-gap" },
      h("h2", {}, "Sets that follow labels"),
      levels.element,
      h("p", { class: "muted" }, "Every label moves the threshold, so that sets keep their coverage in the long run also under shift. ", h("code", {}, "set_method: online"), " asks for them."),
    ),
    /** @param {any[]} all `online` of `GET /models/{alias}/calibration` */
    update: (all) => levels.update(all.map(level)),
  };
}

/** @param {any} of */
function level(of) {
  const name = `Coverage ${percent(of.coverage, 0)}`;
  const hint = "Share of all labels since the model moved that were in their set, each by the threshold before it";
  if (of.labels === 0) return { name, hint, value: NONE, note: "no labels yet" };
  const last = `${percent(of.lately)} of the last ${number(Math.min(of.labels, RECENT))}`;
  return { name, hint, value: `${percent(of.long_run)} held`, note: `${last}; threshold ${figure(of.threshold)} nats after ${number(of.labels)} labels` };
}
