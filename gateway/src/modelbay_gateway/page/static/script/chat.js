import { answer, painting } from "./answer.js";
import { element, freshId } from "./element.js";
import { Failure } from "./failure.js";
import { callersOf, requestMessages } from "./history.js";
import { complain, say, tell } from "./notice.js";

const TITLE = 60; // characters of the first question
const SETTLE_MS = 150; // changes come in bursts; one look tells them all
const NEW = ""; // where the draft for a conversation lies that nobody has begun
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
  #inherited = undefined; // until it was read
  #switching = Promise.resolve();
  #settled = Promise.resolve();
  #looks = 0;
  #isStale = false;
  #isRenewing = false;
  #going = null;
  #drafts = new Map();
  #place = null;
  #parts;

  /** @param {object} parts `{conversations, catalogue, composer, thread}` */
  constructor(parts) {
    super();
    this.#parts = parts;
    const { composer, thread } = parts;
    composer.addEventListener("ask", ({ text, images }) => this.#ask(text, images));
    composer.addEventListener("stop", () => this.#running?.abort());
    composer.addEventListener("clear", ({ what }) => this.#choose(what, null));
    thread.addEventListener("again", () => this.#again().catch(complain));
    thread.addEventListener("older", () => this.#showOlder());
    thread.addEventListener("result", ({ calls }) => this.#giveResults(calls).catch(complain));
  }

  /** The id of the model that would answer now; null if nobody knows. */
  get asked() {
    return this.#once?.id ?? this.model.model ?? this.model.fallback;
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
    if (this.#running) {
      this.#running.abort();
      this.#finish(this.#running);
    }
    this.#changeDraft(isKept ? id : NEW);
    Object.assign(this, { id, settings });
    this.#isKept = isKept;
    this.#inherited = undefined;
    this.#kept = [];
    this.#older = null;
    this.#once = null;
    this.#beside = null;
    this.#showChoices();
    this.dispatchEvent(new Event("moved"));
  }

  /** What is half written stays with its conversation. */
  #changeDraft(place) {
    const { composer } = this.#parts;
    if (this.#place !== null && this.#place !== place) {
      this.#drafts.set(this.#place, composer.draft);
      composer.draft = this.#drafts.get(place) ?? { text: "", images: [] };
      this.#drafts.delete(place);
    }
    this.#place = place;
  }

  /** Give back what was asked in this conversation, to whoever is there or comes there again. */
  #giveBack(id, text, images) {
    const { composer, conversations } = this.#parts;
    const place = conversations.items.some((each) => each.id === id) ? id : NEW;
    if (this.id === id || this.#place === place) composer.restore(text, images);
    else this.#drafts.set(place, { text, images });
  }

  /** @param {AnswerView[]} failed what came of no use, with the reason */
  #show(failed = []) {
    this.#parts.thread.show(this.#kept, { hasOlder: this.#older !== null, empty: welcome(), failed });
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
    this.#looks += 1; // what was read meanwhile is older
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
    if (what === "once") this.#once = id && { id };
    else this.#beside = id;
    this.#showChoices();
  }

  #showChoices() {
    this.#parts.composer.show({ once: this.#once?.id ?? null, beside: this.#beside });
    this.dispatchEvent(new Event("model"));
  }

  async #readModel() {
    const { id } = this;
    const { conversations } = this.#parts;
    const look = (this.#looks += 1);
    const model = await conversations.model(id);
    if (this.id !== id || this.#looks !== look) return;
    if (this.#isKept || model.model || !conversations.canAsk) this.#inherited = null;
    else if (this.#inherited === undefined) this.#inherited = localStorage.getItem(CHOSEN);
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

  /** The catalogue or the settings are others: so may be what answers. */
  async renewModel() {
    this.#inherit();
    this.dispatchEvent(new Event("model"));
    this.#isStale = this.#parts.conversations.canAsk;
    if (this.#isRenewing) return;
    this.#isRenewing = true;
    try {
      while (this.#isStale) {
        await new Promise((done) => setTimeout(done, SETTLE_MS));
        this.#isStale = false;
        await this.#readModel();
      }
    } finally {
      this.#isRenewing = false;
    }
  }

  // --- asking -----------------------------------------------------------------------------------

  /** Something begins that can be stopped; null while something else goes on. */
  #start() {
    if (this.#running) return null;
    this.#running = new AbortController();
    this.#parts.composer.busy = this.#parts.thread.busy = true;
    return this.#running;
  }

  #finish(control) {
    if (this.#running !== control) return;
    this.#running = null;
    this.#parts.composer.busy = this.#parts.thread.busy = false;
  }

  async #ask(text, images) {
    const content = images.length
      ? [...(text ? [{ type: "text", text }] : []), ...images.map(({ type, data, media_type }) => ({ type, data, media_type }))]
      : text;
    const { id } = this;
    const control = this.#start();
    if (!control) return;
    const { signal } = control;
    const keeping = this.#settled.then(() => this.#keepQuestion(text, content, signal));
    this.#settled = keeping.catch(() => {});
    try {
      await Promise.race([keeping, abortOf(signal)]);
    } catch (caught) {
      this.#finish(control);
      this.#giveBack(id, text, images);
      if (this.id !== id) complain(new Failure({ message: "Another conversation was opened meanwhile.", hint: "send it again" }));
      else if (!signal.aborted) complain(caught);
      return;
    }
    this.#parts.thread.question(content);
    await this.#turn(control);
  }

  async #keepQuestion(text, content, signal) {
    const { conversations } = this.#parts;
    const { id } = this;
    await this.#switching; // who is quick with the keys means the model that was just chosen
    signal.throwIfAborted();
    await this.#keepConversation(text);
    signal.throwIfAborted();
    const kept = await conversations.keep(id, [{ message: { role: "user", content } }]);
    if (!signal.aborted) this.#kept.push(...kept);
    else if (kept.length) await conversations.dropAfter(id, kept[0].position - 1); // it was taken back on its way
  }

  async #keepConversation(text) {
    if (this.#isKept) return;
    const title = text.replace(/\s+/g, " ").slice(0, TITLE) || "Images";
    const { id } = this;
    const inherited = this.#inherited;
    await this.#parts.conversations.create(id, title, this.settings);
    if (inherited) {
      const model = await this.#parts.conversations.setModel(id, inherited);
      this.#looks += 1;
      if (this.id === id) this.model = model;
    }
    if (this.id !== id) return;
    this.#inherited = null;
    this.#isKept = true;
    this.#place = id;
    this.dispatchEvent(new Event("moved"));
  }

  async #giveResults(calls) {
    const { conversations, thread } = this.#parts;
    const { id } = this;
    const control = this.#start();
    if (!control) return;
    try {
      await this.#settled;
      const results = calls.map((call) => ({ message: { role: "tool", tool_call_id: call.id, content: call.text } }));
      const kept = await conversations.keep(id, results);
      if (this.id !== id) return;
      this.#kept.push(...kept);
    } catch (caught) {
      this.#finish(control);
      throw caught;
    }
    thread.give(calls);
    await this.#turn(control);
  }

  async #again() {
    let from = this.#kept.length;
    while (from > 0 && this.#kept[from - 1].message.role === "assistant") from -= 1;
    const control = from > 0 ? this.#start() : null;
    if (!control) return;
    const old = this.#kept.slice(from);
    try {
      await Promise.race([Promise.all([this.#settled, this.#switching]), abortOf(control.signal)]);
    } catch {
      this.#finish(control);
      return;
    }
    this.#parts.thread.show(this.#kept.slice(0, from), { hasOlder: this.#older !== null });
    await this.#turn(control, old);
  }

  /**
   * Let the models answer what was asked, each for itself.
   *
   * @param {AbortController} control
   * @param {object[]} old the last messages that are kept: answers, for which the new ones come
   */
  async #turn(control, old = []) {
    const { thread } = this.#parts;
    const { id } = this;
    const history = this.#kept.filter((each) => !old.includes(each));
    const once = this.#once;
    const first = { model: once?.id ?? null, shown: this.asked };
    const both = this.#beside ? [first, { model: this.#beside, shown: this.#beside }] : [first];
    const callers = callersOf(history); // who called no tool has nothing to go on with
    const asked = callers?.length ? callers.map((ref) => both.find((each) => each.shown === ref) ?? { model: ref, shown: ref }) : both;
    const views = thread.answers(asked.map((each) => each.shown));
    thread.toEnd();
    say("Asked");
    const answers = await Promise.all(views.map((view, n) => this.#answer(view, asked[n].model, history, control.signal)));
    // An answer that broke off does not take the place of one that is there.
    const made = answers.filter(({ view, failure }) => !view.isEmpty && !(failure && old.length));
    const keeping = made.length ? this.#keepAnswers(id, answers, made, old) : Promise.resolve();
    this.#settled = keeping.catch(() => {});
    this.#finish(control);
    await keeping.catch(complain);
    if (this.id !== id) return;
    if (old.length && made.length < answers.length) this.#show(answers.filter(({ failure }) => failure).map(({ view }) => view));
    else thread.after(views);
    if (this.#once === once) this.#choose("once", null); // else it was chosen for the one that comes
    say(made.length ? saidOf(made.map(({ view }) => view), answers.length > 1) : "No answer");
  }

  /** Keep the new answers, for the old ones; of a model that made none, its old one stays. */
  async #keepAnswers(id, answers, made, old) {
    const { conversations } = this.#parts;
    const messages = answers.flatMap((each) => {
      const ref = this.#refOf(each.view);
      if (made.includes(each)) return [{ message: each.view.message(), ref, ...usageOf(each.end) }];
      return old.filter((stays) => stays.ref === ref).map(asNew);
    });
    if (!old.length) {
      const kept = await conversations.keep(id, messages);
      if (this.id === id) this.#kept.push(...kept);
      return;
    }
    if (this.id !== id) return; // who went elsewhere has not seen the new ones
    const last = this.#kept[this.#kept.indexOf(old[0]) - 1].position;
    await conversations.dropAfter(id, last);
    let kept = [];
    try {
      kept = await conversations.keep(id, messages);
    } catch (caught) {
      kept = await conversations.keep(id, old.map(asNew));
      throw caught;
    } finally {
      if (this.id === id) this.#kept = [...this.#kept.filter((each) => !old.includes(each)), ...kept];
    }
  }

  async #answer(view, model, history, signal) {
    const { catalogue } = this.#parts;
    const named = view.id;
    view.begin((id) => ({ state: catalogue.model(id)?.state ?? null, loadingS: catalogue.loadingFor(id) }));
    let end = null;
    try {
      for await (const event of this.#events(named, model, history, signal)) {
        view.take(event);
        if (event.type === "end") end = event;
        // Somebody else chose it, or the default is another one.
        if (event.type === "began" && !model && view.id !== named) this.renewModel().catch(complain);
      }
      view.end();
    } catch (caught) {
      const failure = signal.aborted ? null : Failure.from(caught);
      view.end(failure ? { failure } : { stopped: true });
      return { view, end, failure };
    }
    return { view, end, failure: null };
  }

  #events(shown, model, history, signal) {
    const last = history.findLast((each) => each.message.role === "user");
    if (this.#parts.catalogue.model(shown)?.paints && typeof last?.message.content === "string") {
      return painting({ model: shown, prompt: last.message.content, signal });
    }
    return answer({
      model,
      persist: false, // a model for one turn leaves no trace; the conversation's own is known there
      conversationId: this.id,
      messages: requestMessages(history, shown, this.settings),
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

/** A message that is kept, to be kept anew. */
function asNew({ message, ref, usage }) {
  return { message, ref, usage };
}

function saidOf(views, areSeveral) {
  return views.map(({ id, text }) => `Answered${areSeveral ? ` by ${id}` : ""}: ${text.slice(0, 400)}`).join("\n");
}

/** Fails as soon as somebody stops it. */
function abortOf(signal) {
  return new Promise((_, failed) => {
    if (signal.aborted) failed(signal.reason);
    signal.addEventListener("abort", () => failed(signal.reason), { once: true });
  });
}

function welcome() {
  return element(
    "div",
    { class: "welcome" },
    element("h1", {}, "What can I find out for you?"),
    element("p", {}, "Ask the model above, or choose another one. Enter sends; Shift and Enter begin a new line."),
  );
}
