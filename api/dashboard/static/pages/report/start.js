/** The report of the model that a run started from, if somebody measured it. */

import { get, path } from "../../core/api.js";
import { session } from "../../core/session.js";

const LOOKED_AT = 200;

/**
 * @param {any} report @param {AbortSignal} signal
 * @returns {Promise<{id: string | null, document: any} | null>} id is null where it is in the report itself
 */
export async function zeroShotStart(report, signal) {
  const { document } = report;
  if (document.before?.length > 0) return { id: null, document: { datasets: document.before, ood_mean: document.before_ood_mean } };
  const own = (document.candidates ?? []).find((/** @type {any} */ each) => each.alpha === 0 && each.datasets?.length > 0);
  if (own) return { id: null, document: { datasets: own.datasets, ood_mean: own.ood_mean } };
  if (!document.model || document.kind === "evaluate" || !session.may("jobs:read")) return null;
  const wanted = mark(document.model, document.dataset);
  const asked = [{ kind: "evaluate" }, { method: "zero_shot" }].map((query) =>
    get("/jobs", { query: { ...query, state: "succeeded", limit: LOOKED_AT }, signal }),
  );
  const jobs = (await Promise.all(asked)).flatMap(({ data }) => data.data);
  const found = jobs.find((job) => job.report_id && job.report_id !== report.id && mark(job.spec.model, job.spec.dataset) === wanted);
  if (!found) return null;
  const { data } = await get(path`/reports/${found.report_id}`, { signal });
  return data;
}

/** What makes two starts the same. @param {any} model @param {string} dataset */
function mark(model, dataset) {
  return JSON.stringify([model?.architecture, model?.pretrained, model?.checkpoint, dataset].map((each) => each ?? null));
}
