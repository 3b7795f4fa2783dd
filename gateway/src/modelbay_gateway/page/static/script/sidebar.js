import { element, icon } from "./element.js";
import { openMenu } from "./menu.js";
import { complain } from "./notice.js";
import { ask } from "./question.js";

/** The list of conversations. Events: `open` with `.id`, and `new`. */
export class Sidebar extends EventTarget {
  #list = document.getElementById("conversation-list");
  #more = document.getElementById("more-conversations");
  #conversations;
  #current = null;
  #shown = new Map();

  constructor(conversations) {
    super();
    this.#conversations = conversations;
    document.getElementById("new-conversation").addEventListener("click", () => this.dispatchEvent(new Event("new")));
    this.#more.addEventListener("click", () => conversations.read({ next: true }).catch(complain));
    conversations.addEventListener("change", () => this.#show());
  }

  /** Begin none here; those that are kept may be read. */
  close() {
    document.getElementById("new-conversation").hidden = true;
    this.#list.classList.add("closed");
  }

  set current(id) {
    this.#current = id;
    this.#show();
  }

  #show() {
    this.#more.hidden = !this.#conversations.hasMore;
    const { items } = this.#conversations;
    const focused = this.#list.contains(document.activeElement) ? document.activeElement : null;
    const before = this.#shown;
    this.#shown = new Map();
    for (const each of items) {
      const entry = before.get(each.id) ?? this.#entry(each.id);
      this.#shown.set(each.id, entry);
      entry.renew(each, each.id === this.#current);
    }
    const at = focused ? [...this.#list.children].indexOf(focused.closest("li")) : -1;
    this.#list.replaceChildren(...[...this.#shown.values()].map((each) => each.row));
    if (!focused) return;
    // Moving a row takes the focus from it; where it is gone, the one in its place has it.
    const next = this.#list.children[Math.min(at, this.#list.children.length - 1)];
    (focused.isConnected ? focused : (next?.firstChild ?? document.getElementById("new-conversation"))).focus();
  }

  /** The row of a conversation; it stays the same however often the list changes. */
  #entry(id) {
    let conversation = null;
    const name = () => conversation.title || "Untitled";
    const open = element("button", { type: "button", class: "open" });
    const more = element("button", { type: "button", class: "icon", "aria-haspopup": "menu", "aria-expanded": "false" }, icon("M5 12h.01M12 12h.01M19 12h.01"));
    open.addEventListener("click", () => this.#emit("open", id));
    more.addEventListener("click", () =>
      openMenu(more, [
        { label: "Rename…", run: () => this.#rename(conversation) },
        { label: "Delete…", danger: true, run: () => this.#delete(conversation, name()) },
      ]),
    );
    const renew = (now, isCurrent) => {
      conversation = now;
      open.textContent = open.title = name();
      more.setAttribute("aria-label", `More about ${name()}`);
      if (isCurrent) open.setAttribute("aria-current", "page");
      else open.removeAttribute("aria-current");
    };
    return { row: element("li", {}, open, more), renew };
  }

  async #rename({ id, title }) {
    const given = await ask({ title: "Rename the conversation", label: "Title", value: title, yes: "Rename" });
    if (given) await this.#conversations.change(id, { title: given.slice(0, 500) }).catch(complain);
  }

  async #delete({ id }, name) {
    const isSure = await ask({ title: "Delete the conversation?", text: `“${name}” is deleted with all its messages.`, yes: "Delete", danger: true });
    if (!isSure) return;
    try {
      await this.#conversations.remove(id);
      if (id === this.#current) this.dispatchEvent(new Event("new"));
    } catch (caught) {
      complain(caught);
    }
  }

  #emit(name, id) {
    const event = new Event(name);
    event.id = id;
    this.dispatchEvent(event);
  }
}
