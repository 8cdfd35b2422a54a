/** Whether the server answers those who poll it; the banner shows what is said here. */

class Connection extends EventTarget {
  /** @type {Map<unknown, {error: Error, again: number, retry: () => void}>} */
  #failing = new Map();

  /** @param {unknown} who */
  good(who) {
    if (this.#failing.delete(who)) this.#tell();
  }

  /** @param {unknown} who @param {Error} error @param {number} again when @param {() => void} retry */
  bad(who, error, again, retry) {
    this.#failing.set(who, { error, again, retry });
    this.#tell();
  }

  /** What is wrong; null when nothing is. */
  get trouble() {
    const all = [...this.#failing.values()];
    if (all.length === 0) return null;
    const first = all.reduce((a, b) => (a.again < b.again ? a : b));
    return { error: first.error, again: first.again, retry: () => all.forEach((each) => each.retry()) };
  }

  #tell() {
    this.dispatchEvent(new Event("change"));
  }
}

export const connection = new Connection();
