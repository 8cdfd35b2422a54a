/** The line at the top: where one can go, who one is. */

import { button } from "../components/button.js";
import { themeButton } from "../components/theme.js";
import { toast } from "../components/toast.js";
import { request } from "../core/api.js";
import { h, replace, s } from "../core/h.js";
import { link } from "../core/router.js";
import { session } from "../core/session.js";
import { PAGES } from "../pages.js";

/**
 * @param {() => void} toContent
 * @returns {{element: HTMLElement, skip: HTMLElement, mark(page: import("../pages.js").Page | null): void,
 *   update(): void}}
 */
export function header(toContent) {
  const nav = h("nav", { class: "nav", "aria-label": "Pages" });
  const account = h("div", { class: "account" });
  const theme = themeButton();
  /** @type {import("../pages.js").Page | null} */
  let marked = null;

  function mark(/** @type {import("../pages.js").Page | null} */ page) {
    marked = page;
    for (const each of nav.children) {
      const at = page !== null && [page.name, page.within].includes(/** @type {HTMLElement} */ (each).dataset.page);
      if (at) each.setAttribute("aria-current", page.name === /** @type {HTMLElement} */ (each).dataset.page ? "page" : "true");
      else each.removeAttribute("aria-current");
    }
  }

  function update() {
    const who = session.who;
    const shown = PAGES.filter((each) => each.nav && each.scope && session.may(each.scope));
    replace(nav, shown.map((each) => h("a", { href: link(each.name), "data-page": each.name }, each.nav)));
    replace(
      account,
      who !== null && session.keyed &&
        h("span", { class: "account-name", title: `key ${who.key_id}, project ${who.project}` }, h("bdi", {}, who.name ?? who.key_id), ` · ${who.project}`),
      theme,
      who !== null && session.keyed && button("Sign out", signOut, { kind: "quiet", icon: "out" }),
    );
    mark(marked);
  }

  update();
  const skip = h("button", { type: "button", class: "skip", on: { click: toContent } }, "Skip to content");
  const brand = h("a", { class: "brand", href: "#" }, logo(), "CaRot");
  const element = h("header", { class: "top" }, h("div", { class: "top-inner" }, brand, nav, account));
  return { element, skip, mark, update };
}

async function signOut() {
  try {
    await request("DELETE", "/session");
    session.end();
  } catch (error) {
    toast(`Not signed out: ${/** @type {Error} */ (error).message}`, "bad");
  }
}

function logo() {
  return s(
    "svg",
    { viewBox: "0 0 32 32", "aria-hidden": "true" },
    s("rect", { width: 32, height: 32, rx: 8, fill: "#2f5bd0" }),
    s("path", { d: "M7 23 23 7", stroke: "#fff", "stroke-opacity": ".45", "stroke-width": 2, "stroke-dasharray": "2.5 3" }),
    s("path", { d: "M7 24c6-1 7-8 11-9s4-4 7-6", fill: "none", stroke: "#fff", "stroke-width": 3, "stroke-linecap": "round" }),
  );
}
