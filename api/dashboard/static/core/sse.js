/** A stream of events (Server-Sent Events), read by hand: of every type, and with what was wrong. */

import { Problem, Unreachable } from "./api.js";

/**
 * @typedef {{type: string, id: string | null, data: any}} StreamEvent
 */

/**
 * Read a stream to its end.
 * @param {string} path
 * @param {{signal: AbortSignal, onOpen: () => void, onEvent: (event: StreamEvent) => void}} options
 * @throws {Problem | Unreachable}
 */
export async function stream(path, { signal, onOpen, onEvent }) {
  let response;
  try {
    response = await fetch(path, { signal, cache: "no-store", headers: { Accept: "text/event-stream" } });
  } catch {
    if (signal.aborted) throw signal.reason;
    throw new Unreachable();
  }
  if (!response.ok || response.body === null) {
    throw new Problem(response.status, await response.json().catch(() => null), null);
  }
  onOpen();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const blocks = (rest + value).replaceAll("\r\n", "\n").split("\n\n");
      rest = blocks.pop() ?? "";
      for (const block of blocks) {
        const event = parse(block);
        if (event !== null) onEvent(event);
      }
    }
  } catch {
    if (signal.aborted) throw signal.reason;
    throw new Unreachable();
  }
}

/** @param {string} block @returns {StreamEvent | null} null for a sign of life */
export function parse(block) {
  let type = "message";
  /** @type {string | null} */
  let id = null;
  const data = [];
  for (const line of block.split("\n")) {
    const at = line.indexOf(":");
    const name = at < 0 ? line : line.slice(0, at);
    const value = at < 0 ? "" : line.slice(at + 1).replace(/^ /, "");
    if (name === "event") type = value;
    else if (name === "id") id = value;
    else if (name === "data") data.push(value);
  }
  return data.length === 0 ? null : { type, id, data: JSON.parse(data.join("\n")) };
}
