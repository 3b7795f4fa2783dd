import { element } from "./element.js";
import { GrowingLines } from "./growing-lines.js";
import { GrowingText } from "./growing-text.js";
import { addressOf, imagesOf, textOf } from "./history.js";
import { described } from "./notice.js";
import { percent, seconds } from "./quantity.js";

/** One answer of one model, while it comes and afterwards. */
export class AnswerView {
  #status = element("p", { class: "status" });
  #bar = element("progress", { max: "1", hidden: true, "aria-label": "Loading" });
  #thinking = null;
  #text;
  #calls = new Map();
  #images = [];
  #reasoning = "";
  #body = element("div", { class: "text" });
  #foot = element("footer", { class: "measures" });
  #name = element("span", { class: "who" });
  #wait = { state: null, fraction: null };
  #ticking = 0;
  #sentAt = 0;
  #firstAt = 0;
  #lastAt = 0;
  #measured = {};

  /** @param {?string} model its id, once it is known */
  constructor(model) {
    this.#text = new GrowingText(this.#body);
    this.box = element("article", { class: "answer", "aria-label": "Answer" }, this.#name, this.#status, this.#bar, this.#body, this.#foot);
    this.model = model;
    this.#status.hidden = true;
  }

  set model(id) {
    this.id = id;
    this.#name.textContent = id ?? "";
    this.box.setAttribute("aria-label", id ? `Answer of ${id}` : "Answer");
  }

  get text() {
    return this.#text.source;
  }

  /** Whether anything of an answer has come. */
  get isEmpty() {
    return !this.text && !this.#reasoning && !this.#calls.size && !this.#images.length;
  }

  /** It is on its way; `stateOf` gives `{state, loadingS}` of a model, for as long as it is silent. */
  begin(stateOf) {
    this.#sentAt = performance.now();
    this.box.setAttribute("aria-busy", "true");
    const tick = () => {
      this.#showWaiting(stateOf(this.id));
      this.#ticking = setTimeout(tick, 500);
    };
    tick();
  }

  /** One event of an answer. */
  take(event) {
    switch (event.type) {
      case "began":
        this.model = event.model || this.id;
        break;
      case "waiting":
        this.#wait = event;
        break;
      case "reasoning":
        this.#arrived();
        this.#think(event.text);
        break;
      case "text":
        this.#arrived();
        this.#text.push(event.text);
        break;
      case "call":
        this.#arrived();
        this.#call(event);
        break;
      case "image":
        this.#arrived();
        this.#images.push(event);
        this.#showImage(event);
        break;
      case "end":
        this.#measure(event);
        break;
    }
  }

  /** Nothing more comes. */
  end({ stopped = false, failure = null } = {}) {
    clearTimeout(this.#ticking);
    this.#status.hidden = true;
    this.#bar.hidden = true;
    this.box.setAttribute("aria-busy", "true");
    this.#text.end(() => this.box.setAttribute("aria-busy", "false"));
    this.#closeThought();
    for (const call of this.#calls.values()) call.finish();
    if (stopped) this.#showMeasures((this.#measured = { ...this.#seen(), reason: "stopped" }));
    if (failure) this.box.append(element("div", { class: "failure", role: "alert" }, ...described(failure)));
  }

  /** What is kept of it. */
  message() {
    const parts = this.#images.map(({ data, media_type }) => ({ type: "image", data, media_type }));
    if (parts.length && this.text) parts.unshift({ type: "text", text: this.text });
    return {
      role: "assistant",
      content: parts.length ? parts : this.text,
      ...(this.#reasoning ? { reasoning: this.#reasoning } : {}),
      ...(Object.keys(this.#measured).length ? { opaque: { page: this.#measured } } : {}),
      tool_calls: [...this.#calls.values()].map(({ id, name, text }, index) => ({ id, name, arguments: text, index })),
    };
  }

  /** Show one that was kept. */
  restore({ content, reasoning, tool_calls: calls = [], opaque }, usage) {
    if (reasoning) this.#think(reasoning);
    this.#text.push(textOf(content));
    for (const image of imagesOf(content)) this.#showImage(image);
    calls.forEach((call, index) => this.#call({ ...call, index }));
    this.end();
    this.#measured = opaque?.page ?? {};
    this.#showMeasures(this.#measured, usage?.output_tokens);
  }

  /** The box of a tool call, for its result. */
  callBox(id) {
    return [...this.#calls.values()].find((call) => call.id === id)?.box ?? null;
  }

  get callIds() {
    return [...this.#calls.values()].map((call) => call.id);
  }

  #arrived() {
    this.#lastAt = performance.now();
    if (this.#firstAt) return;
    this.#firstAt = this.#lastAt;
    clearTimeout(this.#ticking);
    this.#status.hidden = true;
    this.#bar.hidden = true;
  }

  #showWaiting({ state, loadingS }) {
    const waitedS = (performance.now() - this.#sentAt) / 1000;
    const isLoading = this.#wait.state === "loading" || state === "loading";
    const what = isLoading ? "Loading the model" : this.#wait.state === "queued" ? "Waiting in the queue" : "Waiting for the answer";
    const { fraction } = this.#wait;
    const parts = [what];
    if (fraction !== null && fraction !== undefined) parts.push(percent(fraction));
    if (waitedS >= 1) parts.push(seconds(Math.floor(Math.max(waitedS, loadingS ?? 0))).replace(".0", ""));
    this.#status.textContent = parts.join(" · ");
    this.#status.hidden = false;
    this.#bar.hidden = !isLoading;
    if (fraction !== null && fraction !== undefined) this.#bar.value = fraction;
  }

  #think(text) {
    this.#reasoning += text;
    if (!this.#thinking) {
      const box = element("div", { class: "thought-text" });
      const summary = element("summary", {}, "Thinking…");
      this.#thinking = { said: new GrowingLines(box, "", { wraps: true }), summary, box: element("details", { class: "thought" }, summary, box) };
      this.#body.before(this.#thinking.box);
    }
    this.#thinking.said.push(text);
  }

  #closeThought() {
    if (!this.#thinking) return;
    this.#thinking.said.flush();
    const words = this.#reasoning.split(/\s+/).filter(Boolean).length;
    this.#thinking.summary.textContent = `Thoughts (${words} ${words === 1 ? "word" : "words"})`;
  }

  #call({ index, id, name, arguments: text }) {
    let call = this.#calls.get(index);
    if (!call) {
      const shown = element("code");
      const title = element("code");
      const box = element("section", { class: "call", "aria-label": "Tool call" }, element("p", { class: "call-name" }, "Calls ", title), element("pre", { tabindex: "0", role: "region", "aria-label": "Arguments" }, shown));
      call = { id: "", name: "", text: "", box, title, lines: new GrowingLines(shown, "", { wraps: true }) };
      call.finish = () => {
        call.lines.flush();
        const tidy = pretty(call.text);
        if (tidy !== call.text) call.lines = new GrowingLines(shown, tidy, { wraps: true });
      };
      this.#calls.set(index, call);
      this.#foot.before(box);
    }
    call.id ||= id ?? "";
    call.box.callId = call.id;
    call.name ||= name ?? "";
    if (call.title.textContent !== call.name) call.title.textContent = call.name;
    call.text += text ?? "";
    call.lines.push(text ?? "");
  }

  #showImage(image) {
    this.#foot.before(element("img", { class: "made", src: addressOf(image), alt: "Image made by the model" }));
  }

  #measure({ reason, usage, timings, notices }) {
    const count = usage?.completion_tokens;
    const tookS = (this.#lastAt - this.#firstAt) / 1000;
    // A server measures without the way to us; where none does, what was seen here counts.
    const rate = timings?.output_tokens_per_s ?? (tookS > 0 && count > 1 ? (count - 1) / tookS : null);
    this.#measured = { ...this.#seen(), ...(rate ? { output_tokens_per_s: rate } : {}), ...(reason ? { reason } : {}) };
    this.#showMeasures(this.#measured, count);
    this.#foot.append(...notices.map(({ message }) => element("span", { class: "told" }, message)));
  }

  #seen() {
    return this.#firstAt && this.#sentAt ? { first_token_s: (this.#firstAt - this.#sentAt) / 1000 } : {};
  }

  /** What was measured, now or when it came; it is kept with the answer. */
  #showMeasures({ first_token_s: firstS, output_tokens_per_s: rate, reason }, count) {
    const parts = [];
    if (firstS > 0) parts.push(["first-token", `${seconds(firstS)} to the first token`]);
    if (rate > 0) parts.push(["rate", `${rate < 10 ? rate.toFixed(1) : Math.round(rate)} tokens/s`]);
    if (count) parts.push(["count", `${count} ${count === 1 ? "token" : "tokens"}`]);
    if (reason === "length") parts.push(["cut", "cut off: the limit of tokens"]);
    if (reason === "content_filter") parts.push(["cut", "held back by the provider's filter"]);
    if (reason === "stopped") parts.push(["stopped", "stopped"]);
    this.#foot.append(...parts.map(([name, text]) => element("span", { class: name }, text)));
  }
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
