/** Numbers, with units, as people read them. What is not there is a dash. */

export const NONE = "–";

/** @param {number | null | undefined} value @param {number} [digits] behind the point */
export function number(value, digits = 0) {
  if (!isNumber(value)) return NONE;
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** A number of any size, to so many figures. @param {number | null | undefined} value */
export function figure(value, figures = 3) {
  if (!isNumber(value)) return NONE;
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(figures - 1);
  const least = Number.isInteger(value) ? 1 : figures; // 0.460 says more than 0.46
  return value.toLocaleString("en", { minimumSignificantDigits: least, maximumSignificantDigits: figures });
}

/** A share of 1 as a percentage. @param {number | null | undefined} share */
export function percent(share, digits = 1) {
  return isNumber(share) ? `${number(100 * share, digits)} %` : NONE;
}

/**
 * A share with the interval it lies in.
 * @param {number | null | undefined} share
 * @param {number | null | undefined} low
 * @param {number | null | undefined} high
 */
export function percentInterval(share, low, high, digits = 1) {
  if (!isNumber(low) || !isNumber(high)) return percent(share, digits);
  return `${number(100 * Number(share), digits)} % (${number(100 * low, digits)} to ${number(100 * high, digits)})`;
}

/** @param {number | null | undefined} seconds */
export function duration(seconds) {
  if (!isNumber(seconds)) return NONE;
  if (seconds < 0.95) return "under 1 s";
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const whole = Math.round(seconds);
  const [d, h, m, s] = [whole / 86400, (whole % 86400) / 3600, (whole % 3600) / 60, whole % 60].map(Math.floor);
  if (d > 0) return `${d} d ${h} h`;
  if (h > 0) return `${h} h ${m} min`;
  return m < 10 && s > 0 ? `${m} min ${s} s` : `${m} min`;
}

/** @param {number | null | undefined} count */
export function bytes(count) {
  if (!isNumber(count)) return NONE;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let size = count;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${number(size, unit === 0 || size >= 100 ? 0 : 1)} ${units[unit]}`;
}

/** `1 job`, `2 jobs`. @param {number} count @param {string} one @param {string} [many] */
export function counted(count, one, many = `${one}s`) {
  return `${number(count)} ${count === 1 ? one : many}`;
}

/** A name of the API's in words: `worker_lost`, `worker lost`. @param {string} name */
export const words = (name) => name.replaceAll("_", " ");

/** @param {string} text */
export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** Any value of a spec on one line. @param {any} value */
export function shown(value) {
  if (value === null || value === undefined) return NONE;
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** @param {any} value @returns {value is number} */
function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}
