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
    this.#list.replaceChildren(...this.#conversations.items.map((each) => this.#entry(each)));
  }

  #entry(conversation) {
    const name = conversation.title || "Untitled";
    const open = element("button", { type: "button", class: "open", title: name, "aria-current": conversation.id === this.#current ? "page" : null }, name);
    const more = element("button", { type: "button", class: "icon", "aria-haspopup": "menu", "aria-expanded": "false", "aria-label": `More about ${name}` }, icon("M5 12h.01M12 12h.01M19 12h.01"));
    open.addEventListener("click", () => this.#emit("open", conversation.id));
    more.addEventListener("click", () =>
      openMenu(more, [
        { label: "Rename…", run: () => this.#rename(conversation) },
        { label: "Delete…", danger: true, run: () => this.#delete(conversation, name) },
      ]),
    );
    return element("li", {}, open, more);
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
