/** What is asked: which model, how sure it has to be, and the images. */

import { button } from "../../components/button.js";
import { choice, labelled } from "../../components/labelled.js";
import { get } from "../../core/api.js";
import { percent } from "../../core/format.js";
import { h, replace } from "../../core/h.js";
import { session } from "../../core/session.js";
import { checkpointName } from "../models/data.js";

const COVERAGE = 90;
const WAIT_MS = 250;

/**
 * @param {URLSearchParams} query @param {AbortSignal} signal
 * @param {{onImages(files: File[]): void, onTarget(): void, onLimits(): void}} events
 */
export function question(query, signal, { onImages, onTarget, onLimits }) {
  const target = choice("Model or checkpoint", [["", "Loading…"]], onTarget);
  const risk = choice("Most wrong answers", [["", "any"], ["0.01", "1 %"], ["0.02", "2 %"], ["0.05", "5 %"], ["0.1", "10 %"], ["0.2", "20 %"]], onLimits);
  const shown = h("output", {}, percent(COVERAGE / 100, 0));
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  let moved = false; // until then the server keeps to what its calibration images can guarantee
  const coverage = /** @type {HTMLInputElement} */ (
    h("input", {
      type: "range", class: "slider", min: 50, max: 99, step: 1, value: String(COVERAGE),
      on: {
        input: () => {
          moved = true;
          replace(shown, percent(Number(coverage.value) / 100, 0));
          clearTimeout(timer);
          timer = setTimeout(onLimits, WAIT_MS);
        },
      },
    })
  );
  signal.addEventListener("abort", () => clearTimeout(timer));
  const fields = {
    model: labelled("Model or checkpoint", target, { hint: "Predictions of a model are logged and can be labelled; those of a checkpoint are not logged." }),
    coverage: labelled("Coverage of prediction sets", coverage, { aside: shown, hint: "How often sets contain the right class." }),
    max_risk: labelled("Abstain so that at most this share of answers is wrong", risk, { hint: "Share among the answers that are not abstained from, guaranteed by the calibration images." }),
  };
  const file = /** @type {HTMLInputElement} */ (
    h("input", { type: "file", accept: "image/*", multiple: true, class: "visually-hidden", "aria-label": "Image files", tabindex: -1, on: { change: chosen } })
  );
  function chosen() {
    const files = [...(file.files ?? [])];
    file.value = "";
    if (files.length > 0) onImages(files);
  }
  const place = dropPlace(file, onImages);
  document.addEventListener(
    "paste",
    (event) => {
      const pasted = [...(event.clipboardData?.files ?? [])].filter((each) => each.type.startsWith("image/"));
      if (pasted.length === 0) return;
      event.preventDefault();
      onImages(pasted);
    },
    { signal },
  );

  return {
    element: h("section", { class: "card stack-gap" }, fields.model.element, place.element, fields.coverage.element, fields.max_risk.element),
    fields,
    show: place.show,
    /** What is asked besides the images. */
    asked() {
      const [kind, id] = target.value.split(":");
      return { kind, id, coverage: moved ? String(Number(coverage.value) / 100) : "", max_risk: risk.value };
    },
    /** @returns {Promise<boolean>} whether there is anything to ask */
    async load() {
      const [models, checkpoints] = await Promise.all([
        get("/models", { query: { limit: 200 }, signal }),
        session.may("models:read") ? get("/checkpoints", { query: { limit: 100 }, signal }) : { data: { data: [] } },
      ]);
      replace(
        target,
        group("Models", models.data.data.map((/** @type {any} */ row) => [`model:${row.alias}`, row.alias])),
        group("Checkpoints", checkpoints.data.data.map((/** @type {any} */ row) => [`checkpoint:${row.id}`, `${checkpointName(row)}, ${row.id}`])),
      );
      const wanted = query.has("model") ? `model:${query.get("model")}` : query.has("checkpoint") ? `checkpoint:${query.get("checkpoint")}` : "";
      if ([...target.options].some((each) => each.value === wanted)) target.value = wanted;
      return target.options.length > 0;
    },
  };
}

/** @param {string} name @param {[string, string][]} options */
function group(name, options) {
  return options.length > 0 && h("optgroup", { label: name }, options.map(([value, text]) => h("option", { value }, text)));
}

/** Where images are dropped. @param {HTMLInputElement} file @param {(files: File[]) => void} onImages */
function dropPlace(file, onImages) {
  const picture = /** @type {HTMLImageElement} */ (h("img", { class: "preview", alt: "", hidden: true }));
  const name = h("p", { class: "muted preview-name" });
  const words = h("p", { class: "muted" }, "Drop images here, paste some, or");
  const element = h(
    "div",
    { class: "drop" },
    picture, name, words, button("Choose images", () => file.click()), file,
  );
  element.addEventListener("dragover", (event) => {
    event.preventDefault();
    element.classList.add("over");
  });
  element.addEventListener("dragleave", () => element.classList.remove("over"));
  element.addEventListener("drop", (event) => {
    event.preventDefault();
    element.classList.remove("over");
    onImages(dropped(event.dataTransfer));
  });
  return {
    element,
    /** @param {import("./strip.js").Shown} image */
    show({ file: image, address }) {
      picture.src = address;
      picture.hidden = false;
      picture.onerror = () => (picture.hidden = true); // a format that only the server reads
      replace(name, h("bdi", {}, image.name));
      replace(words, "Others: drop them, paste them, or");
    },
  };
}

/** The files among what was dropped; a folder is none. @param {DataTransfer | null} transfer @returns {File[]} */
function dropped(transfer) {
  const items = [...(transfer?.items ?? [])].filter((each) => each.kind === "file" && !each.webkitGetAsEntry()?.isDirectory);
  return items.flatMap((each) => each.getAsFile() ?? []);
}
