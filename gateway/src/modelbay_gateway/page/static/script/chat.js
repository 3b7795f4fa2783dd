import { answer, painting } from "./answer.js";
import { element, freshId } from "./element.js";
import { Failure } from "./failure.js";
import { callersOf, requestMessages } from "./history.js";
import { complain, say, tell } from "./notice.js";

const TITLE = 60; // characters of the first question
const CHOSEN = "modelbay-model"; // new conversations begin with the model that was chosen last (S2-12)

/** One conversation at a time: what is asked, who answers, and what is kept. Events: `model`, `moved`. */
export class Chat extends EventTarget {
  id = freshId();
  /** As the gateway tells it: `{model, resolvable, fallback}`. */
  model = { model: null, resolvable: null, fallback: null };
  settings = {};
  #isKept = false;
  #kept = [];
  #older = null;
  #once = null;
  #beside = null;
  #running = null;
  #inherited = null;
  #switching = Promise.resolve();
  #going = null;
  #parts;

  /** @param {object} parts `{conversations, catalogue, composer, thread}` */
  constructor(parts) {
    super();
    this.#parts = parts;
    const { composer, thread } = parts;
    composer.addEventListener("ask", ({ text, images }) => this.#ask(text, images));
    composer.addEventListener("stop", () => this.#running?.abort());
    composer.addEventListener("clear", ({ what }) => this.#choose(what, null));
    thread.addEventListener("again", () => this.#again());
    thread.addEventListener("older", () => this.#showOlder());
    thread.addEventListener("result", ({ calls }) => this.#giveResults(calls));
  }

  /** The id of the model that would answer now; null if nobody knows. */
  get asked() {
    return this.#once ?? this.model.model ?? this.model.fallback;
  }

  // --- which conversation -----------------------------------------------------------------------

  /** Begin another one. */
  async begin() {
    this.#going = null;
    this.#leave(freshId(), {}, false);
    this.#parts.thread.show([], { empty: welcome() });
    const reading = this.#readModel();
    this.#switching = reading.catch(() => {});
    await reading;
  }

  /** Go on with one that is kept. */
  async open(id) {
    this.#going = id;
    const conversation = await this.#parts.conversations.open(id);
    if (this.#going !== id) return; // somebody was quicker than the gateway
    this.#leave(id, conversation.settings, true);
    const [page] = await Promise.all([this.#parts.conversations.messages(id), this.#readModel()]);
    if (this.id !== id) return;
    this.#kept = page.items;
    this.#older = page.next;
    this.#show();
  }

  #leave(id, settings, isKept) {
    this.#running?.abort();
    Object.assign(this, { id, settings });
    this.#isKept = isKept;
    this.#inherited = null;
    this.#kept = [];
    this.#older = null;
    this.#once = null;
    this.#beside = null;
    this.#showChoices();
    this.dispatchEvent(new Event("moved"));
  }

  #show() {
    this.#parts.thread.show(this.#kept, { hasOlder: this.#older !== null, empty: welcome() });
  }

  async #showOlder() {
    try {
      const page = await this.#parts.conversations.messages(this.id, this.#older);
      this.#kept = [...page.items, ...this.#kept];
      this.#older = page.next;
      this.#show();
    } catch (caught) {
      complain(caught);
    }
  }

  async setSettings(settings) {
    this.settings = settings;
    if (this.#isKept) await this.#parts.conversations.change(this.id, { settings });
  }

  // --- which model ------------------------------------------------------------------------------

  /** Remember a model for the conversation; null leaves it to the default (S2-12, S2-13). */
  async setModel(id) {
    const conversation = this.id;
    const setting = this.#parts.conversations.setModel(conversation, id);
    this.#switching = setting.catch(() => {});
    const model = await setting;
    if (model.model) localStorage.setItem(CHOSEN, model.model);
    else localStorage.removeItem(CHOSEN);
    if (this.id !== conversation) return;
    this.model = model;
    this.#inherited = null;
    this.#choose("once", null);
    const { catalogue } = this.#parts;
    const provider = catalogue.provider(catalogue.model(id)?.providerId);
    const where = provider ? ` (${provider.isLocal ? "local, " : ""}${provider.label})` : "";
    tell(id ? `Switched to ${id}${where}` : "Back to the default model");
    this.dispatchEvent(new Event("model"));
  }

  /** Another model for the next turn, or a second one beside it. */
  choose(what, id) {
    this.#choose(what, id);
    say(what === "once" ? `${id} answers the next turn` : `${id} answers side by side`);
  }

  #choose(what, id) {
    if (what === "once") this.#once = id;
    else this.#beside = id;
    this.#showChoices();
  }

  #showChoices() {
    this.#parts.composer.show({ once: this.#once, beside: this.#beside });
    this.dispatchEvent(new Event("model"));
  }

  async #readModel() {
    const { id } = this;
    const model = await this.#parts.conversations.model(id);
    if (this.id !== id) return;
    this.#inherited = this.#isKept || model.model || !this.#parts.conversations.canAsk ? null : localStorage.getItem(CHOSEN);
    this.model = model;
    this.#inherit();
    this.dispatchEvent(new Event("model"));
  }

  /** A conversation that nobody has asked anything yet begins with the model that was chosen last. */
  #inherit() {
    if (!this.#inherited) return;
    const { catalogue } = this.#parts;
    const isListed = !catalogue.isRead || catalogue.model(this.#inherited) !== null;
    this.model = { ...this.model, model: this.#inherited, resolvable: isListed || null };
  }

  /** The catalogue is another one: so may be what answers. */
  async renewModel() {
    if (this.asked === null && this.#parts.conversations.canAsk) await this.#readModel();
    this.#inherit();
    this.dispatchEvent(new Event("model"));
  }

  // --- asking -----------------------------------------------------------------------------------

  async #ask(text, images) {
    const content = images.length
      ? [...(text ? [{ type: "text", text }] : []), ...images.map(({ type, data, media_type }) => ({ type, data, media_type }))]
      : text;
    const { id } = this;
    this.#parts.composer.busy = true;
    try {
      await this.#switching; // who is quick with the keys means the model that was just chosen
      if (this.id === id) await this.#keepConversation(text);
      if (this.id === id) await this.#keep([{ message: { role: "user", content } }]);
      if (this.id !== id) throw new Failure({ message: "Another conversation was opened meanwhile.", hint: "send it again" });
    } catch (caught) {
      this.#parts.composer.busy = false;
      this.#parts.composer.restore(text, images);
      complain(caught);
      return;
    }
    this.#parts.thread.question(content);
    await this.#turn();
  }

  async #keepConversation(text) {
    if (this.#isKept) return;
    const title = text.replace(/\s+/g, " ").slice(0, TITLE) || "Images";
    const { id } = this;
    const inherited = this.#inherited;
    await this.#parts.conversations.create(id, title, this.settings);
    if (inherited) {
      const model = await this.#parts.conversations.setModel(id, inherited);
      if (this.id === id) this.model = model;
    }
    if (this.id !== id) return;
    this.#inherited = null;
    this.#isKept = true;
    this.dispatchEvent(new Event("moved"));
  }

  async #keep(messages) {
    const { id } = this;
    const kept = await this.#parts.conversations.keep(id, messages);
    if (this.id === id) this.#kept.push(...kept);
  }

  async #giveResults(calls) {
    const { id } = this;
    try {
      await this.#keep(calls.map(({ id, text }) => ({ message: { role: "tool", tool_call_id: id, content: text } })));
      if (this.id === id) await this.#turn();
    } catch (caught) {
      complain(caught);
    }
  }

  async #again() {
    try {
      let at = this.#kept.length;
      while (at > 0 && this.#kept[at - 1].message.role === "assistant") at -= 1;
      if (at === 0) return;
      if (at < this.#kept.length) await this.#parts.conversations.dropAfter(this.id, this.#kept[at - 1].position);
      this.#kept.length = at;
      this.#show();
      await this.#turn();
    } catch (caught) {
      complain(caught);
    }
  }

  /** Let the models answer what was asked, each for itself. */
  async #turn() {
    const { composer, thread, conversations } = this.#parts;
    const { id } = this;
    const control = new AbortController();
    this.#running = control;
    composer.busy = true;
    const first = { model: this.#once, shown: this.asked };
    const both = this.#beside ? [first, { model: this.#beside, shown: this.#beside }] : [first];
    const callers = callersOf(this.#kept); // who called no tool has nothing to go on with
    const asked = callers?.length ? callers.map((ref) => both.find((each) => each.shown === ref) ?? { model: ref, shown: ref }) : both;
    const views = thread.answers(asked.map((each) => each.shown));
    thread.toEnd();
    say("Asked");
    const answers = await Promise.all(views.map((view, n) => this.#answer(view, asked[n].model, control.signal)));
    const whole = views.filter((view) => !view.isEmpty);
    if (this.#running === control) {
      this.#running = null;
      composer.busy = false;
    }
    try {
      const messages = whole.map((view) => ({ message: view.message(), ref: this.#refOf(view), ...usageOf(answers[views.indexOf(view)]) }));
      if (messages.length) {
        const kept = await conversations.keep(id, messages);
        if (this.id === id) this.#kept.push(...kept);
      }
    } catch (caught) {
      complain(caught);
    }
    if (this.id !== id) return;
    thread.after(views);
    this.#choose("once", null);
    say(whole.length ? `Answered: ${whole[0].text.slice(0, 400)}` : "No answer");
  }

  async #answer(view, model, signal) {
    const { catalogue } = this.#parts;
    view.begin((id) => ({ state: catalogue.model(id)?.state ?? null, loadingS: catalogue.loadingFor(id) }));
    let last = null;
    try {
      for await (const event of this.#events(view.id, model, signal)) {
        view.take(event);
        if (event.type === "end") last = event;
      }
      view.end();
    } catch (caught) {
      if (signal.aborted) view.end({ stopped: true });
      else view.end({ failure: Failure.from(caught) });
    }
    return last;
  }

  #events(shown, model, signal) {
    const last = this.#kept.findLast((each) => each.message.role === "user");
    if (this.#parts.catalogue.model(shown)?.paints && typeof last?.message.content === "string") {
      return painting({ model: shown, prompt: last.message.content, signal });
    }
    return answer({
      model,
      persist: false, // a model for one turn leaves no trace; the conversation's own is known there
      conversationId: this.id,
      messages: requestMessages(this.#kept, shown, this.settings),
      settings: this.settings,
      signal,
    });
  }

  #refOf(view) {
    return view.id?.includes("/") ? view.id : null;
  }
}

function usageOf(end) {
  if (!end?.usage) return {};
  return { usage: { input_tokens: end.usage.prompt_tokens, output_tokens: end.usage.completion_tokens } };
}

function welcome() {
  return element(
    "div",
    { class: "welcome" },
    element("h1", {}, "What can I find out for you?"),
    element("p", {}, "Ask the model above, or choose another one. Enter sends; Shift and Enter begin a new line."),
  );
}
