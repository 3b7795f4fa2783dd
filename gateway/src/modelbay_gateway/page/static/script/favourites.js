import { json } from "./gateway.js";
import { complain } from "./notice.js";

/**
 * The user's favourites, in their order. Event: `change`.
 *
 * Others change them too: what is sent is the one change, never the list as it is known here.
 */
export class Favourites extends EventTarget {
  #ids = [];
  #set = new Set();
  #last = Promise.resolve();
  #waiting = 0;

  get ids() {
    return this.#ids;
  }

  has(id) {
    return this.#set.has(id);
  }

  /** Read them; what is on its way from here is waited for, so that nothing jumps back. */
  read() {
    return this.#next(() => json("/api/settings"));
  }

  toggle(id) {
    if (this.has(id)) return this.#change(this.#ids.filter((each) => each !== id), { change: "remove", model: id });
    return this.#change([...this.#ids, id], { change: "add", model: id });
  }

  /** Put one where another stands; the others move along. */
  move(id, beside) {
    const others = this.#ids.filter((each) => each !== id);
    const to = others.indexOf(beside);
    if (!this.has(id) || to < 0) return Promise.resolve();
    const isBehind = this.#ids.indexOf(id) < this.#ids.indexOf(beside);
    const at = to + (isBehind ? 1 : 0);
    const before = others[at] ?? null;
    others.splice(at, 0, id);
    return this.#change(others, { change: "move", model: id, before });
  }

  /** Show what it will be, and have it done. */
  #change(ids, body) {
    this.#become(ids);
    return this.#next(() => json("/api/settings/favorites", { method: "POST", body })).catch((caught) => {
      complain(caught);
      return this.read().catch(() => {}); // as it was, or as others have made it
    });
  }

  /** One after the other; the last one says how it is. */
  #next(asking) {
    this.#waiting += 1;
    const asked = this.#last.then(asking).then(
      (settings) => {
        this.#waiting -= 1;
        if (!this.#waiting) this.#become(settings.favorite_models ?? []);
      },
      (caught) => {
        this.#waiting -= 1;
        throw caught;
      },
    );
    this.#last = asked.catch(() => {});
    return asked;
  }

  #become(ids) {
    if (ids.length === this.#ids.length && ids.every((id, n) => id === this.#ids[n])) return;
    this.#ids = ids;
    this.#set = new Set(ids);
    this.dispatchEvent(new Event("change"));
  }
}
