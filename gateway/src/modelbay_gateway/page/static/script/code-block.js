import { element } from "./element.js";
import { coloured } from "./colours.js";
import { afterFrame, isFull, share } from "./frame.js";
import { GrowingLines } from "./growing-lines.js";
import { say } from "./notice.js";

const LONG = 10_000; // characters without the end of a line; they stay one colour

/**
 * A block of code with its language and a button that copies it.
 *
 * @returns {{box: HTMLElement, append: (text: string) => () => void, finish: () => number}} it grows
 *   by `append`, which gives what takes that away again, until `finish`, which gives how many nodes
 *   it made
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
  const look = () => coloured(code.textContent, name.toLowerCase())?.reverse() ?? [];
  const finish = () => {
    if (lines.parts.length === 1) return fill(lines.parts[0], look());
    colour(lines.parts, look);
    return 0;
  };
  return { box, append: (text) => lines.append(text), finish };
}

/** Give the parts their colours in the frames that follow. */
function colour(parts, look) {
  let nodes = null;
  let at = 0;
  const go = () => {
    while (at < parts.length && !isFull()) {
      const began = performance.now();
      nodes ??= look();
      share().nodes -= 2 * fill(parts[at], nodes);
      share().ms -= performance.now() - began;
      at += 1;
    }
    if (at < parts.length) afterFrame(go);
  };
  afterFrame(go);
}

/** Replace a part's text by the nodes that say the same, if any; they are taken off the end. */
function fill(part, nodes) {
  if (!nodes.length) return 0;
  const { length } = part.textContent;
  const found = [];
  for (let to = length; to > 0; ) {
    const node = nodes.pop();
    const said = node.textContent;
    if (said.length > to) {
      const rest = node.cloneNode();
      rest.textContent = said.slice(to);
      nodes.push(rest);
      node.textContent = said.slice(0, to);
    }
    found.push(node);
    to -= said.length;
  }
  if (length > LONG) return 0;
  if (part instanceof Text) part.replaceWith(...found);
  else part.replaceChildren(...found);
  return found.length;
}
