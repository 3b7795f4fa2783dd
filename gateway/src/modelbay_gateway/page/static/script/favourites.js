import { json } from "./gateway.js";
import { complain } from "./notice.js";

/** The user's favourites, in their order. Event: `change`. */
export class Favourites extends EventTarget {
  #ids = [];
  #set = new Set();
  #writing = Promise.resolve();

  get ids() {
    return this.#ids;
  }

  has(id) {
    return this.#set.has(id);
  }

  async read() {
    this.#become((await json("/api/settings")).favorite_models ?? []);
  }

  toggle(id) {
    return this.#write(this.has(id) ? this.#ids.filter((each) => each !== id) : [...this.#ids, id]);
  }

  /** Put one where another stands; the others move along. */
  move(id, beside) {
    const others = this.#ids.filter((each) => each !== id);
    const to = others.indexOf(beside);
    if (!this.has(id) || to < 0) return Promise.resolve();
    const isBehind = this.#ids.indexOf(id) < this.#ids.indexOf(beside);
    others.splice(to + (isBehind ? 1 : 0), 0, id);
    return this.#write(others);
  }

  #write(ids) {
    const before = this.#ids;
    this.#become(ids);
    // One after the other: the last one that was wanted is the one that stays.
    this.#writing = this.#writing
      .then(() => json("/api/settings", { method: "PUT", body: { favorite_models: ids } }))
      .catch((caught) => {
        if (this.#ids === ids) this.#become(before);
        complain(caught);
      });
    return this.#writing;
  }

  #become(ids) {
    this.#ids = ids;
    this.#set = new Set(ids);
    this.dispatchEvent(new Event("change"));
  }
}
