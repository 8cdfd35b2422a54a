/** Every model: a name that requests use, and the checkpoint behind it. */

import { badge } from "../components/badge.js";
import { busy } from "../components/button.js";
import { command, empty } from "../components/empty.js";
import { errorBox, errorCard } from "../components/errorbox.js";
import { failFields, labelled } from "../components/labelled.js";
import { pager } from "../components/pager.js";
import { picker } from "../components/picker.js";
import { CHECKPOINTS } from "../components/sources.js";
import { table } from "../components/table.js";
import { time } from "../components/time.js";
import { get, path, request } from "../core/api.js";
import { counted, percent } from "../core/format.js";
import { h, replace, setText } from "../core/h.js";
import { poll } from "../core/poller.js";
import { go, link } from "../core/router.js";
import { session } from "../core/session.js";
import { checkpoint, checkpointCell, figureColumns, verdict } from "./models/data.js";

const EVERY_MS = 15_000;
const SHOWN = 50;
const WATCHED = 20;
const LAST = 1000;

/** @type {import("../components/table.js").Column<any>[]} */
const COLUMNS = [
  { title: "Model", kind: "main", value: (row) => row.alias, render: (alias) => h("a", { class: "job-name", href: link("model", { alias }) }, h("bdi", {}, alias)) },
  { title: "Checkpoint", value: (row) => row.checkpoint_id, render: (id, row) => (row.made ? checkpointCell(row.made) : h("span", { class: "mono" }, id)) },
  ...figureColumns((/** @type {any} */ row) => row.made),
  {
    title: "Live", kind: "wide", hint: "Whether its confidences are calibrated, tested on the labels", value: (row) => row.found && verdict(row.found),
    render: (said) => said && badge(said.label, said.tone), csv: (said) => said?.label ?? "",
  },
  {
    title: "Live acc.", kind: "number", hint: `Accuracy of the last ${LAST} predictions, those with a label; 95 % interval on hover`, value: (row) => row.found?.live?.measured && [row.found.live.measured.accuracy, ...row.found.live.measured.accuracy_interval],
    render: (of) => (of ? h("span", { title: `${percent(of[1])} to ${percent(of[2])}` }, percent(of[0])) : percent(null)),
    csvTitles: ["live accuracy", "low", "high"], csv: (/** @type {any} */ of) => of ?? [null, null, null],
  },
  { title: "Updated", value: (row) => row.updated_at, render: (moment) => time(moment) },
];

/** @param {import("../pages.js").Context} context @returns {import("../pages.js").View} */
export function open({ query, signal }) {
  const list = table("Models", COLUMNS, (row) => row.alias);
  const place = h("div", { class: "list-place models" });
  const summary = h("p", { class: "muted", role: "status" }, "Loading…");
  const pages = pager("Pages of the list", (cursor) => link("models", {}, { cursor }), { first: "First", next: "Next" });
  const cursor = query.get("cursor");
  const form = naming(signal);
  let loaded = false;

  const poller = poll(
    async () => {
      try {
        const { rows, next } = await look(cursor, signal);
        loaded = true;
        setText(summary, `${counted(rows.length, "model")}${next || cursor ? " on this page" : ""}`);
        pages.update(cursor, next);
        if (form) form.hidden = false;
        list.update(rows);
        if (rows.length === 0) replace(place, nothing());
        else if (list.element.parentElement !== place) replace(place, list.element);
      } catch (error) {
        if (!loaded && !signal.aborted) {
          setText(summary, "");
          replace(place, errorCard("The models cannot be shown", error, { retry: () => poller.soon() }));
        }
        throw error;
      }
    },
    { every: EVERY_MS, signal },
  );

  return {
    title: "Models",
    element: h("div", { class: "page" }, h("div", { class: "page-head" }, h("div", { class: "page-head-text" }, h("h1", {}, "Models"), summary)), place, pages.element, form),
  };
}

/** @param {string | null} cursor @param {AbortSignal} signal */
async function look(cursor, signal) {
  const { data } = await get("/models", { query: { limit: SHOWN, cursor }, signal });
  const rows = await Promise.all(
    data.data.map(async (/** @type {any} */ row, /** @type {number} */ i) => {
      const [made, found] = await Promise.all([
        checkpoint(row.checkpoint_id).catch(() => null),
        i < WATCHED ? get(path`/models/${row.alias}/calibration`, { query: { last: LAST }, signal }).then((answer) => answer.data, () => null) : null,
      ]);
      return { ...row, made, found };
    }),
  );
  return { rows, next: data.next_cursor };
}

function nothing() {
  return empty("There are no models yet.", h("p", {}, "A model is a name for a checkpoint; it can be pointed to another one later. Create one below, or:"), command("carot models set digits CHECKPOINT"));
}

/** Whether there is a model of this name. @param {string} alias @param {AbortSignal} signal */
async function taken(alias, signal) {
  let cursor = null;
  do {
    const { data } = await get("/models", { query: { limit: 200, cursor }, signal });
    if (data.data.some((/** @type {any} */ row) => row.alias === alias)) return true;
    cursor = data.next_cursor;
  } while (cursor !== null);
  return false;
}

/** A new name. @param {AbortSignal} signal */
function naming(signal) {
  if (!session.may("jobs:write")) return null;
  const name = /** @type {HTMLInputElement} */ (h("input", { class: "input", maxlength: 100, placeholder: "digits-production", autocomplete: "off", spellcheck: "false", required: true }));
  const target = picker(CHECKPOINTS, { signal });
  const fields = {
    alias: labelled("Name", name, { hint: "Letters, digits, dots, dashes and underscores." }),
    checkpoint: labelled("Checkpoint", target.input, { place: target.element }),
  };
  const wrong = errorBox("The model was not created");
  const making = h("button", { type: "submit", class: "button primary" }, "Create model");

  get("/checkpoints", { query: { limit: 1 }, signal }).then(({ data }) => data.data[0] && !target.value && target.set(data.data[0].id, data.data[0]), () => {});

  async function make() {
    wrong.clear();
    for (const each of Object.values(fields)) each.fail(null);
    const alias = name.value.trim();
    if (alias === "") {
      fields.alias.fail("give it a name");
      name.focus();
      return;
    }
    if (target.value === "") {
      fields.checkpoint.fail("choose one");
      target.input.focus();
      return;
    }
    try {
      if (await taken(alias, signal)) {
        fields.alias.fail("a model of this name exists: open it to point it to another checkpoint");
        return;
      }
      await request("PUT", path`/models/${alias}`, { body: { checkpoint: target.value }, signal });
      go(link("model", { alias }));
    } catch (error) {
      if (!signal.aborted && !failFields(error, fields)) wrong.show(error);
    }
  }

  return h(
    "section",
    { class: "card stack-gap", hidden: true }, // until it is known how long the list is
    h("h2", {}, "New model"),
    h("form", { class: "stack-gap", novalidate: true, on: { submit: (/** @type {Event} */ event) => { event.preventDefault(); busy(making, make); } } },
      h("div", { class: "form-line" }, fields.alias.element, fields.checkpoint.element), wrong.element, h("div", { class: "actions" }, making)),
  );
}
