/** Two to ten models side by side, on the same images: what differs, and what is significant. */

import { badge } from "../components/badge.js";
import { button } from "../components/button.js";
import { empty } from "../components/empty.js";
import { errorCard } from "../components/errorbox.js";
import { picks } from "../components/picks.js";
import { CHECKPOINTS } from "../components/sources.js";
import { get, path } from "../core/api.js";
import { counted, words } from "../core/format.js";
import { h, replace } from "../core/h.js";
import { go, link } from "../core/router.js";
import { differences } from "./compare/differences.js";
import { overlaid } from "./compare/overlaid.js";
import { figures } from "./compare/figures.js";

const FEWEST = 2;
const MOST = 10;

/** @param {import("../pages.js").Context} context @returns {Promise<import("../pages.js").View>} */
export async function open({ query, signal }) {
  const chosen = { checkpoint: query.getAll("checkpoint"), report: query.getAll("report") };
  const count = chosen.checkpoint.length + chosen.report.length;
  const content = count >= FEWEST ? await compared(chosen, query.get("confidence") ?? "calibrated", signal) : await choosing(chosen, signal);
  return {
    title: "Compare",
    element: h(
      "div",
      { class: "page" },
      h(
        "div",
        { class: "page-head" },
        h("div", { class: "page-head-text" }, h("h1", {}, "Compare"), h("p", { class: "muted" }, "On the same images, each against the first.")),
        count >= FEWEST && h("div", { class: "actions" }, h("a", { class: "button", href: link("compare") }, "Choose others")),
      ),
      content,
    ),
  };
}

/** @param {{checkpoint: string[], report: string[]}} chosen @param {AbortSignal} signal */
async function choosing(chosen, signal) {
  const { data } = await get("/checkpoints", { query: { limit: FEWEST }, signal });
  if (data.data.length < FEWEST) {
    const first = link("new");
    return empty("There are fewer than two checkpoints to compare.", h("p", {}, "Fine-tune another one with other settings; then both can be compared here."), first && h("p", {}, h("a", { href: first }, "Set up a job")));
  }
  let ids = chosen.checkpoint;
  const said = h("p", { class: "muted", role: "status" });
  const act = /** @type {HTMLButtonElement} */ (button("Compare", () => go(link("compare", {}, new URLSearchParams(ids.map((id) => ["checkpoint", id])))), { kind: "primary" }));

  /** @param {string[]} values */
  function show(values) {
    ids = values.filter(Boolean);
    const twice = new Set(ids).size < ids.length;
    act.disabled = ids.length < FEWEST || twice;
    replace(said, twice ? "The same checkpoint is there twice." : `${counted(ids.length, "checkpoint")} chosen; the first is what the others are compared with.`);
  }

  const rows = picks("Checkpoint", CHECKPOINTS, { values: ids, fewest: FEWEST, most: MOST, onChange: show, signal });
  show(ids);
  return h("section", { class: "card stack-gap" }, h("h2", {}, "Choose two to ten checkpoints"), rows.element, h("div", { class: "section-head" }, said, act));
}

/** @param {{checkpoint: string[], report: string[]}} chosen @param {string} confidence @param {AbortSignal} signal */
async function compared(chosen, confidence, signal) {
  const { data } = await get("/comparisons", { query: { ...chosen, confidence }, signal }).catch((error) => {
    if (signal.aborted) throw error;
    return { data: null, error };
  }).then((answer) => /** @type {any} */ (answer).error ? { data: errorAnswer(/** @type {any} */ (answer).error) } : answer);
  if (data instanceof HTMLElement) return data;
  const reports = await Promise.all(data.models.map((/** @type {any} */ each) => get(path`/reports/${each.report_id}`, { signal }).then((answer) => answer.data)));
  const models = await Promise.all(reports.map(async (report, i) => ({ ...data.models[i], letter: String.fromCharCode(65 + i), report, name: await nameOf(report, signal) })));
  const other = confidence === "raw" ? "calibrated" : "raw";
  const query = new URLSearchParams([...chosen.checkpoint.map((id) => ["checkpoint", id]), ...chosen.report.map((id) => ["report", id]), ["confidence", other]]);
  return h(
    "div",
    { class: "sections" },
    h("ul", { class: "legend" }, models.map((each) => h("li", {}, badge(each.letter, "live"), " ", h("a", { href: link("report", { id: each.report_id }) }, h("bdi", {}, each.name)), h("span", { class: "muted" }, ` ${words(each.method)}, ${each.confidence}`)))),
    h("p", {}, h("a", { href: link("compare", {}, query) }, `Compare ${other} confidences`)),
    differences(data, models),
    figures(data, models),
    overlaid(data, models, confidence, signal),
    data.left_out.length > 0 && h("section", { class: "stack-gap" }, h("h2", {}, "Left out"), h("ul", {}, data.left_out.map((/** @type {any} */ each) => h("li", {}, h("bdi", {}, each.name), ": ", each.reason)))),
  );
}

/** @param {unknown} error */
const errorAnswer = (error) => errorCard("They cannot be compared", error);

/** What people call what a report is of. @param {any} report @param {AbortSignal} signal */
async function nameOf(report, signal) {
  try {
    const { data } = await get(path`/jobs/${report.job_id}`, { signal });
    return data.name ?? report.id;
  } catch {
    return report.id;
  }
}
