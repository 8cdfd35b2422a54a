/** What somebody dropped or chose, as an archive. */

import { tar } from "./tar.js";

/** @typedef {{name: string, body: Blob, type: string, files: number}} Picked */

/** @type {[RegExp, string][]} */
const TYPES = [[/\.zip$/i, "application/zip"], [/\.tar$/i, "application/x-tar"], [/\.(tgz|tar\.gz)$/i, "application/gzip"]];
export const ACCEPT = ".zip,.tar,.tgz,.tar.gz,.gz";

/** @param {File} file @returns {Picked | null} null where it is no archive */
export function archive(file) {
  const type = TYPES.find(([pattern]) => pattern.test(file.name))?.[1];
  return type ? { name: file.name, body: file, type, files: 1 } : null;
}

/** What is in a folder, but for what systems hide there. @param {{path: string, file: File}[]} files @returns {Picked | null} */
export function folder(files) {
  const kept = files.filter(({ path }) => !path.split("/").some((part) => part.startsWith(".") || part === "__MACOSX"));
  if (kept.length === 0) return null;
  const name = kept[0].path.split("/")[0];
  return { name, body: tar(kept), type: "application/x-tar", files: kept.length };
}

/** @param {FileList} files of an input for folders */
export const chosenFolder = (files) => folder([...files].map((file) => ({ path: file.webkitRelativePath, file })));

/** @param {DataTransfer} transfer @returns {Promise<Picked | null>} */
export async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter((each) => each !== null && each !== undefined);
  const [file] = transfer.files;
  if (!entries.some((each) => each.isDirectory)) return file ? archive(file) : null;
  /** @type {{path: string, file: File}[]} */
  const found = [];
  for (const entry of entries) await walk(entry, found);
  return folder(found);
}

/** @param {any} entry @param {{path: string, file: File}[]} found */
async function walk(entry, found) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    found.push({ path: entry.fullPath.replace(/^\//, ""), file });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) return;
    for (const each of some) await walk(each, found);
  }
}
