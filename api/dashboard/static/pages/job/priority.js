/** Which jobs a job goes before. */

import { fill } from "../../components/dialog.js";
import { errorBox } from "../../components/errorbox.js";
import { failFields, labelled } from "../../components/labelled.js";
import { toast } from "../../components/toast.js";
import { path, request } from "../../core/api.js";
import { h } from "../../core/h.js";

/** @param {any} job @param {(job: any) => void} onChange */
export function changePriority(job, onChange) {
  const input = /** @type {HTMLInputElement} */ (h("input", { class: "input", type: "number", min: -100, max: 100, step: 1, value: String(job.priority), autofocus: true }));
  const fields = { priority: labelled("Priority", input, { hint: "-100 to 100. In its queue, the higher goes first, and of equals the older." }) };
  const wrong = errorBox("The priority was not changed");

  async function act() {
    wrong.clear();
    if (input.value === "" || !Number.isInteger(input.valueAsNumber)) {
      fields.priority.fail("give a whole number");
      input.focus();
      return false;
    }
    try {
      onChange((await request("PATCH", path`/jobs/${job.id}`, { body: { priority: input.valueAsNumber } })).data);
      toast("Changed.");
      return true;
    } catch (error) {
      if (!failFields(error, fields)) wrong.show(error);
      return false;
    }
  }

  fill({ title: "Change the priority", content: [fields.priority.element, wrong.element], yes: "Change it", act });
}
