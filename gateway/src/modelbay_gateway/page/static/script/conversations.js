import { json } from "./gateway.js";

const path = (id) => `/conversations/${encodeURIComponent(id)}`;

/** The conversations that the gateway keeps, the last used first. Event: `change`. */
export class Conversations extends EventTarget {
  /** @type {{id: string, title: string, settings: object}[]} */
  items = [];
  #next = null;

  get hasMore() {
    return this.#next !== null;
  }

  /** Read the first page, or the next one. */
  async read({ next = false } = {}) {
    const query = next && this.#next ? `?cursor=${encodeURIComponent(this.#next)}` : "";
    const page = await json(`/conversations${query}`);
    this.items = next ? [...this.items, ...page.items] : page.items;
    this.#next = page.next;
    this.#changed();
  }

  async open(id) {
    return json(path(id));
  }

  async create(id, title, settings) {
    this.#put(await json("/conversations", { method: "POST", body: { id, title, settings } }));
  }

  async change(id, change) {
    this.#put(await json(path(id), { method: "PUT", body: change }));
  }

  async remove(id) {
    await json(path(id), { method: "DELETE" });
    this.items = this.items.filter((each) => each.id !== id);
    this.#changed();
  }

  /** @returns {Promise<{items: object[], next: ?string}>} the oldest of a page first */
  messages(id, cursor = null) {
    return json(`${path(id)}/messages${cursor ? `?cursor=${encodeURIComponent(cursor)}` : ""}`);
  }

  async keep(id, messages) {
    const kept = await json(`${path(id)}/messages`, { method: "POST", body: { messages } });
    const known = this.items.find((each) => each.id === id);
    if (known) this.#put(known);
    return kept.messages;
  }

  /** Forget what stands behind a position. */
  dropAfter(id, position) {
    return json(`${path(id)}/messages?after=${position}`, { method: "DELETE" });
  }

  /** @returns {Promise<{model: ?string, resolvable: ?boolean, fallback: ?string}>} */
  model(id) {
    return json(`${path(id)}/model`);
  }

  setModel(id, model) {
    return json(`${path(id)}/model`, { method: "PUT", body: { model } });
  }

  #put(conversation) {
    this.items = [conversation, ...this.items.filter((each) => each.id !== conversation.id)];
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
