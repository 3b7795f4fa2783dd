import { element } from "./element.js";
import { coloured } from "./colours.js";
import { GrowingLines } from "./growing-lines.js";
import { say } from "./notice.js";

/**
 * A block of code with its language and a button that copies it.
 *
 * @returns {{box: HTMLElement, append: (text: string) => () => void, finish: () => void}} it grows
 *   by `append`, which gives what takes that away again, until `finish`
 */
export function codeBlock(language = "") {
  const code = element("code");
  const lines = new GrowingLines(code);
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
  const finish = () => {
    const nodes = coloured(code.textContent, name.toLowerCase());
    if (nodes) code.replaceChildren(...nodes);
  };
  return { box, append: (text) => lines.append(text), finish };
}
