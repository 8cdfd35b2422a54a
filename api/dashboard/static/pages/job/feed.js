/** The events of a job: as they happen where a stream is to be had, else by asking. */

import { get, path } from "../../core/api.js";
import { poll } from "../../core/poller.js";
import { stream } from "../../core/sse.js";

const PAGE = 1000;
const ASK_EVERY_MS = 3000;
const ENDED_EVERY_MS = 15_000;
const STREAM_AGAIN_MS = 15_000;

/**
 * @param {string} id
 * @param {{signal: AbortSignal, onEvents: (events: any[]) => void, onProgress: (progress: any) => void,
 *   ended: () => boolean}} options `ended`: whether nothing is expected any more
 * @returns {{live: boolean}} whether a stream is open
 */
export function follow(id, { signal, onEvents, onProgress, ended }) {
  const feed = { live: false };
  let last = 0;
  /** @type {AbortController | null} */
  let current = null;

  /** @param {any[]} events that may have come already, another way */
  function take(events) {
    const fresh = events.filter((each) => each.seq > last);
    if (fresh.length === 0) return;
    last = fresh[fresh.length - 1].seq;
    onEvents(fresh);
  }

  async function ask() {
    if (feed.live) return;
    for (;;) {
      const { data } = await get(path`/jobs/${id}/events`, { query: { after_seq: last, limit: PAGE }, signal });
      take(data.data);
      if (data.data.length < PAGE) break;
    }
    if (!ended() && !document.hidden && current === null && performance.now() > again) open();
  }

  let again = 0;

  async function open() {
    current = new AbortController();
    again = performance.now() + STREAM_AGAIN_MS;
    try {
      await stream(`${path`/jobs/${id}/events/stream`}?after_seq=${last}`, {
        signal: AbortSignal.any([signal, current.signal]),
        onOpen: () => (feed.live = true),
        onEvent: ({ type, id: seq, data }) => {
          if (type === "progress" && seq === null) onProgress(data);
          else if (type !== "end") take([data]);
        },
      });
    } catch {
      // Asking goes on by itself, and says what is wrong if that is more than the stream.
    } finally {
      feed.live = false;
      current = null;
      if (!signal.aborted) asking.soon();
    }
  }

  // A page that nobody looks at keeps no connection.
  document.addEventListener("visibilitychange", () => document.hidden && current?.abort(), { signal });
  const asking = poll(ask, { every: () => (ended() ? ENDED_EVERY_MS : ASK_EVERY_MS), signal });
  return feed;
}
