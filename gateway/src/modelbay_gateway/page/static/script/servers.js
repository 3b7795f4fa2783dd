import { Failure } from "./failure.js";
import { documents } from "./gateway.js";

const SETTLE_MS = 150; // changes come in bursts; one look tells them all
const ACTIONS = ["health", "running"];

/**
 * What servers say of themselves, for as long as somebody looks at them. One is asked when it is
 * opened, and again when the gateway tells that something is different there. Event: `change`.
 */
export class Servers extends EventTarget {
  #catalogue;
  #access;
  #opened = new Map();

  constructor({ catalogue, access }) {
    super();
    this.#catalogue = catalogue;
    this.#access = access;
    catalogue.addEventListener("heard", ({ providerId }) => {
      for (const id of this.#opened.keys()) if (!providerId || id === providerId) this.#askSoon(id);
    });
  }

  /**
   * What an opened one said: `{health, running, failures, askedAt, isAsked}`, each of the first two
   * null where nothing was said; null of one that is closed.
   */
  told(id) {
    return this.#opened.get(id) ?? null;
  }

  /** Open one, or close it. What it said, once it has been asked; null if it is closed by then. */
  async toggle(id) {
    const told = this.#opened.get(id);
    if (told) {
      this.#opened.delete(id);
      clearTimeout(told.timer);
      told.control.abort();
      this.#changed();
      return null;
    }
    this.#opened.set(id, {
      health: null, running: null, failures: [], askedAt: 0, isAsked: false,
      isAsking: false, isOutdated: false, timer: 0, control: new AbortController(),
    });
    await this.#ask(id);
    return this.told(id);
  }

  #askSoon(id) {
    const told = this.#opened.get(id);
    clearTimeout(told.timer);
    told.timer = setTimeout(() => this.#ask(id), SETTLE_MS);
  }

  async #ask(id) {
    const told = this.#opened.get(id);
    if (told.isAsking) {
      told.isOutdated = true;
      return;
    }
    told.isAsking = true;
    this.#changed();
    const failures = [];
    const found = await Promise.all(
      this.#actions(id).map(async (action) => {
        try {
          return [action, await outcome(id, action, told.control.signal)];
        } catch (caught) {
          failures.push(Failure.from(caught));
          return [action, null];
        }
      }),
    );
    if (this.told(id) !== told) return; // it was closed, or closed and opened
    Object.assign(told, { health: null, running: null }, Object.fromEntries(found), { failures, isAsked: true, isAsking: false });
    told.askedAt = performance.now();
    this.#changed();
    if (told.isOutdated) {
      told.isOutdated = false;
      this.#askSoon(id);
    }
  }

  /** What it can be asked, and may be with this key. */
  #actions(id) {
    const able = this.#catalogue.provider(id)?.actions ?? [];
    return this.#access.can("manage") ? ACTIONS.filter((action) => able.includes(action)) : [];
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/** The event that an action's answer ends with. */
async function outcome(id, action, signal) {
  const path = `/api/providers/${encodeURIComponent(id)}/manage`;
  let last = null;
  for await (const event of documents(path, { method: "POST", body: { action }, signal })) last = event;
  return last;
}
