import { codeBlock } from "./code-block.js";
import { element } from "./element.js";
import { LIMIT, filled, inline, settled } from "./inline.js";
import { cellsOf, closes, fenceOf, headingOf, interrupts, isRule, itemOf, quoted, sidesOf, starts } from "./line-kinds.js";

const DEPTH = 12; // of lists and quotes in each other; what is deeper is text
const COLUMNS = 50;
const TOGETHER = 100; // items or rows that the browser lays out together
const MOST = 4 * LIMIT; // characters that wait for the end of a mark

/**
 * Markdown as nodes, made with the DOM alone: no text of a model is ever read as HTML.
 *
 * @param {string} text
 * @returns {Node[]} blocks
 */
export function markdown(text) {
  const box = document.createDocumentFragment();
  const reader = new MarkdownReader(box);
  reader.push(text);
  reader.read();
  reader.end();
  return [...box.childNodes];
}

/**
 * Reads Markdown line by line and appends what is whole: items, rows and quotes as they come. A line
 * costs the same wherever it stands, and no line is read twice but the one that still grows.
 */
export class MarkdownReader {
  #box;
  #pushed = "";
  #source = "";
  #at = 0;
  #made = 0; // nodes since the last `read`, about
  #items = 0;
  #isLong = false;
  // What is open is replaced and never changed, so that a line can be tried and taken back.
  #open = []; // quotes and lists, the outermost first
  #leaf = null; // a paragraph, a block of code or a table that may go on
  #isBlank = false;
  #undo = null;

  constructor(box) {
    this.#box = box;
  }

  push(text) {
    this.#pushed += text;
  }

  /**
   * Read what is whole.
   *
   * @param {{ms: number, nodes: number}} share stop after so long, or so many nodes; what was done is
   *   taken off it
   * @returns {boolean} whether nothing whole is left
   */
  read(share = { ms: Infinity, nodes: Infinity }) {
    const began = performance.now();
    const { ms, nodes } = share;
    this.#made = 0;
    this.#takeBack();
    this.#fetch();
    for (;;) {
      const end = this.#source.indexOf("\n", this.#at);
      const to = end < 0 ? this.#source.length : end;
      if (to - this.#at > LIMIT) this.#long(this.#source.slice(this.#at, (this.#at += LIMIT)));
      else if (end < 0) return true;
      else {
        this.#rest(this.#source.slice(this.#at, end));
        this.#isLong = false;
        this.#at = end + 1;
      }
      share.nodes = nodes - this.#made;
      share.ms = ms - (performance.now() - began);
      if (share.nodes <= 0 || share.ms <= 0) return false;
    }
  }

  /** Go on with what was pushed; a line may end with two characters, of which one is still to come. */
  #fetch(isWhole = false) {
    const isCut = !isWhole && this.#pushed.endsWith("\r");
    const given = isCut ? this.#pushed.slice(0, -1) : this.#pushed;
    this.#pushed = isCut ? "\r" : "";
    if (!given) return;
    this.#source = this.#source.slice(this.#at) + given.replace(/\r\n?/g, "\n");
    this.#at = 0;
  }

