/** A folder of files as one tar archive (POSIX pax), without copying what is in them. */

const BLOCK = 512;
const text = new TextEncoder();

/** @typedef {{path: string, file: Blob}} Member */

/** @param {Member[]} members @returns {Blob} */
export function tar(members) {
  /** @type {BlobPart[]} */
  const parts = [];
  for (const { path, file } of members) {
    const name = text.encode(path);
    if (name.length > 100) parts.push(...pax(path));
    parts.push(header(name.slice(0, 100), file.size, "0"), file, padding(file.size));
  }
  parts.push(new Uint8Array(2 * BLOCK));
  return new Blob(parts, { type: "application/x-tar" });
}

/** A record that gives the next member a name of any length. @param {string} path */
function pax(path) {
  const said = ` path=${path}\n`;
  const bare = text.encode(said).length;
  let length = bare + 1;
  while (String(length).length + bare !== length) length = String(length).length + bare;
  const record = text.encode(`${length}${said}`);
  return [header(text.encode("pax"), record.length, "x"), record, padding(record.length)];
}

/** @param {Uint8Array} name @param {number} size @param {string} kind */
function header(name, size, kind) {
  const block = new Uint8Array(BLOCK);
  const put = (/** @type {string} */ value, /** @type {number} */ at) => block.set(text.encode(value), at);
  block.set(name, 0);
  put("0000644\0", 100);
  put("0000000\0", 108);
  put("0000000\0", 116);
  put(`${size.toString(8).padStart(11, "0")}\0`, 124);
  put("00000000000\0", 136);
  put("        ", 148); // the sum is taken with blanks in its place
  put(kind, 156);
  put("ustar\u000000", 257);
  const sum = block.reduce((all, byte) => all + byte, 0);
  put(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return block;
}

/** @param {number} size */
const padding = (size) => new Uint8Array((BLOCK - (size % BLOCK)) % BLOCK);
