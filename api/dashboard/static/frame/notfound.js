/** An address that means no page. */

import { h } from "../core/h.js";
import { home, link } from "../core/router.js";

/** @param {string} path @returns {import("../pages.js").View} */
export function notFound(path) {
  return {
    title: "No such page",
    element: h(
      "div",
      { class: "page" },
      h("h1", {}, "There is no such page"),
      h("p", {}, h("code", {}, path.slice(0, 200)), " leads nowhere."),
      h("p", {}, h("a", { href: link(home().name) }, `Go to ${home().nav}`)),
    ),
  };
}
