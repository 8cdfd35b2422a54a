/** A new job: on which images, from which model, by which method; and the same as a command. */

import { button, busy } from "../components/button.js";
import { errorBox } from "../components/errorbox.js";
import { lookUp } from "../components/picker.js";
import { CHECKPOINTS, DATASETS } from "../components/sources.js";
import { toast } from "../components/toast.js";
import { get, path, post, Problem } from "../core/api.js";
import { h } from "../core/h.js";
import { go, link } from "../core/router.js";
import { session } from "../core/session.js";
import { commands } from "./new/commands.js";
import { datasetPart } from "./new/dataset.js";
import { Draft } from "./new/draft.js";
import { form } from "./new/form.js";
import { plan } from "./new/plan.js";
import { fields, kinds } from "./new/schema.js";

/** By the job that they are clones of. @type {Map<string, Draft>} */
const drafts = new Map();

/** @param {import("../pages.js").Context} context @returns {Promise<import("../pages.js").View>} */
export async function open({ query, signal }) {
  const from = query.get("from");
  const [openapi, presets, architectures, [newest], job] = await Promise.all([
    get("/openapi.json", { signal }).then(({ data }) => data),
    get("/presets", { signal }).then(({ data }) => data.data),
    get("/architectures", { signal }).then(({ data }) => data.data),
    get("/datasets", { query: { limit: 1 }, signal }).then(({ data }) => data.data),
    from ? get(path`/jobs/${from}`, { signal }).then(({ data }) => data) : null,
  ]);
  const checkpoints = session.may("models:read") ? { source: CHECKPOINTS, signal } : null;
  const known = { openapi, kinds: kinds(openapi), presets, architectures, checkpoints };
  const begun = drafts.get(from ?? "");
  const draft = begun ?? new Draft();
  if (job && !begun) draft.clone(job);
  drafts.set(from ?? "", draft);

  const chosen = draft.text("dataset") || newest?.id || "";
  const first = chosen === newest?.id ? newest : chosen.startsWith("ds_") ? await lookUp(DATASETS, chosen).catch(() => null) : null;
  const wrong = errorBox("The job was not queued");
  const said = commands();
  const idempotency = { key: crypto.randomUUID?.() ?? String(Math.random()), body: "" };
  const datasetField = { ...fields(openapi, known.kinds.get("finetune"), "", {}, ["method"]).filter((each) => each.path === "dataset")[0] };
  const planned = plan(signal, architectures, (spec) => parts.suggest(spec));
  const change = () => {
    said.update(body());
    if (session.may("jobs:write")) planned.update(body());
  };
  const parts = form(known, draft, change);
  if (job && !begun) {
    draft.prune(parts.fields.filter((each) => !["model.architecture", "method.name", "adapters.kind"].includes(each.path)));
    parts.draw();
  }
  const dataset = datasetPart(first, draft, datasetField, change, signal);
  const body = () => draft.body([datasetField, ...parts.fields]);

  /** @param {Event} event */
  async function submit(event) {
    event.preventDefault();
    wrong.clear();
    dataset.fault(null);
    parts.faults([]);
    await busy(queue, async () => {
      try {
        const asked = body();
        const text = JSON.stringify(asked);
        if (idempotency.body !== text) Object.assign(idempotency, { key: crypto.randomUUID?.() ?? String(Math.random()), body: text });
        const { data } = await post("/jobs", asked, { headers: { "Idempotency-Key": idempotency.key } });
        drafts.delete(from ?? "");
        toast("Queued.");
        go(link("job", { id: data.id }));
      } catch (error) {
        wrong.show(error);
        if (error instanceof Problem) setTimeout(() => blame(error)); // when the button is free again
      }
    });
  }

  /** @param {Problem} problem */
  function blame(problem) {
    const about = problem.errors.find(({ field }) => field === "dataset" || field?.endsWith(".dataset"));
    if (about) {
      dataset.fault(about.message ?? "");
      dataset.show();
    }
    parts.faults(problem.errors.filter((each) => each !== about));
  }

  const queue = /** @type {HTMLButtonElement} */ (h("button", { type: "submit", class: "button primary" }, "Queue the job"));
  const clear = button("Clear", () => {
    drafts.delete(from ?? "");
    if (from) go(link("new"));
    else window.dispatchEvent(new Event("hashchange"));
  }, { kind: "quiet" });
  change();
  return {
    title: "New job",
    element: h(
      "form",
      { class: "page", novalidate: true, on: { submit } },
      h("div", { class: "page-head" }, h("div", { class: "page-head-text" }, h("h1", {}, "New job"), h("p", { class: "muted" }, job ? ["Like ", h("a", { class: "linked", href: link("job", { id: job.id }) }, h("bdi", {}, job.name ?? job.id)), "; settings that equal its preset are left out."] : "Empty fields use the value shown in them."))),
      !session.may("jobs:write") && h("div", { class: "note-box" }, "This key may not queue jobs; the command below can be sent with another key."),
      dataset.element,
      parts.element,
      planned.element,
      wrong.element,
      h("div", { class: "actions submit" }, queue, clear),
      said.element,
    ),
  };
}
