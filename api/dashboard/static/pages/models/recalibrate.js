/** Another calibrator from labels: first what it would bring, then using it. Versions there are. */

import { badge } from "../../components/badge.js";
import { button, busy } from "../../components/button.js";
import { confirm } from "../../components/dialog.js";
import { empty } from "../../components/empty.js";
import { errorBox } from "../../components/errorbox.js";
import { facts } from "../../components/facts.js";
import { choice, failFields, labelled } from "../../components/labelled.js";
import { pager } from "../../components/pager.js";
import { table } from "../../components/table.js";
import { time } from "../../components/time.js";
import { toast } from "../../components/toast.js";
import { get, path, post, request } from "../../core/api.js";
import { number, words } from "../../core/format.js";
import { h, replace } from "../../core/h.js";
import { session } from "../../core/session.js";

const SHOWN = 20;
const KINDS = ["temperature", "smoothed_temperature", "top_versus_all", "ensemble_temperature", "isotonic", "vector"];

/**
 * @param {string} alias @param {AbortSignal} signal
 * @param {(model: any) => void} onMoved the model uses another calibrator
 */
export function recalibration(alias, signal, onMoved) {
  const kind = choice("Kind of calibrator", [["", "same as now"], ["auto", "auto: the best by cross-validation"], ...KINDS.map((each) => /** @type {[string, string]} */ ([each, words(each)]))], forget);
  const last = /** @type {HTMLInputElement} */ (h("input", { class: "input", type: "number", min: 1, max: 100000, value: "20000", on: { input: forget } }));
  const fields = {
    kind: labelled("Kind", kind, { hint: "Kind of calibrator that is fitted." }),
    last: labelled("Labels", last, { hint: "Maximum number; the newest are used." }),
  };
  const wrong = errorBox("Not recalibrated");
  const result = facts();
  const words_ = h("p", {});
  const trying = button("Dry run", () => busy(trying, () => run(true)));
  const using = button("Use it", use, { kind: "primary" });
  const found = h("div", { class: "stack-gap", role: "status" }, words_, result.element);
  const may = session.may("jobs:write");
  found.hidden = using.hidden = true;

  /** What was tried is of other settings by now. */
  function forget() {
    found.hidden = using.hidden = true;
  }

  async function use() {
    const yes = await confirm({
      title: "Recalibrate this model?", danger: false, yes: "Recalibrate", no: "Cancel",
      text: [h("p", {}, h("bdi", {}, alias), " gets the new calibrator if it is better on the labels held out."), h("p", { class: "muted" }, "Every version is kept: you can go back to this one. Evidence and open alerts are reset.")],
    });
    if (yes) await busy(using, () => run(false));
  }

  /** @param {boolean} dry */
  async function run(dry) {
    wrong.clear();
    try {
      const body = { dry_run: dry, last: Number(last.value), ...(kind.value ? { kind: kind.value } : {}) };
      const { data } = await post(path`/models/${alias}/recalibrate`, body, { signal });
      failFields(null, fields);
      show(data, dry);
      if (data.moved) {
        toast("Recalibrated.");
        onMoved(data.model);
      }
    } catch (error) {
      if (signal.aborted) return;
      forget();
      if (!failFields(error, fields)) wrong.show(error);
    }
  }

  /** @param {any} data @param {boolean} dry */
  function show(data, dry) {
    found.hidden = false;
    using.hidden = !dry || !data.improves;
    replace(
      words_,
      h("strong", {}, data.moved ? "It is used from now on. " : data.improves ? "It would be better. " : "It is not shown to be better: nothing was changed. "),
      (data.warnings ?? []).map((/** @type {any} */ each) => [h("strong", {}, `${each.message}. `), each.action, " "]),
      data.improves ? "The gain is above 0 with 95 % confidence, on labels that were held out." : "More labels may show a gain; each further try adds to the risk of a false one.",
    );
    const [low, high] = data.gain_interval;
    result.update([
      { name: "Kind", value: words(data.kind) },
      { name: "NLL as served", value: number(data.nll_before, 4), hint: "Mean negative log-likelihood on held-out labels, nats", note: `on ${number(data.held_out)} labels held out` },
      { name: "NLL of the new one", value: number(data.nll_after, 4), hint: "On the same labels", note: `fitted on ${number(data.fitted_on)} others` },
      { name: "Gain", value: number(data.gain, 4), hint: "Before minus after: above 0 it is better", note: `${number(low, 4)} to ${number(high, 4)}, 95 %` },
    ]);
  }

  return h(
    "section",
    { class: "card stack-gap" },
    h("h2", {}, "Recalibrate"),
    h("p", { class: "muted" }, "Fits a calibrator on half of the labels and judges it on the other half. It corrects confidences; it does not make answers better."),
    may
      ? [h("div", { class: "form-line" }, fields.kind.element, fields.last.element), h("div", { class: "actions" }, trying, using), wrong.element, found]
      : h("p", {}, "This key may only read: it lacks the scope jobs:write."),
  );
}

