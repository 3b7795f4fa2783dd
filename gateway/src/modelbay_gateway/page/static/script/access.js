import { json } from "./gateway.js";

/**
 * What the key of this page is good for. Everything, until it has been asked.
 */
export class Access {
  #name = null;
  #scopes = new Set(["chat", "manage", "admin"]);

  /** Ask the gateway; it asks people for a key, if it wants one. */
  async read() {
    const { name, scopes } = await json("/api/key");
    this.#name = name;
    this.#scopes = new Set(scopes);
  }

  can(scope) {
    return this.#scopes.has(scope);
  }

  /** Why something cannot be done; undefined if it can. */
  reason(scope) {
    return this.can(scope) ? undefined : `this key is not good for ${scope}`;
  }

  /** What cannot be done with it, in sentences; empty if everything can. */
  get limits() {
    const limits = [];
    if (!this.can("chat")) limits.push("It cannot ask models.");
    if (!this.can("manage")) limits.push("It cannot load, pull or delete models.");
    if (!this.can("admin")) {
      if (this.can("chat")) limits.push("Conversations stay in this tab, and are gone with it.");
      limits.push("It cannot change favourites.");
    }
    return limits.length ? [`The key “${this.#name}” is good for ${[...this.#scopes].join(" and ")}.`, ...limits] : [];
  }
}
