import { element } from "./element.js";

const PART = 4000; // characters that the browser lays out together, if lines end there
const PAUSE_MS = 50;
const LINE_EM = 1.5; // about; only for what has not been on the screen yet

/** Plain text that grows in a box that keeps its lines; what is above is not laid out again. */
export class GrowingLines {
  #box;
  #last = document.createTextNode("");
  #waiting = "";
  #timer = 0;
  #wraps;

  /** @param {boolean} options.wraps whether long lines are broken in this box, wherever that may be */
  constructor(box, text = "", { wraps = false } = {}) {
    this.#box = box;
    this.#wraps = wraps;
    box.replaceChildren(this.#last);
    if (text) this.append(text);
  }

  /** What is laid out by itself, from the first line to the last: a text, and elements behind it. */
  get parts() {
    return [...this.#box.childNodes];
  }

  /** Add soon, together with what comes meanwhile. */
  push(text) {
    this.#waiting += text;
    this.#timer ||= setTimeout(() => this.flush(), PAUSE_MS);
  }

  flush() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    if (this.#waiting) this.append(this.#waiting);
    this.#waiting = "";
  }

  /** Add now; what is given back takes it away again, as long as nothing else was added. */
  append(text) {
    const first = this.#last;
    const { length } = first;
    const parts = [];
    let from = 0;
    while (from < text.length) {
      const least = from + Math.max(0, PART - this.#last.length);
      let end = text.indexOf("\n", least) + 1;
      const most = Math.max(from + 1, least + PART);
      if (this.#wraps && text.length > most && (!end || end > most)) end = most;
      const to = end || text.length;
      this.#last.appendData(text.slice(from, to));
      from = to;
      if (!end) break;
      this.#last = document.createTextNode("");
      const part = element("div", {}, this.#last);
      if (this.#wraps) {
        part.style.contentVisibility = "auto";
        part.style.containIntrinsicSize = `auto ${LINE_EM * lines(text, from)}em`;
      }
      parts.push(part);
      this.#box.append(part);
    }
    return () => {
      for (const part of parts) part.remove();
      first.deleteData(length, first.length);
      this.#last = first;
    };
  }
}

/** How many lines the part will have that begins here, for all that is known. */
function lines(text, from) {
  return Math.max(1, text.slice(from, from + PART).split("\n").length);
}
