/** Where a folder or an archive can be dropped, and how far it is on its way. */

import { button } from "../../components/button.js";
import { errorBox } from "../../components/errorbox.js";
import { warnings } from "../../components/warnings.js";
import { address } from "../../core/api.js";
import { bytes, counted, percent } from "../../core/format.js";
import { h, setText } from "../../core/h.js";
import { send } from "../../core/send.js";
import { ACCEPT, archive, chosenFolder, dropped } from "./pick.js";

/** @param {(dataset: any) => void} onDone @param {AbortSignal} signal */
export function upload(onDone, signal) {
  const wrong = errorBox("Not uploaded");
  const words = h("p", { role: "status", class: "muted" });
  const meter = /** @type {HTMLProgressElement} */ (h("progress", { max: "1", "aria-label": "Upload" }));
  const files = /** @type {HTMLInputElement} */ (h("input", { type: "file", accept: ACCEPT, hidden: true, "aria-label": "Archive of images" }));
  const folders = /** @type {HTMLInputElement} */ (h("input", { type: "file", webkitdirectory: true, hidden: true, "aria-label": "Folder of images" }));
  const stop = button("Stop", () => going?.abort());
  const under = h("div", { class: "upload-going", hidden: true }, meter, words, stop);
  const element = h(
    "div",
    { class: "drop" },
    h("p", {}, "Drop a folder or an archive of images here, or"),
    h("div", { class: "actions" }, button("Choose an archive", () => files.click()), button("Choose a folder", () => folders.click())),
    h("p", { class: "muted" }, "class/name.png, or train|validation|calibration|test/class/name.png, or images with a table of filepath and label; zip, tar or tar.gz"),
    files, folders, under, wrong.element,
  );
  /** @type {AbortController | null} */
  let going = null;

  /** @param {() => import("./pick.js").Picked | Promise<import("./pick.js").Picked>} find what was chosen */
  async function take(find) {
    wrong.clear();
    going?.abort();
    const mine = (going = new AbortController());
    under.hidden = false;
    meter.removeAttribute("value");
    setText(words, "Reading the files…");
    try {
      const picked = await find();
      if (!mine.signal.aborted && !signal.aborted) await start(picked);
    } catch (error) {
      if (!mine.signal.aborted) wrong.show(error);
    } finally {
      if (going === mine) {
        under.hidden = true;
        going = null;
      }
    }
  }

  /** @param {import("./pick.js").Picked} picked */
  async function start(picked) {
    wrong.clear();
    going?.abort();
    const mine = (going = new AbortController());
    const size = bytes(picked.body.size);
    under.hidden = false;
    meter.value = 0;
    setText(words, `Sending ${picked.files > 1 ? `${counted(picked.files, "file")}, ` : ""}${size}…`);
    try {
      const made = await send(address("/datasets", { name: picked.name.slice(0, 200) }), picked.body, {
        type: picked.type,
        signal: AbortSignal.any([mine.signal, signal]),
        onProgress(share) {
          meter.value = share;
          setText(words, share < 1 ? `Sending ${size}, ${percent(share, 0)}` : "Sent; the server checks every image…");
        },
      });
      onDone(made);
    } catch (error) {
      if (!mine.signal.aborted && !signal.aborted) wrong.show(error, () => start(picked));
    } finally {
      if (going === mine) {
        under.hidden = true;
        going = null;
      }
    }
  }

  /** @param {HTMLInputElement} input @param {(list: FileList) => import("./pick.js").Picked} find */
  const choosing = (input, find) => input.addEventListener("change", () => {
    const list = input.files;
    if (list?.length) take(() => find(list));
    input.value = ""; // the same can be chosen again
  });
  choosing(files, (list) => archive(list[0]));
  choosing(folders, chosenFolder);
  // All of the page takes files: one that falls beside would be opened in the place of the page.
  const on = (/** @type {string} */ type, /** @type {(event: DragEvent) => void} */ act) =>
    document.addEventListener(type, (event) => {
      if (/** @type {DragEvent} */ (event).dataTransfer?.types.includes("Files")) act(/** @type {DragEvent} */ (event));
    }, { signal });
  on("dragover", (event) => {
    event.preventDefault();
    element.classList.add("over-drop");
  });
  on("dragleave", (event) => event.relatedTarget === null && element.classList.remove("over-drop"));
  on("drop", (event) => {
    event.preventDefault();
    element.classList.remove("over-drop");
    const found = dropped(/** @type {DataTransfer} */ (event.dataTransfer));
    found.catch(() => {}); // it is told where it is awaited
    take(() => found);
  });
  return element;
}

/** What a data set holds. @param {any} dataset @param {any[]} samples */
export function holds(dataset, samples) {
  const splits = Object.entries(dataset.splits);
  const names = splits.map(([name]) => name);
  const shown = dataset.classes.slice(0, 200);
  const more = dataset.classes.length - shown.length;
  return h(
    "div",
    { class: "stack-gap" },
    h("p", {}, `${counted(dataset.images, "image")} in ${counted(dataset.classes.length, "class", "classes")}${dataset.bytes ? `, ${bytes(dataset.bytes)}` : ""}: `, splits.map(([name, counts], i) => `${i ? ", " : ""}${counted(Object.values(counts).reduce((a, b) => a + b, 0), "image")} in ${name}`), "."),
    warnings(dataset.warnings),
    !names.includes("calibration") && h("p", { class: "muted" }, "It has no calibration split: confidences may stay uncalibrated."),
    samples.length > 0 && h("ul", { class: "samples" }, samples.map((each) => h("li", {}, h("img", { src: each.picture, alt: each.class, title: `${each.class}, ${each.split}`, width: 64, height: 64, loading: "lazy" })))),
    h("details", {}, h("summary", {}, "Images per class"), h("div", { class: "table-place counts", tabindex: 0, role: "region", "aria-label": "Images per class" }, h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Class"), names.map((name) => h("th", { scope: "col", class: "number" }, name)))), h("tbody", {}, shown.map((/** @type {string} */ name) => h("tr", {}, h("th", { scope: "row" }, h("bdi", {}, name)), splits.map(([, counts]) => h("td", { class: "number" }, String(counts[name] ?? 0)))))))), more > 0 && h("p", { class: "muted" }, `and ${counted(more, "class", "classes")} more`)),
  );
}

