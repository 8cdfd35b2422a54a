/**
 * One page of the list, kept up to date.
 *
 * What changed anywhere is asked for (`updated_after`, with its ETag: 304 while nothing did). Jobs on
 * the page are changed in place; the page itself is asked for again only when it may hold others, and
 * now and then for what changes without a job's doing, such as places in line and heartbeats.
 */

/** @typedef {{data: any, etag: string | null, status: number}} Answer */

const LIMIT = 50;
const MOST_CHANGES = 200;
const MOST_KNOWN = 20_000;
const WHOLE_EVERY_MS = 15_000;
// Transactions end in another order than their clocks say: look back this far each time.
const OVERLAP_MS = 3000;
/** @type {Record<string, string[]>} */
export const VIEWS = {
  active: ["queued", "running", "pausing", "paused", "cancelling"],
  succeeded: ["succeeded"],
  failed: ["failed"],
  cancelled: ["cancelled"],
};

export class Follower {
  /** @type {any[]} */
  jobs = [];
  /** @type {string | null} */
  next = null;
  loaded = false;
  #query;
  #wholeAt = 0;
  /** @type {string | null} */
  #wholeTag = null;
  /** @type {string | null} */
  #since = null;
  /** @type {string | null} */
  #changesTag = null;
  /** The state in which each job was last seen, on this page or not. @type {Map<string, string>} */
  #states = new Map();

  /** @param {URLSearchParams} query */
  constructor(query) {
    this.#query = query;
  }

  get query() {
    return this.#query;
  }

  set query(query) {
    this.#query = query;
    this.#wholeAt = 0;
    this.#wholeTag = null;
  }

  /**
   * Ask what is new.
   * @param {(path: string, options: any) => Promise<Answer>} get
   * @param {AbortSignal} signal
   * @returns {Promise<boolean>} whether anything is
   */
  async look(get, signal) {
    if (performance.now() - this.#wholeAt > WHOLE_EVERY_MS || this.#wholeAt === 0 || this.#since === null) {
      return this.#whole(get, signal);
    }
    const answer = await get("/jobs", {
      query: { updated_after: this.#since, limit: MOST_CHANGES }, etag: this.#changesTag, signal,
    });
    if (answer.status === 304) return false;
    this.#changesTag = answer.etag;
    const since = this.#since;
    this.#note(answer.data.data);
    if (since !== this.#since) this.#changesTag = null;
    if (this.#mayHoldOthers(answer.data.data)) return this.#whole(get, signal);
    const changes = new Map(answer.data.data.map((/** @type {any} */ job) => [job.id, job]));
    this.jobs = this.jobs.map((job) => changes.get(job.id) ?? job);
    return true;
  }

  /** @param {any} get @param {AbortSignal} signal */
  async #whole(get, signal) {
    const asked = this.#query;
    const answer = await get("/jobs", { query: this.#asked(), etag: this.#wholeTag, signal });
    if (asked !== this.#query) return false; // something else is wanted by now
    this.#wholeAt = performance.now();
    if (answer.status === 304) return false;
    this.#wholeTag = answer.etag;
    this.jobs = answer.data.data;
    this.next = answer.data.next_cursor;
    this.loaded = true;
    this.#note(this.jobs);
    for (const job of this.jobs) this.#states.set(job.id, job.state);
    return true;
  }

  #asked() {
    const query = this.#query;
    return {
      state: VIEWS[query.get("view") ?? ""] ?? [],
      method: query.get("method"),
      kind: query.get("kind"),
      search: query.get("search"),
      cursor: query.get("cursor"),
      limit: LIMIT,
    };
  }

  /** @param {any[]} jobs */
  #note(jobs) {
    const newest = jobs.reduce((last, job) => (job.updated_at > last ? job.updated_at : last), "");
    if (newest === "") return;
    const since = new Date(Date.parse(newest) - OVERLAP_MS).toISOString();
    if (this.#since === null || since > this.#since) this.#since = since;
  }

  /**
   * Whether the page may be another one after these changes: a job that is in another state than
   * before comes, goes, or moves those that wait.
   * @param {any[]} changes
   */
  #mayHoldOthers(changes) {
    if (this.#states.size > MOST_KNOWN) this.#states.clear();
    const moved = changes.filter((job) => this.#states.get(job.id) !== job.state);
    for (const job of moved) this.#states.set(job.id, job.state);
    return moved.length > 0 || changes.length === MOST_CHANGES;
  }
}
