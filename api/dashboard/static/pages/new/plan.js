/** What the job would be, asked of the service while it is typed: what it chooses, what it warns of. */

import { warnings } from "../../components/warnings.js";
import { post } from "../../core/api.js";
import { counted } from "../../core/format.js";
import { h, replace } from "../../core/h.js";

const PAUSE_MS = 500;

/**
 * @param {AbortSignal} signal @param {any[]} architectures what can be started from
 * @param {(spec: any) => void} onFound told what the job would be
 */
export function plan(signal, architectures, onFound) {
  const element = h("div", { class: "gone", role: "status" });
  let asked = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let waiting;

  /** @param {any} body */
  async function look(body) {
    const mine = ++asked;
    const found = await post("/jobs/check", body, { signal }).then(({ data }) => data, () => null); // what is wrong is said when it is queued
    if (mine !== asked || signal.aborted) return;
    if (found?.spec) onFound(found.spec);
    replace(element, found?.spec && [chosen(found.spec), treatment(found.spec, architectures), warnings(found.warnings)]);
  }

  signal.addEventListener("abort", () => clearTimeout(waiting));
  return {
    element,
    /** @param {any} body */
    update(body) {
      clearTimeout(waiting);
      if (isReady(body)) waiting = setTimeout(() => look(body), PAUSE_MS);
    },
  };
}

/** Whether there is something to be said: a training whose data and model are named. @param {any} body */
function isReady({ kind, dataset, model }) {
  return kind === "finetune" && /^(ds_[0-9a-z]{26}$|fashion:$|[a-z0-9-]+:.)/.test(dataset ?? "") && (model?.checkpoint || model?.pretrained || model?.architecture?.startsWith("carot-mini"));
}

/** @param {any} spec */
function chosen({ kind, training }) {
  if (kind !== "finetune" || training.epochs === null) return null;
  return h("p", { class: "muted" }, `It trains for ${counted(training.epochs, "epoch")} with batches of ${counted(training.batch_size, "image")} and a learning rate of ${training.learning_rate}.`);
}

/** What the method does with the model. @param {any} spec @param {any[]} architectures */
function treatment({ kind, model, method }, architectures) {
  const known = kind === "finetune" && architectures.find((each) => each.architecture === model.architecture && each.pretrained === model.pretrained);
  return known ? h("p", { class: "muted" }, `${method.name} trains, of ${model.architecture}: ${known.methods[method.name]}.`) : null;
}
