/** Server-sent events out of text that comes in any pieces. */
export class EventParser {
  #rest = "";
  #data = [];

  /**
   * @param {string} text the next piece
   * @returns {{data?: string, comment?: string}[]} what is whole by now
   */
  feed(text) {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    const found = [];
    for (const line of lines) {
      if (line === "") {
        if (this.#data.length) found.push({ data: this.#data.join("\n") });
        this.#data = [];
      } else if (line.startsWith(":")) {
        found.push({ comment: line.slice(1).trim() });
      } else if (line === "data" || line.startsWith("data:")) {
        this.#data.push(line.slice(5).replace(/^ /, ""));
      }
    }
    return found;
  }
}

const BUSY_MS = 12; // after so much work at a stretch, keys and clicks come first

/** The events of an answer, one after the other; leaving the loop closes the connection. */
export async function* eventsOf(response) {
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  const parser = new EventParser();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      let began = performance.now();
      for (const event of parser.feed(decoder.decode(value, { stream: true }))) {
        yield event;
        if (performance.now() - began < BUSY_MS) continue;
        await new Promise((free) => setTimeout(free));
        began = performance.now();
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
