import { Failure } from "./failure.js";
import { documents } from "./gateway.js";
import { askForKey, key } from "./key.js";

const SETTLE_MS = 150; // changes come in bursts; one look tells them all
const RETRY_MS = [1000, 2000, 5000, 10000];

/**
 * All models by provider, as the gateway knows them now.
 *
 * Events: `change` when anything is different, `heard` when the gateway told of a change, with
 * `.providerId` or null for any of them, `settings` when settings may be different, `failed` with
 * `.failure` when it could not be read, `offline` and `online` of the gateway itself.
 */
export class Catalogue extends EventTarget {
  /** @type {object[]} in the configured order */
  providers = [];
  isRead = false;
  #models = new Map();
  #since = new Map();
  #worker = null;
  #waiting = null;
  #timer = 0;
  #again = false;
  #failed = 0;

  model(id) {
    return this.#models.get(id) ?? null;
  }

  provider(id) {
    return this.providers.find((each) => each.id === id) ?? null;
  }

  get size() {
    return this.#models.size;
  }

  /** Seconds since this model began to load, as far as the gateway has seen it, or else this page. */
  loadingFor(id) {
    const since = this.#since.get(id);
    return since === undefined ? null : (performance.now() - since) / 1000;
  }

  /** Whether it can be asked now. */
  isOnline(id) {
    const model = this.model(id);
    const status = model && this.provider(model.providerId)?.status;
    return Boolean(model) && status !== "down" && status !== "misconfigured";
  }

  /** Listen for changes for as long as the page is open. */
  async follow() {
    for (let failed = 0; ; failed += 1) {
      try {
        for await (const change of documents("/api/events")) {
          if (failed) this.dispatchEvent(new Event("online"));
          failed = 0;
          this.#take(change);
        }
      } catch (caught) {
        if (failed === 0) {
          const offline = new Event("offline");
          offline.failure = Failure.from(caught);
          this.dispatchEvent(offline);
        }
      }
      await new Promise((done) => setTimeout(done, RETRY_MS[Math.min(failed, RETRY_MS.length - 1)]));
    }
  }

  #take(change) {
    const model = change.id && this.model(change.id);
    if (model && change.state && change.state !== model.state) {
      this.#setState(model, change.state);
      this.#changed();
    }
    // Others may have changed them while this page did not listen.
    if (change.type === "settings" || change.type === "ready") this.dispatchEvent(new Event("settings"));
    if (change.type === "settings") return;
    this.refresh();
    const heard = new Event("heard");
    heard.providerId = change.provider_id || null;
    this.dispatchEvent(heard);
  }

  /** Read it anew soon. */
  refresh() {
    this.#readIn(this.isRead ? SETTLE_MS : 0);
  }

  #readIn(ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#read(), ms);
  }

  #read() {
    if (this.#waiting) {
      this.#again = true;
      return;
    }
    this.#worker ??= this.#start();
    this.#waiting = { ids: [], found: new Map() };
    this.#worker.postMessage({ key: key() });
  }

  #start() {
    const worker = new Worker("/page/script/catalogue-reader.js", { type: "module" });
    worker.addEventListener("message", ({ data }) => {
      const waiting = this.#waiting;
      if (data.type === "begin") waiting.ids = data.ids;
      else if (data.type === "provider") waiting.found.set(data.provider.id, data.provider);
      else this.#ended(data, waiting);
    });
    return worker;
  }

  async #ended(data, waiting) {
    if (data.type === "failed") {
      if (data.status === 401) this.#again = await askForKey(Failure.of(data.error, 401), key());
      else this.#tellFailed(data);
    } else {
      this.#failed = 0;
      this.#replace(waiting.ids.map((id) => waiting.found.get(id)));
    }
    this.#waiting = null;
    if (this.#again) {
      this.#again = false;
      this.refresh();
    }
  }

  /** Say it once, and try again until it can be read. */
  #tellFailed({ error, status }) {
    if (!this.#failed) {
      const failed = new Event("failed");
      failed.failure = status ? Failure.of(error, status) : Failure.from(new TypeError());
      this.dispatchEvent(failed);
    }
    this.#readIn(RETRY_MS[Math.min(this.#failed, RETRY_MS.length - 1)]);
    this.#failed += 1;
  }

  #replace(providers) {
    const models = new Map();
    for (const provider of providers) {
      for (const model of provider.models) {
        models.set(model.id, model);
        this.#note(model.id, model.state, model.loadingS);
      }
    }
    this.providers = providers;
    this.#models = models;
    this.isRead = true;
    this.#changed();
  }

  #setState(model, state) {
    model.state = state;
    this.#note(model.id, state);
  }

  #note(id, state, loadingS = null) {
    if (state !== "loading" && state !== "downloading") this.#since.delete(id);
    else if (loadingS !== null) this.#since.set(id, performance.now() - loadingS * 1000);
    else if (!this.#since.has(id)) this.#since.set(id, performance.now());
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
