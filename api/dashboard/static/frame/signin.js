/** A key is shown here, once, for a session. */

import { busy } from "../components/button.js";
import { command } from "../components/empty.js";
import { errorBox } from "../components/errorbox.js";
import { Problem, request } from "../core/api.js";
import { h } from "../core/h.js";
import { session } from "../core/session.js";

const WELCOME = "Jobs, checkpoints and how far to trust them.";

/**
 * @param {Error} why it is asked for
 * @param {boolean} interrupted whether there is a page to come back to
 */
export function signIn(why, interrupted) {
  const input = /** @type {HTMLInputElement} */ (
    h("input", { id: "key", type: "password", autocomplete: "current-password", spellcheck: "false", required: true, placeholder: "key_….SECRET", class: "input mono" })
  );
  const submit = h("button", { class: "button primary", type: "submit" }, "Sign in");
  const box = errorBox("Not signed in");
  // A server without keys says here whom it answers.
  const closed = why instanceof Problem && /no keys yet/.test(why.message) ? why.message : null;

  /** @param {Event} event */
  function onSubmit(event) {
    event.preventDefault();
    box.clear();
    busy(submit, async () => {
      try {
        const { data } = await request("POST", "/session", { body: { key: input.value.trim() } });
        session.set(data);
      } catch (error) {
        box.show(error);
        input.select();
      }
    });
  }

  const form = h(
    "form",
    { on: { submit: onSubmit } },
    h("label", { for: "key" }, "API key"),
    input,
    box.element,
    submit,
    h(
      "details",
      {},
      h("summary", {}, "Where do I get a key?"),
      h("p", {}, "Whoever runs this server creates one:"),
      command("carot keys create --name me --scope admin"),
      h("p", {}, "The browser gets a cookie that scripts cannot read; the key itself is not stored."),
    ),
  );
  return h(
    "div",
    { class: "sign-in fade" },
    h("h1", {}, "Sign in"),
    h("p", { class: "muted" }, interrupted ? "Your session has ended. Sign in to continue where you were." : WELCOME),
    closed ? h("p", {}, closed) : form,
  );
}
