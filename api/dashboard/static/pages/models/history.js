/** Where a model points: another checkpoint, or one it pointed to before. */

import { badge } from "../../components/badge.js";
import { button } from "../../components/button.js";
import { confirm } from "../../components/dialog.js";
import { command, empty } from "../../components/empty.js";
import { errorBox } from "../../components/errorbox.js";
import { table } from "../../components/table.js";
import { time } from "../../components/time.js";
import { toast } from "../../components/toast.js";
import { get, path, request } from "../../core/api.js";
import { NONE, percent } from "../../core/format.js";
import { h, replace } from "../../core/h.js";
import { session } from "../../core/session.js";
import { calibratorName, checkpoint, checkpointCell, checkpointName, figureColumns, headline } from "./data.js";

const SHOWN = 100;

/**
 * @param {string} alias @param {AbortSignal} signal @param {(model: any) => void} onMoved
 */
export function moving(alias, signal, onMoved) {
  const wrong = errorBox("The model was not moved");
  const may = session.may("jobs:write");
  /** @type {any} */
  let model = null;
  const others = h("div", { class: "list-place" });
  const past = h("div", {});

  const candidates = table(
    "Checkpoints",
    [
      { title: "Checkpoint", kind: "main", value: (row) => [checkpointName(row), row.id], render: (_, row) => checkpointCell(row), csvTitles: ["name", "id"], csv: (/** @type {any} */ both) => both },
      { title: "Method", value: (row) => row.method },
      ...figureColumns((/** @type {any} */ row) => row),
      { title: "Made", value: (row) => row.created_at, render: (moment) => time(moment) },
      {
        title: "Promote", value: (row) => [row.id === model.checkpoint_id, row.id], csv: ([now]) => (now ? "serves now" : ""),
        render: ([now], row) => (now ? badge("serves now", "good") : may && button("Promote", () => move(row, null), { name: `Promote ${row.id}` })),
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
    const from = await checkpoint(model.checkpoint_id, signal).catch(() => null);
    const yes = await confirm({
      title: "Point the model there?", danger: false, yes: "Move it", no: "Leave it",
      text: [
        h("p", {}, h("bdi", {}, alias), " answers with ", h("strong", {}, h("bdi", {}, checkpointName(to))), " from the next request on; those under way finish on the old one."),
        from && difference(from, to),
        h("p", { class: "muted" }, "Evidence and open alerts begin anew. You can roll back here."),
      ],
    });
    if (!yes) return;
    wrong.clear();
    try {
      const body = { checkpoint: to.id, ...(calibrator === null ? {} : { calibrator }) };
      onMoved((await request("PUT", path`/models/${alias}`, { body, signal })).data);
      toast("Moved.");
    } catch (error) {
      if (!signal.aborted) wrong.show(error, () => move(to, calibrator));
    }
  }

  return {
    element: h("div", { class: "stack-gap" }, wrong.element, h("h2", {}, "Checkpoints"), others, h("h2", {}, "History"), past),
    /** @param {any} now */
    async look(now) {
      model = now;
      const [made, before] = await Promise.all([
        get("/checkpoints", { query: { limit: SHOWN }, signal }),
        get(path`/models/${alias}/history`, { query: { limit: SHOWN }, signal }),
      ]);
      candidates.update(made.data.data);
      if (made.data.data.length === 0) replace(others, empty("There are no checkpoints.", command("carot run --dataset builtin:digits --preset carot")));
      else if (candidates.element.parentElement !== others) replace(others, candidates.element);
      const rows = await Promise.all(
        before.data.data.map(async (/** @type {any} */ change) => ({
          change, made: change.checkpoint_id === null ? null : await checkpoint(change.checkpoint_id, signal).catch(() => null),
        })),
      );
      changes.update(rows);
      if (changes.element.parentElement !== past) replace(past, changes.element);
    },
  };
}

/** What would change in headline figures. @param {any} from @param {any} to */
function difference(from, to) {
  const [before, after] = [headline(from), headline(to)];
  return h("p", {}, `Accuracy on its own test images ${percent(before.idAccuracy)} now, ${percent(after.idAccuracy)} then; ECE ${percent(before.idEce, 2)} now, ${percent(after.idEce, 2)} then.`);
}
