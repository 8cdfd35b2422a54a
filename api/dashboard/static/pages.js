/**
 * Every page of the dashboard. A new one is a line here and a file in `pages/` that exports
 * `open(context)`.
 */

/**
 * @typedef {object} Context what a page is given
 * @property {Record<string, string>} params from its path
 * @property {URLSearchParams} query
 * @property {AbortSignal} signal aborted when the page is left: pass it to requests, pollers and
 *   listeners, and nothing has to be cleaned up
 *
 * @typedef {object} View what a page gives
 * @property {HTMLElement} element
 * @property {string} title
 * @property {(query: URLSearchParams) => void} [update] the query changed; without it the page is
 *   opened again
 *
 * @typedef {object} Page
 * @property {string} name for `link(name, params, query)`
 * @property {string} path with parameters in braces
 * @property {string} [nav] its word in the navigation
 * @property {string} [within] the page whose word is marked there while this one is open
 * @property {string} [scope] without it the page is not in the navigation
 * @property {() => Promise<{open(context: Context): View | Promise<View>}>} load
 */

/** @type {Page[]} one arrives at the first that one may see */
export const PAGES = [
  { name: "jobs", path: "/jobs", nav: "Jobs", scope: "jobs:read", load: () => import("./pages/jobs.js") },
  { name: "job", path: "/jobs/{id}", within: "jobs", load: () => import("./pages/job.js") },
  { name: "report", path: "/reports/{id}", within: "jobs", load: () => import("./pages/report.js") },
  { name: "new", path: "/new", within: "jobs", load: () => import("./pages/new.js") },
  { name: "models", path: "/models", nav: "Models", scope: "models:read", load: () => import("./pages/models.js") },
  { name: "model", path: "/models/{alias}", within: "models", load: () => import("./pages/model.js") },
  { name: "compare", path: "/compare", nav: "Compare", scope: "models:read", load: () => import("./pages/compare.js") },
  { name: "try", path: "/try", nav: "Try it", scope: "predict", load: () => import("./pages/try.js") },
  { name: "datasets", path: "/datasets", nav: "Data sets", scope: "jobs:read", load: () => import("./pages/datasets.js") },
  { name: "dataset", path: "/datasets/{id}", within: "datasets", load: () => import("./pages/dataset.js") },
  { name: "workers", path: "/workers", nav: "Workers", scope: "jobs:read", load: () => import("./pages/workers.js") },
];