/**
 * The versions of the checkpoint's calibrator.
 * @param {string} alias @param {AbortSignal} signal @param {(model: any) => void} onMoved
 */
export function versions(alias, signal, onMoved) {
  const wrong = errorBox("The calibrator was not changed");
  const place = h("div", {});
  const may = session.may("jobs:write");
  const failed = errorBox("This part of the list cannot be shown");
  const pages = pager("Pages of the versions", (to) => async () => {
    cursor = to;
    try {
      await draw();
      failed.clear();
    } catch (error) {
      if (!signal.aborted) failed.show(error);
    }
  });
  let checkpoint = "";
  /** @type {string | null} */
  let cursor = null;
  const list = table(
    "Calibrators",
    [
      { title: "Version", kind: "main", value: (each) => each.id, render: (id) => h("span", { class: "mono" }, id) },
      { title: "Kind", value: (each) => each.kind, render: (kind) => words(kind) },
      { title: "From", value: (each) => each.origin, render: (origin) => (origin === "run" ? "the run that made the checkpoint" : "labels") },
      { title: "Fitted on", kind: "number", value: (each) => each.n, render: (n) => number(n) },
      { title: "NLL before", kind: "number", value: (each) => each.nll_before, render: (nll) => number(nll, 4), hint: "Nats; of a recalibration on held-out labels" },
      { title: "NLL with it", kind: "number", value: (each) => each.nll_after, render: (nll) => number(nll, 4) },
      { title: "Created", value: (each) => each.created_at, render: (moment) => time(moment) },
      {
        title: "Use", value: (each) => [each.current, each.id], csv: ([current]) => (current ? "used" : ""),
        render: ([current], each) => (current ? badge("used", "good") : may && button("Use", () => use(each), { name: `Use ${each.id}` })),
      },
    ],
    (each) => each.id,
  );

  /** @param {any} each */
  async function use(each) {
    const yes = await confirm({ title: "Use this calibrator?", danger: false, yes: "Use it", no: "Cancel", text: [h("p", { class: "mono" }, each.id), h("p", { class: "muted" }, "Evidence and open alerts are reset.")] });
    if (!yes) return;
    wrong.clear();
    try {
      const body = { checkpoint, ...(each.origin === "run" ? {} : { calibrator: each.id }) };
      onMoved((await request("PUT", path`/models/${alias}`, { body, signal })).data);
      toast("Changed.");
    } catch (error) {
      if (!signal.aborted) wrong.show(error);
    }
  }

  async function draw() {
    const asked = cursor;
    const { data } = await get(path`/models/${alias}/calibrators`, { query: { limit: SHOWN, cursor: asked }, signal });
    if (asked !== cursor) return;
    list.update(data.data);
    pages.update(asked, data.next_cursor);
    if (data.data.length === 0) replace(place, empty("No versions.", "The checkpoint came without a calibrator, and none was fitted on labels."));
    else if (list.element.parentElement !== place) replace(place, list.element);
  }

  return {
    element: h("section", { class: "stack-gap" }, h("h2", {}, "Versions"), wrong.element, failed.element, place, pages.element),
    /** @param {any} model */
    look(model) {
      if (model.checkpoint_id !== checkpoint) cursor = null;
      checkpoint = model.checkpoint_id;
      return draw();
    },
  };
}
