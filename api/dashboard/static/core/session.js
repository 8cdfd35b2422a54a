/** Who is looking, and what becomes of a page when that is no longer known. */

/**
 * @typedef {object} Who
 * @property {string | null} key_id null at a server without keys
 * @property {string | null} name
 * @property {string[]} scopes
 * @property {string} project
 * @property {string | null} expires_at
 * @property {string | null} csrf_token
 */

class Session extends EventTarget {
  /** @type {Who | null} */
  who = null;
  /** @type {Promise<void> | null} */
  #back = null;
  /** @type {() => void} */
  #resolve = () => {};

  /** Sent with each request that changes something. */
  get csrf() {
    return this.who?.csrf_token ?? null;
  }

  /** Whether there are keys at all. */
  get keyed() {
    return this.who?.key_id != null;
  }

  /** @param {string} scope */
  may(scope) {
    return this.who !== null && (this.who.scopes.includes(scope) || this.who.scopes.includes("admin"));
  }

  /** @param {Who} who somebody signed in, or is known again */
  set(who) {
    const other = this.who === null || this.who.key_id !== who.key_id;
    this.who = who;
    this.#resolve();
    this.#back = null;
    this.dispatchEvent(new CustomEvent("known", { detail: { other } }));
  }

  /** @param {Error} why the server no longer knows who this is */
  lose(why) {
    if (this.#back !== null) return;
    this.#back = new Promise((resolve) => (this.#resolve = resolve));
    this.#tell(why);
  }

  /** @param {Error} why */
  #tell(why) {
    this.dispatchEvent(new CustomEvent("lost", { detail: { why } }));
  }

  /** Resolves as soon as somebody is signed in. */
  async known() {
    if (this.#back !== null) await this.#back;
  }

  /** Forget who it is: they signed out. */
  end() {
    this.who = null;
    const why = new Error("");
    if (this.#back === null) this.lose(why);
    else this.#tell(why); // a poller noticed first; now it is for good
  }
}

export const session = new Session();
