import { Failure } from "./failure.js";

/** Conversations that this tab keeps, for a key that may not read those of the gateway. */
export class TabStore {
  #all = new Map();

  async list() {
    return { items: [...this.#all.values()].map((each) => each.about).reverse(), next: null };
  }

  async open(id) {
    return this.#found(id).about;
  }

  async create(id, title, settings) {
    if (!this.#all.has(id)) this.#all.set(id, { about: { id, title, settings }, messages: [], last: 0 });
    return this.#found(id).about;
  }

  async change(id, change) {
    const found = this.#found(id);
    found.about = { ...found.about, ...change };
    return found.about;
  }

  async remove(id) {
    this.#all.delete(id);
  }

  async messages(id) {
    return { items: [...this.#found(id).messages], next: null };
  }

  async keep(id, messages) {
    const found = this.#found(id);
    const kept = messages.map((each) => ({ ref: null, usage: null, ...each, position: (found.last += 1) }));
    found.messages.push(...kept);
    return kept;
  }

  async dropAfter(id, position) {
    const found = this.#found(id);
    found.messages = found.messages.filter((each) => each.position <= position);
  }

  #found(id) {
    const found = this.#all.get(id);
    if (!found) throw new Failure({ message: "This tab keeps no such conversation.", code: "not_found" });
    return found;
  }
}
