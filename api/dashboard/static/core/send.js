/** Uploads: a body whose way to the server can be watched, which `fetch` does not tell. */

import { Problem, Unreachable } from "./api.js";
import { session } from "./session.js";

/**
 * Send a body.
 * @param {string} address
 * @param {Blob} body
 * @param {{type: string, onProgress: (share: number) => void, signal: AbortSignal}} options
 *   `onProgress` gets the share that was sent, 0 to 1
 * @returns {Promise<any>} the answer's document
 * @throws {Problem | Unreachable | DOMException} the last when `signal` was aborted
 */
export function send(address, body, { type, onProgress, signal }) {
  return new Promise((resolve, reject) => {
    const going = new XMLHttpRequest();
    going.open("POST", address);
    going.responseType = "text";
    going.setRequestHeader("Accept", "application/json");
    going.setRequestHeader("Content-Type", type);
    if (session.csrf) going.setRequestHeader("X-CSRF-Token", session.csrf);
    going.upload.addEventListener("progress", (event) => event.lengthComputable && onProgress(event.loaded / event.total));
    going.addEventListener("load", () => {
      let document = null;
      try {
        document = JSON.parse(going.responseText);
      } catch {
        // What is in between answers in its own words.
      }
      if (going.status >= 200 && going.status < 300) resolve(document);
      else reject(new Problem(going.status, document, null));
    });
    going.addEventListener("error", () => reject(new Unreachable()));
    going.addEventListener("abort", () => reject(new DOMException("stopped", "AbortError")));
    signal.addEventListener("abort", () => going.abort());
    going.send(body);
  });
}
