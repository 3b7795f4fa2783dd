import { MarkdownReader } from "./markdown.js";

const SLICE_MS = 4; // of work at a time, for the layout of it takes several times as long
const PAUSE_MS = 40;

let sliceEnd = 0;

/** Until when the task that runs now may work, however many texts it shows. */
function slice() {
  if (!sliceEnd) {
    sliceEnd = performance.now() + SLICE_MS;
    setTimeout(() => (sliceEnd = 0));
  }
  return sliceEnd;
}

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
    this.#isStale = !this.#reader.read(slice());
    this.#reader.show();
    const cost = performance.now() - began;
    // However slow the machine is, most of its time stays free.
    this.#timer = setTimeout(() => this.#show(), this.#isStale ? Math.max(PAUSE_MS / 2, cost) : Math.max(PAUSE_MS, cost * 4));
  }

  #finish() {
    if (!this.#reader.read(slice())) {
      // One slice for each frame, or a busy browser would lay out many of them together.
      if (document.hidden) setTimeout(() => this.#finish());
      else requestAnimationFrame(() => setTimeout(() => this.#finish()));
      return;
    }
    this.#reader.end();
    this.#whole();
  }
}
