import { codeBlock } from "./code-block.js";
import { element } from "./element.js";
import { inline } from "./inline.js";

const DEPTH = 12; // of lists and quotes in each other; what is deeper is text
const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^\s`]*)[^`]*$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])(?:\s+(.*))?$/;
const DIVIDER = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;

/**
 * Markdown as nodes, made with the DOM alone: no text of a model is ever read as HTML.
 *
 * @param {string} text
 * @returns {Node[]} blocks
 */
export function markdown(text, depth = 0) {
  const lines = text.split(/\r\n?|\n/);
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    if (!line.trim()) at += 1;
    else at = block(lines, at, blocks, depth);
  }
  return blocks;
}

function block(lines, at, blocks, depth) {
  const line = lines[at];
  let found;
  if ((found = FENCE.exec(line))) return fence(lines, at, blocks, found);
  if ((found = HEADING.exec(line))) {
    // The page has its own h1 and h2; an answer's headings stand below them.
    blocks.push(element(`h${Math.min(6, found[1].length + 2)}`, {}, ...inline(found[2])));
    return at + 1;
  }
  if (RULE.test(line)) {
    blocks.push(element("hr"));
    return at + 1;
  }
  if (depth < DEPTH && QUOTE.test(line)) return quote(lines, at, blocks, depth);
  if (depth < DEPTH && ITEM.test(line)) return list(lines, at, blocks, depth);
  if (line.includes("|") && DIVIDER.test(lines[at + 1] ?? "") && lines[at + 1].includes("-")) {
    return table(lines, at, blocks);
  }
  return paragraph(lines, at, blocks, depth);
}

function fence(lines, at, blocks, [, mark, language]) {
  const end = fenceEnd(mark);
  let to = at + 1;
  while (to < lines.length && !end.test(lines[to])) to += 1;
  blocks.push(codeBlock(lines.slice(at + 1, to).join("\n"), language).box);
  return to + 1;
}

/** What closes a fence of code that this mark opened. */
export function fenceEnd(mark) {
  return new RegExp(`^ {0,3}\\${mark[0]}{${mark.length},}\\s*$`);
}

/** `[whole, mark, language]` if the line opens a fence of code. */
export function fenceStart(line) {
  return FENCE.exec(line);
}

function quote(lines, at, blocks, depth) {
  let to = at;
  while (to < lines.length && (QUOTE.test(lines[to]) || (to > at && lines[to].trim() && !starts(lines[to])))) to += 1;
  const inner = lines.slice(at, to).map((line) => line.replace(QUOTE, ""));
  blocks.push(element("blockquote", {}, ...markdown(inner.join("\n"), depth + 1)));
  return to;
}

function list(lines, at, blocks, depth) {
  const [, indent, mark] = ITEM.exec(lines[at]);
  const isNumbered = /\d/.test(mark);
  const made = element(isNumbered ? "ol" : "ul", isNumbered && parseInt(mark, 10) !== 1 ? { start: parseInt(mark, 10) } : {});
  let to = at;
  while (to < lines.length) {
    const found = ITEM.exec(lines[to]);
    if (!found || found[1].length > indent.length + 1 || /\d/.test(found[2]) !== isNumbered || RULE.test(lines[to])) break;
    const width = found[1].length + found[2].length + 1;
    const inner = [found[3] ?? ""];
    for (to += 1; to < lines.length; to += 1) {
      const line = lines[to];
      const isInside = line.startsWith(" ".repeat(Math.min(width, indent.length + 2)));
      if (!line.trim()) {
        const next = lines[to + 1] ?? "";
        if (!next.startsWith(" ".repeat(indent.length + 2))) break;
      } else if (!isInside && (starts(line) || ITEM.test(line) || !lines[to - 1].trim())) break;
      inner.push(isInside ? line.slice(Math.min(width, line.search(/\S|$/))) : line);
    }
    made.append(entry(inner, depth));
    while (to < lines.length && !lines[to].trim() && ITEM.test(lines[to + 1] ?? "")) to += 1;
  }
  blocks.push(made);
  return to;
}

function entry(inner, depth) {
  const task = /^\[([ xX])\]\s+/.exec(inner[0]);
  if (task) inner[0] = inner[0].slice(task[0].length);
  const parts = markdown(inner.join("\n"), depth + 1);
  // A short item is text; paragraphs inside it would only add space.
  const first = parts[0];
  const flat = first?.nodeName === "P" ? [...first.childNodes, ...parts.slice(1)] : parts;
  if (!task) return element("li", {}, ...flat);
  const isDone = task[1] !== " ";
  return element("li", { class: "task" }, isDone ? "☑ " : "☐ ", ...flat);
}

function table(lines, at, blocks) {
  const sides = cells(lines[at + 1]).map(side);
  const row = (line, tag) =>
    element("tr", {}, ...cells(line).slice(0, 50).map((each, n) => element(tag, { class: sides[n] ?? null }, ...inline(each))));
  const body = element("tbody");
  let to = at + 2;
  for (; to < lines.length && lines[to].includes("|") && lines[to].trim(); to += 1) body.append(row(lines[to], "td"));
  const whole = element("table", {}, element("thead", {}, row(lines[at], "th")), body);
  blocks.push(element("div", { class: "table", tabindex: "0", role: "region", "aria-label": "Table" }, whole));
  return to;
}

function side(divider) {
  if (!divider.endsWith(":")) return null;
  return divider.startsWith(":") ? "center" : "right";
}

function cells(line) {
  return line
    .trim()
    .replace(/^\||(?<!\\)\|$/g, "")
    .split(/(?<!\\)\|/)
    .map((each) => each.trim().replace(/\\\|/g, "|"));
}

function paragraph(lines, at, blocks, depth) {
  let to = at + 1;
  while (to < lines.length && lines[to].trim() && !(starts(lines[to]) && depth < DEPTH)) to += 1;
  const text = lines.slice(at, to).map((line) => line.replace(/^\s+/, "")).join("\n");
  blocks.push(element("p", {}, ...inline(text.replace(/\s+$/, ""))));
  return to;
}

/** Whether a line begins a block of its own, and so ends a paragraph. */
function starts(line) {
  return FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line) || /^ *([-*+]|1[.)])\s+\S/.test(line);
}
