/** The server's time, as far as its answers tell: clocks of browsers are often wrong. */

const TOLERATED_MS = 2000;
let offset = 0;

/** @param {string | null} date the `Date` header, exact to a second */
export function noteServerTime(date) {
  const told = date === null ? NaN : Date.parse(date) + 500;
  if (Number.isNaN(told)) return;
  const found = told - Date.now();
  if (Math.abs(found - offset) > TOLERATED_MS) offset = Math.abs(found) > TOLERATED_MS ? found : 0;
}

/** Milliseconds since 1970 by the server's clock. */
export const now = () => Date.now() + offset;
