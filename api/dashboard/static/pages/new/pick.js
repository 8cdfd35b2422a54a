/** What somebody dropped or chose, as an archive. */

import { tar } from "./tar.js";

/** @typedef {{name: string, body: Blob, type: string, files: number}} Picked */

/** @type {[RegExp, string][]} */
const TYPES = [[/\.zip$/i, "application/zip"], [/\.tar$/i, "application/x-tar"], [/\.(tgz|tar\.gz)$/i, "application/gzip"]];
export const ACCEPT = ".zip,.tar,.tgz,.tar.gz,.gz";

const IMAGE = /\.(jpe?g|jpe|jfif|jif|png|webp|bmp|dib|gif|tiff?|p[pgbn]m|avif)$/i;
const TABLE = /\.([ct]sv(\.gz)?|jsonl|ndjson|json)$/i;
const NO_ENDING = /(^|\/)[^./]+$/;

/** @param {File} file @returns {Picked} @throws {Error} it is no archive */
export function archive(file) {
  const type = TYPES.find(([pattern]) => pattern.test(file.name))?.[1];
  if (!type) throw new Error(`${file.name} is neither a zip, tar nor tar.gz archive`);
  return { name: file.name, body: file, type, files: 1 };
}

/**
 * What is in folders, but for what systems hide there.
 * @param {string[]} names of what was chosen @param {{path: string, file: File}[]} files
 * @returns {Picked} @throws {Error} there is nothing to train on
 */
export function folder(names, files) {
  const kept = files.filter(({ path }) => !path.split("/").some((part) => part.startsWith(".") || part === "__MACOSX"));
  const what = named(names);
  if (!kept.some(({ path }) => IMAGE.test(path) || NO_ENDING.test(path))) throw new Error(`there is no image in ${what}`);
  const loose = kept.find(({ path }) => !path.includes("/") && IMAGE.test(path));
  if (loose && !kept.some(({ path }) => !path.includes("/") && TABLE.test(path))) {
    throw new Error(`the class of ${loose.path} is not given: put images into folders named after their classes, and drop those, or drop a table with them`);
  }
  return { name: what, body: tar(kept), type: "application/x-tar", files: kept.length };
}

/** @param {string[]} names */
const named = (names) => (names.length > 3 ? `${names.slice(0, 2).join(", ")} and ${names.length - 2} more` : names.join(", "));

/** @param {FileList} files of an input for folders @returns {Picked} */
export function chosenFolder(files) {
  const found = [...files].map((file) => ({ path: file.webkitRelativePath, file }));
  return folder([found[0].path.split("/")[0]], found);
}

/**
 * What was dropped: one archive, or folders and files as they lie. To be called while the event is
 * under way; what it holds is gone afterwards.
 * @param {DataTransfer} transfer @returns {Promise<Picked>} @throws {Error} it cannot be used
 */
export async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter((each) => each !== null && each !== undefined);
  const files = [...transfer.files];
  const isArchive = (/** @type {string} */ name) => TYPES.some(([pattern]) => pattern.test(name));
  if (files.length === 1 && !entries.some((each) => each.isDirectory) && !IMAGE.test(files[0].name)) return archive(files[0]);
  const packed = entries.find((each) => each.isFile && isArchive(each.name));
  if (packed) throw new Error(`${packed.name} must be dropped alone: either one archive, or folders`);
  /** @type {{path: string, file: File}[]} */
  const found = [];
  for (const entry of entries) await walk(entry, found);
  return folder(entries.map(({ name }) => name), found);
}

/** @param {any} entry @param {{path: string, file: File}[]} found @throws {Error} it cannot be read */
async function walk(entry, found) {
  const path = entry.fullPath.replace(/^\//, "");
  const asked = (/** @type {(done: any, failed: any) => void} */ ask) =>
    new Promise(ask).catch((error) => Promise.reject(new Error(`${path} cannot be read (${error.message})`)));
  if (entry.isFile) {
    found.push({ path, file: await asked((done, failed) => entry.file(done, failed)) });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    // A browser gives a part of them at a time, and none at the end.
    const some = await asked((done, failed) => reader.readEntries(done, failed));
    if (some.length === 0) return;
    for (const each of some) await walk(each, found);
  }
}
