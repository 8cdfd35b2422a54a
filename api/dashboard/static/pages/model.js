/** One model: where its name points, whether its confidences hold, and what can be done about it. */

import { badge } from "../components/badge.js";
import { errorCard } from "../components/errorbox.js";
import { facts } from "../components/facts.js";
import { tabs } from "../components/tabs.js";
import { time } from "../components/time.js";
import { warnings } from "../components/warnings.js";
import { get, path } from "../core/api.js";
import { percent } from "../core/format.js";
import { h, replace } from "../core/h.js";
import { poll } from "../core/poller.js";
import { go, link } from "../core/router.js";
import { session } from "../core/session.js";
import { calibratorName, checkpoint, checkpointName, headline, verdict } from "./models/data.js";
import { moving } from "./models/history.js";
import { live } from "./models/live.js";
import { logging } from "./models/logging.js";
import { recalibration, versions } from "./models/recalibrate.js";

const EVERY_MS = 5000;

/** @param {import("../pages.js").Context} context @returns {Promise<import("../pages.js").View>} */
export async function open({ params, query, signal }) {
  const { alias } = params;
  let { data: model } = await get(path`/models/${alias}`, { signal });

  const state = h("span", {});
  const target = facts();
  const now = live(alias, () => poller.soon());
  const kept = versions(alias, signal, take);
  const moves = moving(alias, signal, take);
  const log = logging(alias, signal, take);
  const failed = h("div", { class: "gone" });
  const warned = h("div", { class: "gone" });
  const parts = tabs(
    "Parts of the model",
    [
      { name: "live", title: "Live calibration", panel: now.element },
      { name: "calibrators", title: "Calibrators", panel: h("div", { class: "stack-gap wide-gap" }, recalibration(alias, signal, take), kept.element) },
      { name: "history", title: "Promote and roll back", panel: moves.element },
      { name: "log", title: "Prediction log", panel: log.element },
    ],
    (tab) => go(link("model", { alias }, tab === "live" ? {} : { tab }), { replace: true }),
  );
  parts.select(query.get("tab") ?? "live");

  /** The model points elsewhere. @param {any} changed */
  function take(changed) {
    model = changed;
    show();
    poller.soon();
  }

  async function show() {
    log.update(model);
    try {
      const mine = model;
      const made = await checkpoint(mine.checkpoint_id);
      if (mine !== model) return; // it was moved meanwhile, and is shown by that
      target.update(figures(model, made));
      replace(warned, warnings(made.warnings));
      await Promise.all([kept.look(model), moves.look(model)]);
      replace(failed);
    } catch (error) {
      if (!signal.aborted) replace(failed, errorCard("Some parts cannot be shown", error, { retry: show }));
    }
  }

  let shown = "";
  const poller = poll(
    async () => {
      const before = model;
      const [told, found] = await Promise.all([
        get(path`/models/${alias}`, { signal }),
        get(path`/models/${alias}/calibration`, { query: { last: now.size.value }, signal }),
      ]);
      if (model !== before) return; // what was asked before a change does not undo it
      const moved = JSON.stringify(told.data) !== JSON.stringify(model);
      if (moved) {
        model = told.data;
        show();
      }
      now.update(found.data);
      const said = verdict(found.data);
      if (JSON.stringify(said) !== shown) {
        shown = JSON.stringify(said);
        const made = badge(said.label, said.tone);
        made.title = said.text;
        replace(state, made);
      }
    },
    { every: EVERY_MS, signal },
  );

  await show(); // a page is opened whole
  return {
    title: alias,
    element: h(
      "div",
      { class: "page" },
      h(
        "div",
        { class: "page-head" },
        h("div", { class: "page-head-text" }, h("p", { class: "crumbs" }, h("a", { href: link("models") }, "Models")), h("h1", {}, h("bdi", {}, alias), state)),
        h("div", { class: "actions" }, session.may("predict") && h("a", { class: "button", href: link("try", {}, { model: alias }) }, "Try it")),
      ),
      failed,
      warned,
      h("section", { class: "card facts-card target" }, target.element),
      parts.element,
    ),
    update: (given) => parts.select(given.get("tab") ?? "live"),
  };
}

/** @param {any} model @param {any} made its checkpoint */
function figures(model, made) {
  const found = headline(made);
  const raw = (/** @type {number | null} */ share) => (share === null ? "" : `${percent(share, 2)} before calibration`);
  return [
    { name: "Checkpoint", value: h("a", { href: link("job", { id: made.job_id }) }, h("bdi", {}, checkpointName(made))), note: h("span", { class: "mono" }, made.id), mark: [made.id] },
    { name: "Calibrator", value: calibratorName(model.calibrator_id), mark: [model.calibrator_id] },
    { name: "In use since", value: time(model.updated_at), mark: [model.updated_at] },
    { name: "ID accuracy", value: percent(found.idAccuracy), hint: "On the data set's own test images" },
    { name: "ID ECE", value: percent(found.idEce, 2), note: raw(found.idRawEce) },
    { name: "OOD accuracy", value: percent(found.oodAccuracy), hint: "Unweighted mean over the shifted data sets" },
    { name: "OOD ECE", value: percent(found.oodEce, 2), note: raw(found.oodRawEce) },
  ];
}
