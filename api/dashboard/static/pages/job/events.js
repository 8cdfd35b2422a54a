/** Everything that happened to a job, newest first. */

import { badge } from "../../components/badge.js";
import { button } from "../../components/button.js";
import { empty } from "../../components/empty.js";
import { table } from "../../components/table.js";
import { time } from "../../components/time.js";
import { counted, words } from "../../core/format.js";
import { h, replace } from "../../core/h.js";

const FIRST = 200;
/** @type {Record<string, string>} */
const TONES = { warning: "warn", error: "bad" };

/** @type {import("../../components/table.js").Column<any>[]} */
const COLUMNS = [
  { title: "No.", kind: "number", value: (event) => event.seq },
  { title: "When", value: (event) => event.created_at, render: (moment) => time(moment) },
  {
    title: "Event",
    kind: "main",
    csvTitles: ["type", "level"],
    value: (event) => [event.type, event.level],
    render: ([type, level]) => [words(type), TONES[level] && [" ", badge(level, TONES[level])]],
    csv: (value) => value,
  },
  { title: "Message", kind: "wide", value: (event) => event.message || (event.data.state ?? ""), render: (text) => h("bdi", {}, text) },
  {
    title: "Details",
    value: (event) => event.data,
    csv: (data) => JSON.stringify(data),
    render: (data) =>
      Object.keys(data).length > 0 && h("details", {}, h("summary", {}, "Show"), h("pre", { tabindex: 0 }, JSON.stringify(data, null, 2))),
  },
];

export function eventLog() {
  const list = table("Events", COLUMNS, (event) => String(event.seq));
  const place = h("div", {}, empty("No events yet."));
  const more = button("Show all", () => {
    all = true;
    show();
  });
  /** @type {any[]} */
  let events = [];
  let all = false;

  function show() {
    const newest = events.slice(all ? 0 : -FIRST).reverse();
    list.update(newest);
    if (list.element.parentElement !== place) replace(place, list.element, more);
    more.hidden = newest.length === events.length;
    replace(more, h("span", {}, `Show all ${counted(events.length, "event")}`));
  }

  return {
    element: place,
    /** @param {any[]} given in order */
    update(given) {
      events = given;
      if (events.length > 0) show();
    },
  };
}
