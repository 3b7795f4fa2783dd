import { element } from "./element.js";
import { coloured } from "./colours.js";
import { say } from "./notice.js";

/**
 * A block of code with its language and a button that copies it.
 *
 * @returns {{box: HTMLElement, text: Text, finish: () => void}} text may grow until `finish`
 */
export function codeBlock(source, language = "") {
  const text = document.createTextNode(source);
  const code = element("code", {}, text);
  const copy = element("button", { type: "button", class: "quiet copy" }, "Copy");
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      copy.textContent = "Copied";
      say("copied");
    } catch {
      getSelection().selectAllChildren(code);
      copy.textContent = "Selected";
    }
  });
  const name = language.slice(0, 30);
  const box = element(
    "div",
    { class: "code" },
    element("div", { class: "code-head" }, element("span", {}, name || "code"), copy),
    element("pre", { tabindex: "0", role: "region", "aria-label": name ? `Code, ${name}` : "Code" }, code),
  );
  const finish = () => code.replaceChildren(...coloured(code.textContent, name.toLowerCase()));
  if (source) finish();
  return { box, text, finish };
}
