import { element, freshId } from "./element.js";

/**
 * A dialog with one question.
 *
 * @param {object} question
 * @param {string} [question.label] of a field to fill in; without one it is yes or no
 * @returns {Promise<string|boolean|null>} what was filled in, or true; null for no
 */
export function ask({ title, text = "", label, value = "", type = "text", yes, danger = false }) {
  const titleId = `t${freshId()}`;
  const field =
    label && element("input", { type, value, required: true, autocomplete: "off", spellcheck: "false" });
  const no = element("button", { type: "button", class: "quiet" }, "Cancel");
  const form = element(
    "form",
    { method: "dialog" },
    element("h2", { id: titleId }, title),
    text && element("p", {}, text),
    field && element("label", { class: "field" }, element("span", {}, label), field),
    element("div", { class: "buttons" }, no, element("button", { class: danger ? "danger" : "main" }, yes)),
  );
  return opened(form, { "aria-labelledby": titleId, class: "question" }, no, () => field?.value.trim() ?? true);
}

/** Show a form as a modal dialog; gives `result()` when it is sent, else null. */
export function opened(form, properties, no, result) {
  const dialog = element("dialog", properties, form);
  const before = document.activeElement;
  document.body.append(dialog);
  return new Promise((resolve) => {
    let answer = null;
    // All in the task that closes it: nobody comes between that and the focus that is handed on.
    const end = () => {
      if (!dialog.isConnected) return;
      dialog.close();
      dialog.remove();
      if (before?.isConnected) before.focus();
      resolve(answer);
    };
    no.addEventListener("click", end);
    form.addEventListener("submit", (event) => {
      event.preventDefault(); // the policy of this page lets no form go anywhere
      answer = result();
      end();
    });
    dialog.addEventListener("cancel", end);
    dialog.addEventListener("close", end); // however else a browser may close it
    dialog.showModal();
    (form.querySelector("input, textarea") ?? no).focus();
  });
}
