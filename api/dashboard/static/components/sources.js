/** What pickers pick from. */

import { counted, percent, words } from "../core/format.js";

/** @type {import("./picker.js").Source} */
export const CHECKPOINTS = {
  where: "/checkpoints",
  none: "There are no checkpoints: let a job finish first.",
  name: (row) => row.name ?? `${row.method} ${row.architecture}`,
  note({ id, method, metrics }) {
    const accuracy = metrics?.in_distribution?.accuracy;
    return [id, words(method), accuracy == null ? "" : `ID accuracy ${percent(accuracy)}`].filter(Boolean).join(", ");
  },
};

/** @type {import("./picker.js").Source} */
export const DATASETS = {
  where: "/datasets",
  none: "No data sets were uploaded.",
  name: (row) => `${row.name}, ${counted(row.images, "image")}`,
  note: (row) => row.id,
};
