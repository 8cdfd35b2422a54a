/** One report: what a model is worth, in distribution and out of it, and how far to trust it. */

import { empty } from "../components/empty.js";
import { tabs } from "../components/tabs.js";
import { time } from "../components/time.js";
import { warnings } from "../components/warnings.js";
import { get, path } from "../core/api.js";
import { words } from "../core/format.js";
import { h } from "../core/h.js";
import { go, link } from "../core/router.js";
import { calibrators } from "./report/calibrators.js";
import { candidates } from "./report/candidates.js";
import { worstClasses } from "./report/confusion.js";
import { classes, mistakes } from "./report/details.js";
import { rowsOf } from "./report/figures.js";
import { guarantees } from "./report/guarantees.js";
import { reliability } from "./report/reliability.js";
import { zeroShotStart } from "./report/start.js";
import { mainTable, scatter, summaryFacts } from "./report/summary.js";

/** @param {import("../pages.js").Context} context @returns {Promise<import("../pages.js").View>} */
export async function open({ params, query, signal }) {
  const id = params.id;
  const { data: report } = await get(path`/reports/${id}`, { signal });
  const { document } = report;
  const start = await zeroShotStart(report, signal).catch((error) => {
    if (signal.aborted) throw error;
    return null; // the report stands without it
  });
  const each = classes(report, signal);
  const wrong = mistakes(report, signal);
  const measured = rowsOf(document).length > 0;
  const overview = measured
    ? h("div", { class: "sections" }, mainTable(document, start), scatter(document, start, signal))
    : empty("This report measured no data set.", "Evaluate a model on a data set to see figures here.");
  const all = [
    { name: "overview", title: "Overview", panel: overview },
    { name: "reliability", title: "Reliability", panel: reliability(document, signal) },
    { name: "calibrators", title: "Calibrators", panel: calibrators(document) },
    { name: "promises", title: "Guarantees", panel: guarantees(document) }, // the name is in addresses
    ...(document.candidates?.length > 0 ? [{ name: "candidates", title: "Candidates", panel: candidates(document) }] : []),
    { name: "confusion", title: "Confusion", panel: worstClasses(document) },
    { name: "classes", title: "Classes", panel: each.element },
    { name: "mistakes", title: "Mistakes", panel: wrong.element },
  ];
  const parts = tabs("Parts of the report", all.map((tab) => ({ ...tab, panel: h("div", {}, tab.panel) })), (tab) =>
    go(link("report", { id }, tab === "overview" ? {} : { tab }), { replace: true }),
  );

  /** @param {URLSearchParams} given */
  function choose(given) {
    const tab = given.get("tab") ?? "overview";
    parts.select(tab);
    if (tab === "classes") each.look();
    if (tab === "mistakes") wrong.look();
  }

  choose(query);
  const lora = document.adapters ? ` with LoRA of rank ${document.adapters.rank}` : "";
  const title = `Report of ${words(document.method ?? "a run")}${lora}`;
  return {
    title,
    element: h("div", { class: "page" }, head(report, title, start), warnings(document.warnings ?? []), measured && h("div", { class: "card" }, summaryFacts(document, start)), parts.element),
    update: choose,
  };
}

/** @param {any} report @param {string} title @param {any} start */
function head(report, title, start) {
  const { document } = report;
  const compare = start?.id && link("compare", {}, new URLSearchParams([["report", start.id], ["report", report.id]]));
  return h(
    "div",
    { class: "page-head" },
    h(
      "div",
      { class: "page-head-text" },
      h("p", { class: "crumbs muted" }, h("a", { href: link("job", { id: report.job_id }) }, "Job"), " · ", h("span", { class: "mono" }, report.id)),
      h("h1", {}, title),
      h("p", { class: "muted" }, document.architecture && [h("bdi", {}, document.architecture), " on ", h("bdi", {}, document.dataset), ", "], time(report.created_at)),
    ),
    h(
      "div",
      { class: "actions" },
      start?.id && link("report", { id: start.id }) && h("a", { class: "button", href: link("report", { id: start.id }) }, "Zero-shot report"),
      compare && h("a", { class: "button", href: compare }, "Compare with zero-shot"),
      h("a", { class: "button", href: `/reports/${encodeURIComponent(report.id)}`, download: `${report.id}.json` }, "JSON"),
    ),
  );
}
