import { codeBlock } from "./code-block.js";
import { fenceEnd, fenceStart, markdown } from "./markdown.js";

const LONG = 6000; // characters of one block that are not read as Markdown again and again

/**
 * Markdown that is shown while it grows. Blocks that are whole are made once; only the last one is
 * made anew, and a block of code only grows: an answer of any length costs the same per word.
 */
export class GrowingText {
  #box;
  #source = "";
  #pending = "";
  #tail = [];
  #code = null;
  #plain = null;
  #timer = 0;

  constructor(box) {
    this.#box = box;
  }

  get source() {
    return this.#source;
  }

  push(text) {
    this.#source += text;
    this.#pending += text;
    this.#timer ||= setTimeout(() => this.#show(), 0);
  }

  /** Show all of it. */
  end() {
    clearTimeout(this.#timer);
    this.#take(true);
    this.#code?.finish();
    this.#drop();
    if (this.#pending) this.#box.append(...markdown(this.#pending));
    this.#pending = "";
  }

  #show() {
    const began = performance.now();
    this.#take(false);
    if (!this.#code) this.#showTail();
    const cost = performance.now() - began;
    // However slow the machine is, most of its time stays free.
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      if (this.#pending !== this.#last) this.#show();
      this.#last = this.#pending;
    }, Math.max(40, cost * 4));
    this.#last = this.#pending;
  }

  #last = "";

  #showTail() {
    if (this.#pending.length > LONG) {
      if (!this.#plain) {
        this.#drop();
        this.#plain = { box: document.createElement("p"), length: 0 };
        this.#plain.box.className = "plain";
        this.#box.append(this.#plain.box);
        this.#tail = [this.#plain.box];
      }
      this.#plain.box.append(this.#pending.slice(this.#plain.length));
      this.#plain.length = this.#pending.length;
      return;
    }
    const fresh = markdown(this.#pending);
    this.#drop();
    this.#tail = fresh;
    this.#box.append(...fresh);
  }

  #drop() {
    for (const node of this.#tail) node.remove();
    this.#tail = [];
    this.#plain = null;
  }

  /** Move what is whole from the pending text into the page. */
  #take(isEnd) {
    for (;;) {
      if (this.#code) {
        if (!this.#growCode(isEnd)) return;
      } else {
        const { to, opensCode } = wholeUpTo(this.#pending);
        if (to === 0 && !opensCode) return;
        this.#drop();
        const whole = this.#pending.slice(0, to);
        this.#pending = this.#pending.slice(to);
        if (whole.trim()) this.#box.append(...markdown(whole));
        if (opensCode) this.#openCode();
      }
    }
  }

  #openCode() {
    const end = this.#pending.indexOf("\n");
    const [, mark, language] = fenceStart(this.#pending.slice(0, end));
    this.#code = { ...codeBlock("", language), end: fenceEnd(mark), lines: 0 };
    this.#box.append(this.#code.box);
    this.#pending = this.#pending.slice(end + 1);
  }

  /** Whether the block of code has ended, and more may follow. */
  #growCode(isEnd) {
    const lines = this.#pending.split("\n");
    const last = lines.pop();
    const at = lines.findIndex((line) => this.#code.end.test(line));
    this.#addCode(at < 0 ? lines : lines.slice(0, at));
    if (at >= 0) {
      this.#code.finish();
      this.#code = null;
      this.#pending = [...lines.slice(at + 1), last].join("\n");
      return true;
    }
    this.#pending = last;
    if (isEnd) {
      if (last && !this.#code.end.test(last)) this.#addCode([last]);
      this.#pending = "";
    }
    return false;
  }

  #addCode(lines) {
    if (!lines.length) return;
    this.#code.text.appendData((this.#code.lines ? "\n" : "") + lines.join("\n"));
    this.#code.lines += lines.length;
  }
}

/** Up to where the text holds blocks that nothing can change, and whether code begins there. */
function wholeUpTo(text) {
  let whole = 0;
  let isBlank = false;
  for (let at = 0, end; (end = text.indexOf("\n", at)) >= 0; at = end + 1) {
    const line = text.slice(at, end);
    if (/^(```|~~~)/.test(line) && fenceStart(line)) return { to: at, opensCode: true };
    const isEmpty = !line.trim();
    // What is indented, or the next item of a list, may belong to the block before it.
    if (isBlank && !isEmpty && !/^(\s|[-*+>|]|\d{1,9}[.)])/.test(line)) whole = at;
    isBlank = isEmpty;
  }
  return { to: whole, opensCode: false };
}