  /** Show what is not whole, until the next `read`. */
  show() {
    this.#takeBack();
    const saved = [this.#open, this.#leaf, this.#isBlank, this.#items];
    this.#undo = [];
    if (this.#at < this.#source.length) this.#rest(this.#source.slice(this.#at));
    this.#closeLeaf();
    [this.#open, this.#leaf, this.#isBlank, this.#items] = saved;
  }

  /** Nothing more comes. */
  end() {
    this.#takeBack();
    this.#fetch(true);
    this.read();
    this.#rest(this.#source.slice(this.#at));
    this.#closeTo(0);
    this.#source = "";
    this.#at = 0;
  }

  #takeBack() {
    while (this.#undo?.length) this.#undo.pop()();
    this.#undo = null;
  }

  #put(parent, ...nodes) {
    this.#putAll(parent, nodes);
  }

  #putAll(parent, nodes) {
    filled(parent, nodes);
    for (const node of nodes) this.#made += 1 + node.childNodes.length;
    this.#undo?.push(() => nodes.forEach((node) => node.remove()));
  }

  // --- lines ------------------------------------------------------------------------------------

  #rest(text) {
    if (this.#isLong) this.#more(text);
    else this.#line(text);
  }

  /** So much of a line that is longer than any but a paragraph's. */
  #long(text) {
    if (this.#isLong) this.#more(text);
    else this.#line(text, true);
    this.#isLong = true;
  }

  #more(text) {
    if (this.#leaf?.kind === "code") this.#appendCode(text);
    else if (this.#leaf) this.#grow(text, true);
    else this.#paragraph(text, true);
  }

  #line(line, isLong = false) {
    let rest = line;
    let depth = 0;
    for (; depth < this.#open.length; depth += 1) {
      const inner = within(this.#open[depth], rest);
      if (inner === null) break;
      rest = inner;
    }
    const wasBlank = this.#isBlank;
    this.#isBlank = !rest.trim();
    const frame = this.#open[depth];
    const item = frame && !this.#isBlank ? itemOf(rest) : null;
    const goesOn = this.#leaf && !wasBlank && !this.#isBlank && !item && !starts(rest);
    if (this.#leaf?.kind === "code" && (!frame || goesOn)) return this.#codeLine(rest, isLong);
    if (this.#leaf?.kind === "table" && (!frame || goesOn) && rest.includes("|") && !isLong) return this.#row(rest);
    if (this.#leaf?.kind === "paragraph" && frame && goesOn) return this.#paragraph(rest, isLong);
    if (frame && isNext(frame, item) && !isRule(rest)) {
      this.#closeTo(depth + 1);
      rest = this.#item(item);
    } else if (frame || this.#isBlank) this.#closeTo(depth);
    if (!this.#isBlank) this.#blocks(rest, isLong);
  }

  /** What a line begins, behind the marks of the quotes and lists that go on. */
  #blocks(line, isLong) {
    let rest = line;
    if (!isLong && this.#leaf?.kind === "paragraph") {
      const { text, last } = this.#leaf;
      const sides = last >= 0 && sidesOf(rest, text.slice(last));
      if (sides) return this.#table(sides);
    }
    while (this.#open.length < DEPTH && !isRule(rest)) {
      const inner = quoted(rest);
      const item = inner === null ? itemOf(rest) : null;
      if (inner === null && (!item || (this.#leaf?.kind === "paragraph" && !interrupts(item)))) break;
      this.#closeLeaf();
      if (item) rest = this.#list(item);
      else {
        const node = element("blockquote");
        this.#put(this.#inmost, node);
        this.#open = [...this.#open, { kind: "quote", node }];
        rest = inner;
      }
    }
    if (rest.trim()) this.#text(rest, isLong);
  }

  #text(rest, isLong) {
    let found;
    if (isLong) this.#paragraph(rest, true);
    else if ((found = fenceOf(rest))) this.#code(found);
    else if ((found = headingOf(rest))) {
      this.#closeLeaf();
      // The page has its own h1 and h2; an answer's headings stand below them.
      this.#put(this.#inmost, element(`h${Math.min(6, found.level + 2)}`, {}, ...inline(found.text)));
    } else if (isRule(rest)) {
      this.#closeLeaf();
      this.#put(this.#inmost, element("hr"));
    } else this.#paragraph(rest, false);
  }

  get #inmost() {
    const frame = this.#open.at(-1);
    return frame ? (frame.item ?? frame.node) : this.#box;
  }

  #closeTo(depth) {
    this.#closeLeaf();
    if (depth < this.#open.length) this.#open = this.#open.slice(0, depth);
  }

  #closeLeaf() {
    const leaf = this.#leaf;
    this.#leaf = null;
    if (leaf?.kind === "code" && !this.#undo) this.#made += 2 * leaf.block.finish();
    if (leaf?.kind !== "paragraph") return;
    const text = leaf.text.trimEnd();
    // What is long by then holds an image, or marks that nobody closes; it shows when it is whole.
    const isPlain = this.#undo && text.length > 2 * MOST;
    if (text) this.#putAll(this.#boxOf(leaf), isPlain ? [document.createTextNode(text)] : inline(text));
  }

  // --- lists ------------------------------------------------------------------------------------

  #list(item) {
    const { indent, number } = item;
    const node = element(number === null ? "ul" : "ol", number === null || number === 1 ? {} : { start: number });
    this.#put(this.#inmost, node);
    this.#open = [...this.#open, { kind: "list", node, indent, isNumbered: number !== null, from: this.#items }];
    return this.#item(item);
  }

  /** Begin an item of the innermost list; what is left of its line. */
  #item({ width, isTask, isDone, text }) {
    const frame = this.#followed(this.#open.at(-1));
    this.#items += 1;
    const item = isTask ? element("li", { class: "task" }, isDone ? "☑ " : "☐ ") : element("li");
    this.#put(frame.node, item);
    this.#open = [...this.#open.slice(0, -1), { ...frame, item, width, before: item.childNodes.length }];
    return text;
  }

  /** The list, or the one that goes on where it has grown long: what is above is laid out no more. */
  #followed(frame) {
    if (this.#items - frame.from < TOGETHER || frame.node.parentNode !== this.#box) return frame;
    const first = frame.node.start ?? 1;
    const node = frame.isNumbered ? element("ol", { start: first + frame.node.childElementCount }) : element("ul");
    node.style.marginTop = "0.25em"; // as between items
    this.#put(this.#box, node);
    return { ...frame, node, from: this.#items };
  }

  // --- paragraphs -------------------------------------------------------------------------------

  #paragraph(line, isLong) {
    const text = line.trimStart();
    if (this.#leaf?.kind === "paragraph") {
      this.#grow(`\n${text}`, isLong);
      return;
    }
    this.#closeLeaf();
    const frame = this.#open.at(-1);
    // A short item is text; paragraphs inside it would only add space.
    const isItem = frame?.item && frame.item.childNodes.length === frame.before;
    this.#leaf = { kind: "paragraph", parent: this.#inmost, box: isItem ? frame.item : null, text, last: isLong ? -1 : 0, next: LIMIT };
  }

  /** Add to the paragraph, and show for good what nothing can change. */
  #grow(added, isLong) {
    const leaf = this.#leaf;
    let text = leaf.text + added;
    let last = isLong ? -1 : leaf.text.length + 1; // it might be the head of a table
    let { next } = leaf;
    const sure = isLong ? text : leaf.text;
    if (sure.length > next) {
      const isStuck = sure.length > MOST && !sure.includes("](data:image/");
      const { nodes, to } = isStuck ? { nodes: inline(sure), to: sure.length } : settled(sure);
      if (to) {
        this.#putAll(this.#boxOf(leaf), nodes);
        text = text.slice(to);
        if (last >= 0) last -= to;
      }
      next = Math.max(LIMIT, 2 * (sure.length - to));
    }
    this.#leaf = { ...this.#leaf, text, last, next };
  }

  #boxOf(leaf) {
    if (leaf.box) return leaf.box;
    const box = element("p");
    this.#put(leaf.parent, box);
    if (this.#leaf) this.#leaf = { ...this.#leaf, box };
    return box;
  }

  // --- code -------------------------------------------------------------------------------------

  #code({ mark, language }) {
    this.#closeLeaf();
    const block = codeBlock(language);
    this.#put(this.#inmost, block.box);
    this.#leaf = { kind: "code", mark, block, isEmpty: true };
  }

  #codeLine(line, isLong) {
    if (!isLong && closes(line, this.#leaf.mark)) {
      this.#closeLeaf();
      return;
    }
    this.#appendCode(this.#leaf.isEmpty ? line : `\n${line}`);
    if (this.#leaf.isEmpty) this.#leaf = { ...this.#leaf, isEmpty: false };
  }

  #appendCode(text) {
    const takeBack = this.#leaf.block.append(text);
    this.#undo?.push(takeBack);
  }

  // --- tables -----------------------------------------------------------------------------------

  /** The last line of the paragraph was the head of a table. */
  #table(sides) {
    const { text, last } = this.#leaf;
    this.#leaf = { ...this.#leaf, text: text.slice(0, Math.max(0, last - 1)) };
    this.#closeLeaf();
    const body = element("tbody");
    const whole = element("table", {}, element("thead", {}, rowOf(text.slice(last), "th", sides)), body);
    this.#put(this.#inmost, element("div", { class: "table", tabindex: "0", role: "region", "aria-label": "Table" }, whole));
    this.#leaf = { kind: "table", body, sides, widths: null };
  }

  #row(line) {
    if (this.#leaf.body.childElementCount === TOGETHER) this.#nextTable();
    const row = rowOf(line, "td", this.#leaf.sides);
    this.#put(this.#leaf.body, row);
    this.#made += row.childElementCount; // what they say
  }

  /** Go on in a table of the same columns: a long one would be laid out anew for every row. */
  #nextTable() {
    const last = this.#leaf.body.parentNode;
    const { cells } = last.rows[0];
    const isRagged = cells.length < this.#leaf.sides.length;
    const widths = isRagged ? this.#leaf.widths : [...cells].map((cell) => cell.getBoundingClientRect().width);
    const body = element("tbody");
    const next = element("table", {}, body);
    const box = element("div", { class: "table", tabindex: "0", role: "region", "aria-label": "Table, continued" }, next);
    box.style.marginTop = "0";
    for (const each of [last, next]) this.#align(each, widths);
    this.#put(this.#inmost, box);
    this.#leaf = { ...this.#leaf, body, widths };
  }

  /** Give the columns at least these widths in pixels; none where they are on no page. */
  #align(table, widths) {
    if (!widths?.some(Boolean) || table.querySelector("colgroup")) return;
    const columns = widths.map((width) => {
      const column = element("col");
      column.style.minWidth = `${width}px`;
      return column;
    });
    const group = element("colgroup", {}, ...columns);
    table.prepend(group);
    this.#undo?.push(() => group.remove());
  }
}

function rowOf(line, tag, sides) {
  const cells = cellsOf(line).slice(0, COLUMNS);
  return element("tr", {}, ...cells.map((each, n) => element(tag, { class: sides[n] ?? null }, ...inline(each))));
}

/** The line within a quote or a list's item; null if it stands outside. */
function within(frame, line) {
  if (frame.kind === "quote") return quoted(line);
  const spaces = line.length - line.trimStart().length;
  if (spaces === line.length) return "";
  const isInside = line.startsWith(" ".repeat(Math.min(frame.width, frame.indent + 2)));
  return isInside ? line.slice(Math.min(frame.width, spaces)) : null;
}

/** Whether this is another item of the list. */
function isNext(frame, item) {
  return frame.kind === "list" && Boolean(item) && item.indent <= frame.indent + 1 && (item.number !== null) === frame.isNumbered;
}
