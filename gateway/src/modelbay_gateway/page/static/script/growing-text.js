import { afterFrame, share } from "./frame.js";
import { MarkdownReader } from "./markdown.js";

const SHORT = 1000; // characters, which are worth no frame
const PAUSE_MS = 40;

/** Markdown that is shown while it grows; an answer of any length and shape costs the same per word. */
export class GrowingText {
  #reader;
  #source = "";
  #timer = 0;
  #isStale = false;
  #whole = null;

  constructor(box) {
    this.#reader = new MarkdownReader(box);
  }

  get source() {
    return this.#source;
  }

  push(text) {
    this.#source += text;
    this.#reader.push(text);
    this.#isStale = true;
    this.#timer ||= setTimeout(() => this.#show());
  }

  /**
   * Show all of it: at once if it is short, else in slices.
   *
   * @param {() => void} whole called when it is done
   */
  end(whole = () => {}) {
    clearTimeout(this.#timer);
    this.#whole = whole;
    this.#finish();
  }

  #show() {
    this.#timer = 0;
    if (!this.#isStale) return;
    const began = performance.now();
    this.#isStale = !this.#reader.read(share());
    this.#reader.show();
    const cost = performance.now() - began;
    // However slow the machine is, most of its time stays free.
    this.#timer = setTimeout(() => this.#show(), this.#isStale ? Math.max(PAUSE_MS / 2, cost) : Math.max(PAUSE_MS, cost * 4));
  }

  #finish() {
    if (!this.#reader.read(this.#source.length > SHORT ? share() : undefined)) {
      afterFrame(() => this.#finish());
      return;
    }
    this.#reader.end();
    this.#whole();
  }
}
