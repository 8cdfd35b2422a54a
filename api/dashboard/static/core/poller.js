/** Asks again and again: less often while nobody looks, and less and less while nobody answers. */

import { Problem, Unreachable } from "./api.js";
import { connection } from "./connection.js";
import { session } from "./session.js";

const HIDDEN_FACTOR = 15;
const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 30_000;

/**
 * Poll until `signal` is aborted.
 *
 * A first failure of the whole page is the page's own to show: `task` may catch it. What it throws
 * is told in the banner, and the next try comes later each time.
 * @param {() => Promise<void>} task
 * @param {{every: number | (() => number), signal: AbortSignal}} options milliseconds between an
 *   answer and the next question; Infinity for when there is nothing more to ask
 * @returns {{soon(): void}} `soon` asks now
 */
export function poll(task, { every, signal }) {
  let failures = 0;
  let wake = () => {};
  let hurried = false;

  function soon() {
    hurried = true;
    wake();
  }

  /** @param {number} ms */
  function pause(ms) {
    if (hurried || signal.aborted) return Promise.resolve();
    return new Promise((/** @type {(value?: any) => void} */ resolve) => {
      const timer = Number.isFinite(ms) ? setTimeout(resolve, ms) : undefined;
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async function run() {
    while (!signal.aborted) {
      hurried = false;
      let wait;
      try {
        await task();
        failures = 0;
        connection.good(task);
        const base = typeof every === "function" ? every() : every;
        wait = document.hidden ? base * HIDDEN_FACTOR : base;
      } catch (error) {
        if (signal.aborted) break;
        if (error instanceof Problem && error.status === 401) {
          await session.known();
          continue;
        }
        const expected = error instanceof Problem || error instanceof Unreachable;
        if (!expected) console.error(error);
        failures += 1;
        wait = delay(failures, error);
        connection.bad(task, /** @type {Error} */ (error), Date.now() + wait, soon);
      }
      await pause(wait);
    }
    connection.good(task);
  }

  const onVisible = () => !document.hidden && soon();
  document.addEventListener("visibilitychange", onVisible, { signal });
  window.addEventListener("online", soon, { signal });
  signal.addEventListener("abort", () => wake());
  run();
  return { soon };
}

/** @param {number} failures @param {unknown} error */
function delay(failures, error) {
  if (error instanceof Problem && error.retryAfter !== null) return error.retryAfter * 1000;
  const longest = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** (failures - 1));
  return longest * (0.75 + Math.random() / 2); // so that not all pages come back at once
}
