import { AnswerView } from "./answer-view.js";
import { element } from "./element.js";
import { addressOf, imagesOf, textOf } from "./history.js";

const NEAR_PX = 80;

/**
 * The messages of a conversation. Events: `again`, `older`, and `result` with `.calls`, which gives
 * the text for every tool call by its id; once they are kept, they are handed back to `give`.
 */
export class Thread extends EventTarget {
  #box;
  #inner = element("div", { class: "messages" });
  /** Whether more can be asked; where not, there are no buttons for it. */
  isOpen = true;
  #isAtEnd = true;
  #top = 0;
  #watch;

  constructor(box) {
    super();
    this.#box = box;
    box.append(this.#inner);
    box.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    // Whoever reads the end stays there while an answer grows; whoever has scrolled up is left alone.
    this.#watch = new ResizeObserver(() => this.#isAtEnd && this.toEnd());
    this.#watch.observe(this.#inner);
    this.#watch.observe(box);
  }

  /** Going up leaves the end; what only grows below does not. */
  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#box;
    if (scrollHeight - scrollTop - clientHeight < NEAR_PX) this.#isAtEnd = true;
    else if (scrollTop < this.#top) this.#isAtEnd = false;
    this.#top = scrollTop;
  }

  /** Whether something is asked just now: until it is over, nothing else can be. */
  set busy(isBusy) {
    for (const each of this.#inner.querySelectorAll(".after button")) each.ariaDisabled = isBusy ? "true" : null;
    for (const each of this.#inner.querySelectorAll(".after textarea")) each.readOnly = isBusy;
  }

  /** Show kept messages from the start; behind them, answers that failed. */
  show(kept, { hasOlder = false, empty = null, failed = [] } = {}) {
    this.#clear(...this.#inner.children);
    this.#isAtEnd = true;
    if (hasOlder) this.#button("Show older messages", "older", "older-messages");
    if (!kept.length && empty && this.isOpen) this.#inner.append(empty);
    let last = [];
    for (let at = 0; at < kept.length; at += 1) {
      const { message } = kept[at];
      if (message.role === "user") this.question(message.content);
      else if (message.role === "assistant") {
        const group = [kept[at]];
        while (kept[at + 1]?.message.role === "assistant") group.push(kept[(at += 1)]);
        const views = this.answers(group.map((each) => each.ref));
        views.forEach((view, n) => view.restore(group[n].message, group[n].usage));
        last = views;
      } else if (message.role === "tool") this.result(message.tool_call_id, textOf(message.content));
    }
    this.#inner.append(...failed.map((view) => view.box));
    if (!this.isOpen) this.#clear(this.#inner.querySelector(".after"));
    else if (kept.at(-1)?.message.role === "assistant") this.after(last);
    else if (kept.length) this.#button("Ask again", "again", "after"); // its answer never came
    this.toEnd();
  }

  question(content) {
    this.#inner.querySelector(".welcome")?.remove();
    const text = textOf(content);
    this.#inner.append(
      element(
        "article",
        { class: "question", "aria-label": "You" },
        ...imagesOf(content).map((image) => element("img", { src: addressOf(image), alt: "Attached image" })),
        text && element("p", {}, text),
      ),
    );
    this.toEnd();
  }

  /** Places for the answers to one question, beside each other. */
  answers(models) {
    this.#clear(this.#inner.querySelector(".after"));
    const views = models.map((model) => new AnswerView(model));
    const boxes = views.map((view) => view.box);
    this.#inner.append(boxes.length > 1 ? element("div", { class: "pair" }, ...boxes) : boxes[0]);
    return views;
  }

  /** What can be done after the last answer: give results to its calls, or ask again. */
  after(views) {
    this.#clear(this.#inner.querySelector(".after"));
    const open = views.flatMap((view) => view.callIds.map((id) => ({ id, box: view.callBox(id), model: view.id })));
    const waiting = open.filter(({ box }) => !box.querySelector(".result"));
    if (waiting.length) this.#askResults(waiting, views.length > 1);
    else this.#button("Ask again", "again", "after");
  }

  /** Show these results, as the event `result` had them. */
  give(calls) {
    for (const { box, text } of calls) box.append(resultBox(text));
  }

  /** Show the result of a tool call. */
  result(callId, text) {
    for (const box of this.#inner.querySelectorAll(".call")) {
      if (box.callId === callId) box.append(resultBox(text));
    }
  }

  toEnd() {
    this.#isAtEnd = true;
    this.#box.scrollTop = this.#box.scrollHeight;
    this.#top = this.#box.scrollTop; // what shrinks moves the end up, and nobody has scrolled
  }

  #askResults(open, areSeveral) {
    const fields = open.map(({ id, model }) => {
      const of = areSeveral ? ` of ${model}` : "";
      return element("textarea", { rows: "2", "aria-label": `Result of call ${id}${of}`, placeholder: `What the tool${of} gave` });
    });
    const form = element("form", { class: "after results" }, element("p", {}, "The model waits for what its tools give."), ...fields, element("button", { class: "main" }, "Send results"));
    form.addEventListener("submit", (submitted) => {
      submitted.preventDefault();
      const event = new Event("result");
      event.calls = open.map(({ id, box }, n) => ({ id, box, text: fields[n].value }));
      this.dispatchEvent(event);
    });
    this.#inner.append(form);
  }

  /** Take these away; who was at one of them goes on at the messages, and not at the top of the page. */
  #clear(...parts) {
    const hadFocus = parts.some((each) => each?.contains(document.activeElement));
    for (const each of parts) each?.remove();
    if (hadFocus) this.#box.focus({ preventScroll: true });
  }

  #button(label, event, name) {
    const button = element("button", { type: "button", class: "quiet" }, label);
    button.addEventListener("click", () => this.dispatchEvent(new Event(event)));
    this.#inner.append(element("div", { class: name }, button));
  }
}

function resultBox(text) {
  return element("div", { class: "result" }, element("p", { class: "call-name" }, "Result"), element("pre", { tabindex: "0", role: "region", "aria-label": "Result" }, text));
}
