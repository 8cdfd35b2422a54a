/** Where a model points: another checkpoint, or one it pointed to before. */

import { badge } from "../../components/badge.js";
import { button } from "../../components/button.js";
import { icon } from "../../components/icon.js";
import { confirm } from "../../components/dialog.js";
import { command, empty } from "../../components/empty.js";
import { errorBox } from "../../components/errorbox.js";
import { pager } from "../../components/pager.js";
import { table } from "../../components/table.js";
import { time } from "../../components/time.js";
import { toast } from "../../components/toast.js";
import { get, path, request } from "../../core/api.js";
import { NONE, percent } from "../../core/format.js";
import { h, replace } from "../../core/h.js";
import { session } from "../../core/session.js";
import { calibratorName, checkpoint, checkpointCell, checkpointName, figureColumns, headline } from "./data.js";

const SHOWN = 20;
const TYPING_MS = 250;

/**
 * @param {string} alias @param {AbortSignal} signal @param {(model: any) => void} onMoved
 */
export function moving(alias, signal, onMoved) {
  const wrong = errorBox("The model was not changed");
  const failed = errorBox("This part of the list cannot be shown");
  const may = session.may("jobs:write");
  /** @type {any} */
  let model = null;
  const others = h("div", { class: "list-place" });
  const past = h("div", {});
  const of = { search: "", cursor: /** @type {string | null} */ (null), before: /** @type {string | null} */ (null) };
  const pages = pager("Pages of the checkpoints", (cursor) => () => turn({ cursor }));
  const changePages = pager("Pages of the history", (before) => () => turn({ before }));
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const search = /** @type {HTMLInputElement} */ (h("input", { type: "search", class: "input", maxlength: 200, placeholder: "Search name, id, method", "aria-label": "Search checkpoints", on: { input: () => {
    clearTimeout(timer);
    timer = setTimeout(() => turn({ search: search.value.trim(), cursor: null }), TYPING_MS);
  } } }));
  signal.addEventListener("abort", () => clearTimeout(timer));

  const candidates = table(
    "Checkpoints",
    [
      { title: "Checkpoint", kind: "main", value: (row) => [checkpointName(row), row.id], render: (_, row) => checkpointCell(row), csvTitles: ["name", "id"], csv: (/** @type {any} */ both) => both },
      { title: "Method", value: (row) => row.method },
      ...figureColumns((/** @type {any} */ row) => row),
      { title: "Created", value: (row) => row.created_at, render: (moment) => time(moment) },
      {
        title: "Promote", value: (row) => [row.id === model.checkpoint_id, row.id], csv: ([now]) => (now ? "in use" : ""),
        render: ([now], row) => (now ? badge("in use", "good") : may && button("Promote", () => move(row, null), { name: `Promote ${row.id}` })),
      },
    ],
    (row) => row.id,
  );
  const changes = table(
    "History",
    [
      { title: "Since", kind: "main", value: (row) => row.change.created_at, render: (moment) => time(moment) },
      { title: "Checkpoint", value: (row) => row.change.checkpoint_id, render: (id, row) => (id === null ? "the name was removed" : row.made ? checkpointCell(row.made) : h("span", { class: "mono" }, id)) },
      { title: "Calibrator", value: (row) => row.change.calibrator_id, render: (id, row) => (row.change.checkpoint_id === null ? NONE : calibratorName(id)) },
      ...figureColumns((/** @type {any} */ row) => row.made).slice(0, 2),
      {
        title: "Roll back", value: (row) => [same(row.change), row.made?.deleted_at ?? null, row.change.checkpoint_id], csv: ([now]) => (now ? "now" : ""),
        render: ([now, gone], row) => {
          if (now) return badge("now", "good");
          if (row.made === null || gone) return h("span", { class: "muted" }, "deleted");
          return may && button("Roll back", () => move(row.made, row.change.calibrator_id), { name: `Roll back to ${row.made.id}` });
        },
      },
    ],
    (row) => row.change.id,
  );

  /** @param {any} change */
  const same = (change) => change.checkpoint_id === model.checkpoint_id && change.calibrator_id === model.calibrator_id;

  /** @param {any} to @param {string | null} calibrator */
  async function move(to, calibrator) {
    const from = await checkpoint(model.checkpoint_id).catch(() => null);
    const yes = await confirm({
      title: "Point the model to this checkpoint?", danger: false, yes: "Change it", no: "Cancel",
      text: [
        h("p", {}, h("bdi", {}, alias), " answers with ", h("strong", {}, h("bdi", {}, checkpointName(to))), " from the next request on; those under way finish on the old one."),
        from && difference(from, to),
        h("p", { class: "muted" }, "Evidence and open alerts are reset. You can roll back here."),
      ],
    });
    if (!yes) return;
    wrong.clear();
    try {
      const body = { checkpoint: to.id, ...(calibrator === null ? {} : { calibrator }) };
      onMoved((await request("PUT", path`/models/${alias}`, { body, signal })).data);
      toast("Changed.");
    } catch (error) {
      if (!signal.aborted) wrong.show(error, () => move(to, calibrator));
    }
  }

  /** Another part of the lists. @param {Partial<typeof of>} to */
  async function turn(to) {
    Object.assign(of, to);
    try {
      await draw();
      failed.clear();
    } catch (error) {
      if (!signal.aborted) failed.show(error, () => turn({}));
    }
  }

  let turns = 0;
  async function draw() {
    const mine = ++turns;
    const { search: wanted, cursor, before } = of;
    const [made, told] = await Promise.all([
      get("/checkpoints", { query: { limit: SHOWN, search: wanted, cursor }, signal }),
      get(path`/models/${alias}/history`, { query: { limit: SHOWN, cursor: before }, signal }),
    ]);
    const rows = await Promise.all(
      told.data.data.map(async (/** @type {any} */ change) => ({
        change, made: change.checkpoint_id === null ? null : await checkpoint(change.checkpoint_id).catch(() => null),
      })),
    );
    if (mine !== turns) return;
    candidates.update(made.data.data);
    pages.update(cursor, made.data.next_cursor);
    if (made.data.data.length === 0) replace(others, wanted ? empty("No checkpoint found.") : empty("There are no checkpoints.", command("carot run --dataset builtin:digits --preset carot")));
    else if (candidates.element.parentElement !== others) replace(others, candidates.element);
    changes.update(rows);
    changePages.update(before, told.data.next_cursor);
    if (changes.element.parentElement !== past) replace(past, changes.element);
  }

  return {
    element: h(
      "div", { class: "stack-gap" }, wrong.element, failed.element,
      h("div", { class: "section-head" }, h("h2", {}, "Checkpoints"), h("div", { class: "search" }, icon("search"), search)), others, pages.element,
      h("h2", {}, "History"), past, changePages.element,
    ),
    /** @param {any} now */
    look(now) {
      model = now;
      return draw();
    },
  };
}

/** What would change in headline figures. @param {any} from @param {any} to */
function difference(from, to) {
  const [before, after] = [headline(from), headline(to)];
  return h("p", {}, `On the data set's own test images: accuracy ${percent(before.idAccuracy)} now, ${percent(after.idAccuracy)} afterwards; ECE ${percent(before.idEce, 2)} now, ${percent(after.idEce, 2)} afterwards.`);
}
