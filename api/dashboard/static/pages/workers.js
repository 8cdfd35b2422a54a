/** Who trains: which machine, which GPUs, which job, and when each was last heard of. */

import { badge } from "../components/badge.js";
import { command, empty } from "../components/empty.js";
import { errorCard } from "../components/errorbox.js";
import { table } from "../components/table.js";
import { exact, time } from "../components/time.js";
import { get } from "../core/api.js";
import { NONE, bytes, counted, duration } from "../core/format.js";
import { h, replace, setText } from "../core/h.js";
import { poll } from "../core/poller.js";
import { link } from "../core/router.js";

const EVERY_MS = 5000;
/** @type {Record<string, string>} */
const TONES = { idle: "good", busy: "live", silent: "bad", stopped: "plain" };

/** @type {import("../components/table.js").Column<any>[]} */
const COLUMNS = [
  { title: "Worker", kind: "main", value: (row) => [row.name, row.host, row.pid], render: ([name, host, pid]) => [h("span", { class: "job-name" }, h("bdi", {}, name)), h("span", { class: "job-under muted" }, h("bdi", {}, host), `, process ${pid}`)], csvTitles: ["name", "host", "pid"], csv: (/** @type {any} */ all) => all },
  {
    title: "State", value: (row) => [row.state, row.silent_after_seconds],
    render: ([state, after]) => {
      const made = badge(state, TONES[state]);
      if (state === "silent") made.title = `no heartbeat for more than ${duration(after)}`;
      return made;
    },
    csv: ([state]) => state,
  },
  {
    title: "Job", kind: "wide", value: (row) => [row.state, row.job_id],
    render: ([state, id]) => (id !== null ? h("a", { class: "mono", href: link("job", { id }) }, id) : state === "busy" ? h("span", { class: "muted" }, "of another project") : NONE),
    csv: ([, id]) => id,
  },
  { title: "GPUs", kind: "wide", value: (row) => row.devices, render: (all) => (all.length === 0 ? h("span", { class: "muted" }, "none") : all.map(device)), csv: (all) => all.map((/** @type {any} */ each) => each.name).join("; ") },
  { title: "Queues", hint: "Queues that it takes jobs from", value: (row) => row.queues, render: (all) => all.join(", "), csv: (all) => all.join("; ") },
  { title: "Heartbeat", value: (row) => row.heartbeat_at, render: (moment) => time(moment) },
  { title: "Started", value: (row) => [row.started_at, row.stopped_at], render: ([from, to]) => (to ? h("span", { title: `stopped ${exact(to)}` }, time(from)) : time(from)), csvTitles: ["started", "stopped"], csv: (/** @type {any} */ both) => both },
  { title: "Version", value: (row) => row.version },
];

/** @param {any} each */
function device(each) {
  return h("span", { class: "device" }, h("bdi", {}, each.name), each.memory_bytes !== null && h("span", { class: "muted" }, ` ${bytes(each.memory_bytes)}`));
}

/** @param {import("../pages.js").Context} context @returns {import("../pages.js").View} */
export function open({ signal }) {
  const list = table("Workers", COLUMNS, (row) => row.id);
  const place = h("div", { class: "list-place workers" });
  const summary = h("p", { class: "muted", role: "status" }, "Loading…");
  let loaded = false;

  const poller = poll(
    async () => {
      try {
        const { data } = await get("/workers", { query: { limit: 200 }, signal });
        loaded = true;
        const rows = data.data;
        list.update(rows);
        setText(summary, told(rows));
        if (rows.length === 0) replace(place, empty("No worker was active in the last day.", h("p", {}, "Jobs wait until one is. Start it on the machine with the GPU:"), command("python -m worker")));
        else if (list.element.parentElement !== place) replace(place, list.element);
      } catch (error) {
        if (!loaded && !signal.aborted) {
          setText(summary, "");
          replace(place, errorCard("The workers cannot be shown", error, { retry: () => poller.soon() }));
        }
        throw error;
      }
    },
    { every: EVERY_MS, signal },
  );

  return { title: "Workers", element: h("div", { class: "page" }, h("div", { class: "page-head" }, h("div", { class: "page-head-text" }, h("h1", {}, "Workers"), summary)), place) };
}

/** @param {any[]} rows */
function told(rows) {
  const count = (/** @type {string} */ state) => rows.filter((row) => row.state === state).length;
  const parts = ["busy", "idle", "silent", "stopped"].filter((state) => count(state) > 0).map((state) => `${count(state)} ${state}`);
  return `${counted(rows.length, "worker")} of the last day${parts.length > 0 ? `: ${parts.join(", ")}` : ""}`;
}
