import { MarkdownReader } from "./markdown.js";

// What a frame has time for: to lay nodes out takes several times as long as to make them.
const WORK_MS = 4;
const NODES = 400;
const PAUSE_MS = 40;

let left = null;

/** What may be done yet before the next frame, by all texts together. */
function share() {
  if (!left) {
    left = { until: performance.now() + WORK_MS, nodes: NODES };
    afterFrame(() => (left = null));
  }
  return left;
}

function afterFrame(call) {
  if (document.hidden) setTimeout(call);
  else requestAnimationFrame(() => setTimeout(call));
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
    this.#isStale = !this.#reader.read(share());
    this.#reader.show();
    const cost = performance.now() - began;
    // However slow the machine is, most of its time stays free.
    this.#timer = setTimeout(() => this.#show(), this.#isStale ? Math.max(PAUSE_MS / 2, cost) : Math.max(PAUSE_MS, cost * 4));
  }

  #finish() {
    if (!this.#reader.read(share())) {
      afterFrame(() => this.#finish());
      return;
    }
    this.#reader.end();
    this.#whole();
  }
}
