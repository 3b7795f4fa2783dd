import { json } from "./gateway.js";

const path = (id) => `/conversations/${encodeURIComponent(id)}`;
const page = (cursor) => (cursor ? `?cursor=${encodeURIComponent(cursor)}` : "");

/** Conversations that the gateway keeps, for every browser. */
export class GatewayStore {
  /** @returns {Promise<{items: object[], next: ?string}>} the last used first */
  list(cursor) {
    return json(`/conversations${page(cursor)}`);
  }

  open(id) {
    return json(path(id));
  }

  create(id, title, settings) {
    return json("/conversations", { method: "POST", body: { id, title, settings } });
  }

  change(id, change) {
    return json(path(id), { method: "PUT", body: change });
  }

  remove(id) {
    return json(path(id), { method: "DELETE" });
  }

  /** @returns {Promise<{items: object[], next: ?string}>} the oldest of a page first */
  messages(id, cursor) {
    return json(`${path(id)}/messages${page(cursor)}`);
  }

  async keep(id, messages) {
    return (await json(`${path(id)}/messages`, { method: "POST", body: { messages } })).messages;
  }

  dropAfter(id, position) {
    return json(`${path(id)}/messages?after=${position}`, { method: "DELETE" });
  }
}
