/** How much one request to `/predict` may hold: said before it is sent, since a large one is cut off. */

import { get } from "../../core/api.js";
import { bytes, counted, number } from "../../core/format.js";

/** @typedef {{images: number, body_bytes: number}} Most */

const PART_BYTES = 1024; // what a form adds to a file, at most

/** @param {AbortSignal} signal @returns {Promise<Most>} */
export async function most(signal) {
  return (await get("/index", { signal })).data.predict;
}

/**
 * Why these cannot be asked at once, or null.
 * @param {File[]} files @param {Most} most
 */
export function refusal(files, { images, body_bytes }) {
  if (files.length === 0) return "there is no image among these files";
  if (files.length > images) return `${number(files.length)} images are too many: one request takes ${counted(images, "image")} at most`;
  const size = files.reduce((sum, file) => sum + file.size + PART_BYTES, 0);
  if (size > body_bytes) return `${counted(files.length, "image")} of ${bytes(size)} are too large: one request takes ${bytes(body_bytes)} at most`;
  return null;
}
