/** The same job, as a command. */

import { copyButton } from "../../components/button.js";
import { tabs } from "../../components/tabs.js";
import { h, setText } from "../../core/h.js";
import { session } from "../../core/session.js";

/** @param {any} body @returns {string} */
export function curl(body) {
  return [
    `curl -X POST ${location.origin}/jobs \\`,
    ...(session.keyed ? ['  -H "Authorization: Bearer $CAROT_API_KEY" \\'] : []),
    "  -H 'Content-Type: application/json' \\",
    `  -d ${quoted(JSON.stringify(body, null, 2))}`,
  ].join("\n");
}

/** @param {any} body @returns {string} */
export function cli(body) {
  return [`printf '%s' ${quoted(JSON.stringify(body, null, 2))} > job.json`, `carot jobs submit job.json --url ${location.origin} --watch`].join("\n");
}

/** As one word for a shell, whatever is in it. @param {string} text */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

export function commands() {
  /** @type {any} */
  let body = {};
  const parts = [["curl", "curl", curl], ["cli", "Command line", cli], ["json", "JSON", (/** @type {any} */ each) => JSON.stringify(each, null, 2)]].map(([name, title, make]) => {
    const pre = h("pre", { tabindex: 0, "aria-label": `The job for ${title}` });
    const panel = h("div", { class: "command-panel" }, pre, h("div", { class: "table-foot" }, copyButton("Copy", () => make(body), `Copy for ${title}`)));
    return { name: `as-${name}`, title, panel, pre, make };
  });
  return {
    element: h("section", { class: "card" }, h("div", { class: "card-head" }, h("h2", {}, "The same as a command")), tabs("As a command", parts).element),
    /** @param {any} now */
    update(now) {
      body = now;
      for (const { pre, make } of parts) setText(pre, make(body));
    },
  };
}
