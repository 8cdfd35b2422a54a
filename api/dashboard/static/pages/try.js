/** Show a model images: what it says, how sure it is, and what that is worth. */

import { command, empty } from "../components/empty.js";
import { errorBox, errorCard, sentence } from "../components/errorbox.js";
import { failFields } from "../components/labelled.js";
import { post } from "../core/api.js";
import { counted, number } from "../core/format.js";
import { h, replace } from "../core/h.js";
import { link } from "../core/router.js";
import { session } from "../core/session.js";
import { checkpoint } from "./models/data.js";
import { answer } from "./try/answer.js";
import { labelForm } from "./try/label.js";
import { most as greatest, refusal } from "./try/limits.js";
import { question } from "./try/question.js";
import { strip } from "./try/strip.js";

/** @param {import("../pages.js").Context} context @returns {Promise<import("../pages.js").View>} */
export async function open({ query, signal }) {
  /** @type {import("./try/strip.js").Shown[]} */
  let images = [];
  let chosen = 0;
  /** @type {any} what was answered; other limits change parts of it */
  let told = null;
  /** @type {import("./try/limits.js").Most} */
  let most;
  let asking = new AbortController();

  const asked = question(query, signal, {
    onImages: take,
    onTarget: () => look(),
    onLimits: () => (told === null ? look() : again()),
  });
  const all = strip(choose);
  const says = answer();
  const label = labelForm(signal);
  const wrong = errorBox("No answer");
  const took = h("p", { class: "muted" });
  const nothing = empty("No image yet.", "Drop images on the left, or paste them.");
  const place = h("div", { class: "list-place" }, nothing);
  const shown = h("div", { class: "stack-gap" }, h("section", { class: "card" }, says.element, took), label.element);
  const release = () => images.forEach((each) => URL.revokeObjectURL(each.address));
  signal.addEventListener("abort", release);

  /** Other images; those that cannot be asked at once change nothing. @param {File[]} files */
  function take(files) {
    const why = refusal(files, most);
    if (why !== null) {
      wrong.show(new Error(why));
      return;
    }
    release();
    images = files.map((file) => ({ file, address: URL.createObjectURL(file) }));
    chosen = 0;
    all.show(images, chosen);
    asked.show(images[chosen]);
    look();
  }

  /** @param {number} which of the images to look at */
  function choose(which) {
    chosen = which;
    asked.show(images[chosen]);
    if (told !== null) describe();
  }

  /** @param {Record<string, string>} of @returns {Promise<any>} the answer; null where there is none, undefined when another question came meanwhile */
  async function ask(of) {
    asking.abort();
    asking = new AbortController();
    const mine = asking.signal;
    const form = new FormData();
    for (const { file } of images) form.append("images", file);
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

  /** Other images or another model: predictions that may be logged. */
  async function look() {
    told = null;
    if (images.length === 0) return;
    all.tell(null);
    const { kind, id, coverage, max_risk } = asked.asked();
    const data = await ask({ [kind]: id, top_k: "10", coverage, max_risk });
    if (data === null) replace(place, nothing);
    if (!data) return;
    const mine = asking;
    const classes = await classesOf(data.checkpoint, signal);
    if (mine !== asking) return;
    told = { ...data, classes, asModel: kind === "model" };
    all.tell(told.predictions);
    describe();
  }

  /**
   * The same images with other limits. They are asked of the checkpoint, so that they are not
   * logged once more for each move of the slider; sets and risks rest on raw confidences, which
   * are the same.
   */
  async function again() {
    const first = told;
    const { coverage, max_risk } = asked.asked();
    const data = await ask({ checkpoint: first.checkpoint, top_k: "10", coverage, max_risk });
    if (!data || told !== first) return;
    const predictions = data.predictions.map(({ set, abstain, abstain_reasons, missing }, /** @type {number} */ i) => ({ ...first.predictions[i], set, abstain, abstain_reasons, missing }));
    told = { ...first, limits: data.limits, predictions };
    show();
  }

  /** What was said of the image that is looked at, and a form for its label. */
  function describe() {
    const one = told.predictions[chosen];
    label.update(one.id, told.classes ?? one.top.map((/** @type {any} */ each) => each.label), told.asModel);
    show();
  }

  function show() {
    const one = told.predictions[chosen];
    if (one.error) {
      replace(place, empty("This image has no answer.", h("bdi", {}, one.name), ": ", sentence(one.error.message)));
      return;
    }
    says.update(told, one);
    replace(took, images.length > 1 && `${counted(images.length, "image")}: `, `Answered in ${number(told.milliseconds)} ms by `, h("span", { class: "mono" }, told.checkpoint), ".");
    replace(place, shown);
  }

  const element = h(
    "div",
    { class: "page" },
    h("div", { class: "page-head" }, h("div", { class: "page-head-text" }, h("h1", {}, "Try it"), h("p", { class: "muted" }, "Show a model images. They go to this server alone."))),
  );
  try {
    most = await greatest(signal);
    if (await asked.load()) element.append(h("div", { class: "try-columns" }, asked.element, h("div", { class: "stack-gap" }, wrong.element, all.element, place)));
    else element.append(nobody());
  } catch (error) {
    if (signal.aborted) throw error;
    element.append(errorCard("The models cannot be listed", error));
  }
  return { title: "Try it", element };
}

/** Every class of a checkpoint, for labels; null where whoever looks may not see it. @param {string} id @param {AbortSignal} signal @returns {Promise<string[] | null>} */
async function classesOf(id, signal) {
  if (!session.may("models:read")) return null;
  return checkpoint(id, signal).then((made) => made.classes, () => null);
}

function nobody() {
  if (!session.may("jobs:read")) return empty("There is no model to try yet.", "No checkpoint of this project has been given a name.");
  const address = link("new") ?? link("jobs");
  return empty("There is no model to try yet.", h("p", {}, "A job that fine-tunes makes a checkpoint, which can be tried at once:"), command("carot run --dataset builtin:digits --preset carot"), h("p", {}, h("a", { href: address }, "Jobs")));
}
