/** An address that means no page. */

import { h } from "../core/h.js";
import { home, link } from "../core/router.js";

/** @param {string} path @returns {import("../pages.js").View} */
export function notFound(path) {
  return {
    title: "Page not found",
    element: h(
      "div",
      { class: "page" },
      h("h1", {}, "Page not found"),
      h("p", {}, "There is no page at ", h("code", {}, path.slice(0, 200)), "."),
      h("p", {}, h("a", { href: link(home().name) }, `Go to ${home().nav}`)),
    ),
  };
}
