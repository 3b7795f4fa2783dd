import { json } from "./gateway.js";
import { GatewayStore } from "./gateway-store.js";
import { TabStore } from "./tab-store.js";

const path = (id) => `/conversations/${encodeURIComponent(id)}/model`;

/** The conversations that are kept, the last used first. Event: `change`. */
export class Conversations extends EventTarget {
  /** @type {{id: string, title: string, settings: object}[]} */
  items = [];
  #next = null;
  #access;
  #gateway = new GatewayStore();
  #tab = new TabStore();
  #removed = new Set();
  #keeping = Promise.resolve();

  /** @param {Access} access the gateway keeps conversations for administrators alone */
  constructor(access) {
    super();
    this.#access = access;
  }

  get #store() {
    return this.#access.can("admin") ? this.#gateway : this.#tab;
  }

  get hasMore() {
    return this.#next !== null;
  }

  /** Whether there may be one that is not among the items: another browser may have begun it. */
  mayHave(id) {
    return this.#store === this.#gateway || this.items.some((each) => each.id === id);
  }

  /** Read the first page, or the next one. */
  async read({ next = false } = {}) {
    const page = await this.#store.list(next ? this.#next : null);
    this.items = next ? [...this.items, ...page.items] : page.items;
    this.#next = page.next;
    this.#changed();
  }

  open(id) {
    return this.#store.open(id);
  }

  async create(id, title, settings) {
    this.#put(await this.#store.create(id, title, settings));
  }

  async change(id, change) {
    this.#put(await this.#store.change(id, change));
  }

  /** Forget one for good: what still comes for it is not kept. */
  async remove(id) {
    this.#removed.add(id);
    try {
      await this.#keeping.catch(() => {});
      await this.#store.remove(id);
    } catch (caught) {
      this.#removed.delete(id);
      throw caught;
    }
    this.items = this.items.filter((each) => each.id !== id);
    this.#changed();
  }

  /** @returns {Promise<{items: object[], next: ?string}>} the oldest of a page first */
  messages(id, cursor = null) {
    return this.#store.messages(id, cursor);
  }

  async keep(id, messages) {
    if (this.#removed.has(id)) return [];
    const keeping = this.#store.keep(id, messages);
    this.#keeping = keeping;
    const kept = await keeping;
    const known = this.items.find((each) => each.id === id);
    if (known) this.#put(known);
    return kept;
  }

  /** Forget what stands behind a position. */
  dropAfter(id, position) {
    return this.#store.dropAfter(id, position);
  }

  /** Whether anything can be asked here. */
  get canAsk() {
    return this.#access.can("chat");
  }

  /** @returns {Promise<{model: ?string, resolvable: ?boolean, fallback: ?string}>} */
  async model(id) {
    if (!this.#access.can("chat")) return { model: null, resolvable: null, fallback: null };
    return json(path(id));
  }

  setModel(id, model) {
    return json(path(id), { method: "PUT", body: { model } });
  }

  #put(conversation) {
    this.items = [conversation, ...this.items.filter((each) => each.id !== conversation.id)];
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
