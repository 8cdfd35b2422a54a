/** Show a model an image: what it says, how sure it is, and what that is worth. */

import { command, empty } from "../components/empty.js";
import { errorBox, errorCard } from "../components/errorbox.js";
import { failFields } from "../components/labelled.js";
import { post } from "../core/api.js";
import { number } from "../core/format.js";
import { h, replace } from "../core/h.js";
import { link } from "../core/router.js";
import { checkpoint } from "./models/data.js";
import { answer } from "./try/answer.js";
import { labelForm } from "./try/label.js";
import { question } from "./try/question.js";

/** @param {import("../pages.js").Context} context @returns {Promise<import("../pages.js").View>} */
export async function open({ query, signal }) {
  /** @type {File | null} */
  let image = null;
  /** @type {any} what was answered first; other limits change parts of it */
  let told = null;
  let asking = new AbortController();

  const asked = question(query, signal, {
    onImage: (file) => {
      image = file;
      asked.show(file);
      look();
    },
    onTarget: () => look(),
    onLimits: () => (told === null ? look() : again()),
  });
  const says = answer();
  const truth = labelForm(signal);
  const wrong = errorBox("No answer");
  const took = h("p", { class: "muted" });
  const nothing = empty("No image yet.", "Drop one at the left, or paste one that you copied.");
  const place = h("div", { class: "list-place" }, nothing);
  const shown = h("div", { class: "stack-gap" }, h("section", { class: "card" }, says.element, took), truth.element);

  /** @param {Record<string, string>} of @returns {Promise<any>} the answer; null where there is none, undefined when another question came meanwhile */
  async function ask(of) {
    asking.abort();
    asking = new AbortController();
    const mine = asking.signal;
    const form = new FormData();
    form.append("images", /** @type {File} */ (image));
    for (const [name, value] of Object.entries(of)) if (value !== "") form.append(name, value);
    place.setAttribute("aria-busy", "true");
    try {
      const { data } = await post("/predict", form, { signal: AbortSignal.any([mine, signal]) });
      failFields(null, asked.fields);
      wrong.clear();
      return data;
    } catch (error) {
      if (mine.aborted || signal.aborted) return undefined;
      if (!failFields(error, asked.fields)) wrong.show(error, told === null ? look : again);
      return null;
    } finally {
      if (!mine.aborted) place.removeAttribute("aria-busy");
    }
  }

  /** Another image or model: an answer that may be remembered. */
  async function look() {
    told = null;
    if (image === null) return;
    const { kind, id, coverage, max_risk } = asked.asked();
    const data = await ask({ [kind]: id, top_k: "10", coverage, max_risk });
    if (data === null) replace(place, nothing);
    if (!data) return;
    told = data;
    const one = data.predictions[0];
    const made = await checkpoint(data.checkpoint, signal).catch(() => null);
    truth.update(one.id, made?.classes ?? one.top.map((/** @type {any} */ each) => each.label), kind === "model");
    replace(place, shown);
    show(data, one);
  }

  /**
   * The same image with other limits. It is asked of the checkpoint, so that it is not remembered
   * once more for each move of the slider; sets and risks rest on raw confidences, which are the same.
   */
  async function again() {
    const first = told;
    const { coverage, max_risk } = asked.asked();
    const data = await ask({ checkpoint: first.checkpoint, top_k: "10", coverage, max_risk });
    if (!data || told !== first) return;
    const { set, abstain, abstain_reasons, missing } = data.predictions[0];
    show({ ...first, limits: data.limits }, { ...first.predictions[0], set, abstain, abstain_reasons, missing });
  }

  /** @param {any} body @param {any} one */
  function show(body, one) {
    says.update(body, one);
    replace(took, `Answered in ${number(told.milliseconds)} ms by `, h("span", { class: "mono" }, body.checkpoint), ".");
  }

  const element = h(
    "div",
    { class: "page" },
    h("div", { class: "page-head" }, h("div", { class: "page-head-text" }, h("h1", {}, "Try it"), h("p", { class: "muted" }, "Show a model an image. It goes to this server alone."))),
  );
  try {
    if (await asked.load()) element.append(h("div", { class: "try-columns" }, asked.element, h("div", { class: "stack-gap" }, wrong.element, place)));
    else element.append(nobody());
  } catch (error) {
    if (signal.aborted) throw error;
    element.append(errorCard("The models cannot be listed", error));
  }
  return { title: "Try it", element };
}

function nobody() {
  const address = link("new") ?? link("jobs");
  return empty("There is nothing to ask yet.", h("p", {}, "A job that fine-tunes makes a checkpoint, which can be asked at once:"), command("carot run --dataset builtin:digits --preset carot"), h("p", {}, h("a", { href: address }, "Jobs")));
}
