/** What a job could go on from. */

import { badge } from "../../components/badge.js";
import { empty } from "../../components/empty.js";
import { table } from "../../components/table.js";
import { time } from "../../components/time.js";
import { bytes, number } from "../../core/format.js";
import { h, replace } from "../../core/h.js";

export function snapshots() {
  const list = table(
    "Snapshots",
    [
      { title: "Step", kind: "main", value: (each) => [each.step, each.kept], render: ([step, kept]) => [number(step), kept && [" ", badge("kept", "good")]], csv: ([step]) => step },
      { title: "Size", kind: "number", value: (each) => each.bytes, render: (size) => bytes(size) },
      { title: "Saved", value: (each) => each.at, render: (moment) => time(moment) },
    ],
    (each) => String(each.seq),
  );
  const place = h("div", {});
  let before = "";
  return {
    element: place,
    /** @param {any} job @param {any[]} events */
    update(job, events) {
      const saved = events.filter((each) => each.type === "snapshot_saved");
      const mark = `${saved.length} ${job.snapshot_step} ${job.state}`;
      if (mark === before) return;
      before = mark;
      if (saved.length === 0) {
        replace(place, empty("No snapshots.", "A training run saves one at intervals, and whenever it is paused: it resumes from there."));
        return;
      }
      const last = saved[saved.length - 1];
      const rows = saved.map((each) => ({ seq: each.seq, at: each.created_at, step: each.data.step, bytes: each.data.bytes, kept: each === last && each.data.step === job.snapshot_step }));
      list.update(rows.reverse());
      if (list.element.parentElement !== place) {
        replace(place, h("p", { class: "muted section-note" }, "Only the newest is kept; the job goes on from it after a pause, a crash or a retry."), list.element);
      }
    },
  };
}
