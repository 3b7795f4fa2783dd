import { Failure } from "./failure.js";
import { documents } from "./gateway.js";

/** Whoever leaves the page ends what it does; the browser asks whether that is meant. */
function askFirst(event) {
  event.preventDefault();
}

/**
 * What providers are doing for us: loads, pulls, deletions. Event: `change`.
 *
 * A piece of work: `{action, model, providerId, status, fraction, doneBytes, totalBytes, failure,
 * outcome, stop()}`; `outcome` is `running`, `done`, `failed` or `stopped`.
 */
export class Work extends EventTarget {
  /** @type {object[]} */
  pieces = [];

  /** The running work on a model, by its id. */
  on(id) {
    return this.pieces.find((each) => each.outcome === "running" && each.id === id) ?? null;
  }

  /** Do one action at a provider, and tell how far it is. */
  async start(providerId, action, model, more = {}) {
    const control = new AbortController();
    const piece = {
      action,
      model,
      providerId,
      id: `${providerId}/${model}`,
      status: "",
      fraction: null,
      doneBytes: null,
      totalBytes: null,
      failure: null,
      outcome: "running",
      stop: () => control.abort(),
    };
    this.pieces.push(piece);
    this.#changed();
    try {
      const path = `/api/providers/${encodeURIComponent(providerId)}/manage`;
      const body = { action, model, ...more };
      for await (const event of documents(path, { method: "POST", body, signal: control.signal })) {
        if (event.type !== "progress") continue;
        piece.status = event.status;
        piece.fraction = event.fraction;
        piece.doneBytes = event.done_bytes;
        piece.totalBytes = event.total_bytes;
        this.#changed();
      }
      piece.outcome = "done";
    } catch (caught) {
      piece.outcome = control.signal.aborted ? "stopped" : "failed";
      piece.failure = control.signal.aborted ? null : Failure.from(caught);
    }
    this.#changed();
    return piece;
  }

  forget(piece) {
    this.pieces = this.pieces.filter((each) => each !== piece);
    this.#changed();
  }

  #changed() {
    const isRunning = this.pieces.some(({ outcome }) => outcome === "running");
    // Only as long as need be: browsers keep no page at hand that listens to it.
    if (isRunning) addEventListener("beforeunload", askFirst);
    else removeEventListener("beforeunload", askFirst);
    this.dispatchEvent(new Event("change"));
  }
}
