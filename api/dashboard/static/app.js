/** The frame: who is looking, which page is open, and what is wrong with the connection. */

import { errorCard } from "./components/errorbox.js";
import { button } from "./components/button.js";
import { get, Problem } from "./core/api.js";
import { h, replace } from "./core/h.js";
import { here, start } from "./core/router.js";
import { session } from "./core/session.js";
import { banner } from "./frame/banner.js";
import { header } from "./frame/header.js";
import { notFound } from "./frame/notfound.js";
import { signIn } from "./frame/signin.js";
import { PAGES } from "./pages.js";

/** @typedef {{path: string, view: import("./pages.js").View, leave: AbortController}} Open */

start(PAGES);

const main = h("main", { id: "main", tabindex: "-1" });
const gate = h("main", { hidden: true });
const top = header(() => main.querySelector("h1")?.focus());
/** @type {Open | null} */
let open = null;
let turn = 0;

/** Show the page that the address names. */
async function show() {
  if (session.who === null) return;
  const place = here();
  top.mark(place.page);
  if (open !== null && open.path === place.path && open.view.update) {
    open.view.update(place.query);
    return;
  }
  const mine = ++turn;
  const leave = new AbortController();
  let view;
  try {
    view = place.page === null
      ? notFound(place.path)
      : await (await place.page.load()).open({ params: place.params, query: place.query, signal: leave.signal });
  } catch (error) {
    leave.abort();
    if (mine !== turn) return;
    view = failed(error);
  }
  if (mine !== turn) {
    leave.abort();
    return;
  }
  const first = open === null;
  open?.leave.abort();
  open = { path: place.path, view, leave };
  replace(main, view.element);
  entitle(view.title);
  window.scrollTo(0, 0);
  const heading = main.querySelector("h1");
  heading?.setAttribute("tabindex", "-1");
  if (!first) heading?.focus();
}

/** @param {string} title */
function entitle(title) {
  document.title = title ? `${title} · CaRot` : "CaRot";
}

/** A page that cannot be opened: most often its file is of another version by now. @param {unknown} error */
function failed(error) {
  const again = button("Reload", () => location.reload(), { kind: "primary" });
  if (!(error instanceof Problem)) console.warn(error);
  return {
    title: "Not opened",
    element: h("div", { class: "page" }, h("h1", {}, "This page cannot be opened"), errorCard("Not opened", error), h("div", {}, again)),
  };
}

/** Leave the page that is open, and nothing of it behind. */
function shut() {
  open?.leave.abort();
  open = null;
  replace(main);
}

/** @param {boolean} closed whether to ask for a key instead of showing the page */
function guard(closed) {
  main.hidden = closed;
  gate.hidden = !closed;
  if (!closed) replace(gate);
}

session.addEventListener("lost", (event) => {
  const { why } = /** @type {CustomEvent} */ (event).detail;
  if (session.who === null) shut();
  replace(gate, signIn(why, open !== null));
  guard(true);
  top.update();
  gate.querySelector("input")?.focus();
});

session.addEventListener("known", (event) => {
  const { other } = /** @type {CustomEvent} */ (event).detail;
  guard(false);
  top.update();
  if (other) shut(); // whoever this is sees other things
  if (open?.path !== here().path) show(); // else it stands as it was, with what was typed
});

document.addEventListener("retitle", (event) => entitle(/** @type {CustomEvent} */ (event).detail));
window.addEventListener("hashchange", show);

/** Find out who is looking; without keys it is anybody. */
async function begin() {
  document.body.append(top.skip, top.element, banner(), main, gate);
  try {
    session.set((await get("/session")).data);
  } catch (error) {
    if (error instanceof Problem && error.status === 401) session.lose(error);
    else {
      replace(main, h("div", { class: "page" }, h("h1", {}, "CaRot"), errorCard("The dashboard cannot start", error, { retry: () => location.reload() })));
    }
  }
}

begin();
