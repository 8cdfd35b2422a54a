/** What data sets look like, for two pages. */

export const SPLITS = ["train", "validation", "calibration", "test"];

/** Images of a split. @param {any} dataset @param {string} split @returns {number} */
export function inSplit(dataset, split) {
  const counts = Object.values(dataset.splits[split] ?? {});
  return counts.reduce((sum, count) => sum + Number(count), 0);
}

/** Where a data set came from. @param {any} dataset */
export function sourceName({ source }) {
  const { source: kind, kind: other, path } = source;
  const name = kind ?? other ?? "unknown";
  return path ? `${name}: ${path}` : String(name);
}
