/** The images of one request beside each other: what each is taken for, and which one is looked at. */

import { percent } from "../../core/format.js";
import { h, replace } from "../../core/h.js";

/** @typedef {{file: File, address: string}} Shown an image, and where the browser finds it */

/** @param {(place: number) => void} onChoose */
export function strip(onChoose) {
  const thumbs = h("div", { class: "thumbs" });
  const element = h("fieldset", { class: "strip", hidden: true }, h("legend", { class: "visually-hidden" }, "Images"), thumbs);
  /** @type {HTMLElement[]} */
  let answers = [];
  return {
    element,
    /** Other images; one alone needs no strip. @param {Shown[]} images @param {number} chosen */
    show(images, chosen) {
      element.hidden = images.length < 2;
      answers = images.map(() => h("span", { class: "thumb-answer" }));
      replace(thumbs, images.map((image, place) => thumb(image, answers[place], place === chosen, () => onChoose(place))));
    },
    /** What was answered; null while nothing was. @param {any[] | null} predictions */
    tell(predictions) {
      answers.forEach((answer, place) => replace(answer, predictions ? said(predictions[place]) : h("span", { class: "muted" }, "–")));
    },
  };
}

/** Radio buttons: one stop of the tabulator, and arrows. @param {Shown} image @param {HTMLElement} answer @param {boolean} checked @param {() => void} onChoose */
function thumb({ file, address }, answer, checked, onChoose) {
  return h(
    "label",
    { class: "thumb", title: file.name },
    h("input", { type: "radio", name: "image", class: "visually-hidden", checked, on: { change: onChoose } }),
    // A format that only the server reads stays an empty frame.
    h("img", { src: address, alt: "", on: { error: (/** @type {Event} */ event) => /** @type {Element} */ (event.target).removeAttribute("src") } }),
    h("bdi", { class: "thumb-name muted" }, file.name),
    answer,
  );
}

/** @param {any} one */
function said({ top, error }) {
  if (error) return h("span", { class: "thumb-fault", title: error.message }, error.message);
  return [h("bdi", { class: "thumb-class" }, top[0].label), h("span", { class: "muted" }, percent(top[0].confidence))];
}
