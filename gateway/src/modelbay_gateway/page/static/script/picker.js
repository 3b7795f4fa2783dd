import { element } from "./element.js";
import { openMenu } from "./menu.js";
import { complain, say, tell } from "./notice.js";
import { ask } from "./question.js";
import { become, rowMark, shownRow } from "./row.js";
import { Rows } from "./rows.js";
import { sections } from "./sections.js";
import { isCounting, serverFacts, serverSentence } from "./server-row.js";
import { workList } from "./work-list.js";

const HEIGHTS = { section: 44, server: 120, model: 66, hidden: 40 };
const TICK_MS = 1000;

/**
 * The list of models. Events: `choose`, `once` and `beside`, each with `.id`.
 *
 * It is a grid with one stop for Tab: arrows go through rows and through what stands in them.
 */
export class Picker extends EventTarget {
  #parts;
  #rows;
  #filter;
  #typed = "";
  #revealed = false;
  #current = null;
  #active = { key: null, column: 0 };
  #ticking = 0;
  #dragged = null;
  #menu = null;

  constructor(box, parts) {
    super();
    this.#parts = parts;
    const filter = element("input", {
      type: "search", id: "filter", placeholder: "Filter models", "aria-label": "Filter models",
      autocomplete: "off", spellcheck: "false", "aria-controls": "models",
    });
    const grid = element("div", { id: "models", class: "models", role: "grid", "aria-label": "Models" });
    box.append(
      element("div", { class: "side-head" }, element("h2", { class: "sr" }, "Models"), filter),
      grid,
      workList(parts.work, () => this.#focus()),
    );
    this.#rows = new Rows(grid, (item) => HEIGHTS[item.type], (...row) => this.#render(...row));
    filter.addEventListener("input", () => {
      this.#typed = filter.value;
      grid.scrollTop = 0;
      this.#active = { key: null, column: 0 };
      this.#show();
      const found = new Set(this.#rows.items.filter(({ type }) => type === "model").map(({ model }) => model.id)).size;
      say(found === 1 ? "1 model" : `${found} models`);
    });
    filter.addEventListener("keydown", (event) => this.#onFilterKey(event, filter));
    grid.addEventListener("click", (event) => this.#onClick(event));
    grid.addEventListener("keydown", (event) => this.#onKey(event));
    grid.addEventListener("focusin", (event) => this.#onFocus(event));
    this.#makeDraggable(grid);
    parts.catalogue.addEventListener("change", () => this.#show());
    parts.favourites.addEventListener("change", () => this.#show());
    parts.servers.addEventListener("change", () => this.#show());
    parts.work.addEventListener("change", () => this.#tick());
    this.grid = grid;
    this.#filter = filter;
  }

  /** The model that is asked now. */
  set current(id) {
    this.#current = id;
    this.#rows.renew();
  }

  #show() {
    const { catalogue, favourites, servers } = this.#parts;
    const told = (id) => servers.told(id);
    const items = sections(catalogue, favourites, { typed: this.#typed, revealed: this.#revealed, told });
    const isAtTop = this.grid && this.grid.scrollTop < 4 && !this.grid.contains(document.activeElement);
    const anchor = isAtTop ? null : this.#active.key;
    const isGone = !items.some((item) => item.key === this.#active.key);
    const hadFocus = isGone && this.grid.contains(document.activeElement) && document.activeElement !== this.grid;
    if (isGone) this.#active = this.#successor(items);
    this.grid.setAttribute("aria-rowcount", String(items.length));
    this.grid.setAttribute("aria-busy", String(!catalogue.isRead));
    this.grid.classList.toggle("empty", catalogue.isRead && !items.length);
    this.#rows.pinned = this.#active.key;
    this.#rows.show(items, anchor);
    if (hadFocus) this.#focus();
    this.#renewMenu();
    this.#wait();
  }

  /** What takes the place of the active row, which has gone: the next one that stayed, else the last. */
  #successor(items) {
    const { items: before } = this.#rows;
    const at = this.#rows.indexOf(this.#active.key);
    const stayed = new Set(items.map(({ key }) => key));
    const isThere = ({ key }) => stayed.has(key);
    const other = at < 0 ? null : (before.slice(at + 1).find(isThere) ?? before.slice(0, at).findLast(isThere));
    const next = other ?? items.find(({ type }) => type === "model") ?? items[0];
    // In a row of another type something else stands in that column.
    return { key: next?.key ?? null, column: other && other.type === before[at].type ? this.#active.column : 0 };
  }

  /** Give the focus to the active row, or to the filter where there is none. */
  #focus() {
    const index = this.#rows.indexOf(this.#active.key);
    if (index < 0) this.#filter.focus();
    else this.#go(index, this.#active.column);
  }

  #tick() {
    this.#rows.renew();
    this.#renewMenu();
    this.#wait();
  }

  /** While something loads, or is about to be unloaded, its seconds count. */
  #wait() {
    const { servers, work } = this.#parts;
    const isTicking = this.#rows.items.some(({ type, model, provider }) =>
      type === "server"
        ? isCounting(servers.told(provider.id))
        : model && (model.state === "loading" || model.state === "downloading" || work.on(model.id)),
    );
    clearTimeout(this.#ticking);
    if (isTicking) this.#ticking = setTimeout(() => this.#tick(), TICK_MS);
  }

  #render(item, index, row) {
    const { work, catalogue, favourites, access, servers } = this.#parts;
    const id = item.model?.id;
    const told = {
      work: id ? work.on(id) : null,
      loadingS: id ? catalogue.loadingFor(id) : null,
      isStarred: Boolean(id) && favourites.has(id),
      isCurrent: Boolean(id) && id === this.#current,
      canStar: access.can("admin"),
      canPull: access.can("manage"),
      isOpen: Boolean(item.provider && servers.told(item.provider.id)),
      hasMenu: Boolean(this.#menu?.menu.isOpen) && this.#menu.key === item.key,
      server: item.type === "server" ? this.#facts(item.provider) : null,
    };
    const mark = rowMark(item, told);
    const shown = row ?? shownRow(item, told);
    if (row && row.mark !== mark) renew(row, shownRow(item, told));
    shown.mark = mark;
    shown.item = item;
    const isActive = item.key === this.#active.key;
    const all = stops(shown);
    all.forEach((stop, n) => {
      stop.tabIndex = isActive && n === Math.min(this.#active.column, all.length - 1) ? 0 : -1;
    });
    if (work.on(id)) bar(shown, work.on(id));
    return shown;
  }

  #facts(provider) {
    const { access, servers } = this.#parts;
    return serverFacts(provider, servers.told(provider.id), access.can("manage"), performance.now());
  }

  // --- keys -------------------------------------------------------------------------------------

  #onFilterKey(event, filter) {
    if (event.key === "ArrowDown") {
      event.preventDefault();
      this.#go(this.#rows.items.findIndex((item) => item.type === "model"), 0);
    } else if (event.key === "Enter") {
      const first = this.#rows.items.find((item) => item.type === "model" && item.isOnline);
      if (first) this.#emit("choose", first.model.id);
    } else if (event.key === "Escape" && filter.value) {
      event.preventDefault();
      event.stopPropagation();
      filter.value = "";
      filter.dispatchEvent(new Event("input"));
    }
  }

  #onKey(event) {
    const index = this.#rows.indexOf(this.#active.key);
    if (index < 0) return;
    // Whoever holds the key down for long means this button, not those that take its place.
    if (event.repeat && event.key === "Enter") event.preventDefault();
    const { items } = this.#rows;
    const item = items[index];
    const { column } = this.#active;
    const page = Math.max(1, Math.floor(this.grid.clientHeight / HEIGHTS.model) - 1);
    if (event.altKey && item.isFavourite && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
      this.#shift(index, event.key === "ArrowUp" ? -1 : 1);
    } else {
      const to = {
        ArrowDown: index + 1,
        ArrowUp: index - 1,
        PageDown: index + page,
        PageUp: index - page,
        Home: event.ctrlKey ? 0 : undefined,
        End: event.ctrlKey ? items.length - 1 : undefined,
      }[event.key];
      const across = { ArrowRight: column + 1, ArrowLeft: column - 1, Home: 0, End: 99 }[event.key];
      if (to !== undefined) this.#go(Math.max(0, Math.min(items.length - 1, to)), column);
      else if (across !== undefined) this.#go(index, Math.max(0, across));
      else return;
    }
    event.preventDefault();
  }

  #go(index, column) {
    if (index < 0) return;
    const before = this.#active.key;
    this.#active = { key: this.#rows.items[index].key, column };
    this.#rows.pinned = this.#active.key;
    const row = this.#rows.reveal(index);
    const all = stops(row);
    this.#active.column = Math.min(column, all.length - 1);
    all[this.#active.column].focus();
    if (before !== this.#active.key) this.#rows.renew();
  }

  #onFocus(event) {
    const row = event.target.closest(".row");
    if (!row) return; // the list itself, which can be scrolled with keys
    const column = stops(row).indexOf(event.target);
    if (column < 0) return;
    const isOther = this.#active.key !== row.item.key || this.#active.column !== column;
    this.#active = { key: row.item.key, column };
    this.#rows.pinned = row.item.key;
    if (isOther) this.#rows.renew();
  }

  // --- what rows do -----------------------------------------------------------------------------

  #onClick(event) {
    const button = event.target.closest("[data-act]");
    const row = event.target.closest(".row");
    if (!row) return;
    const { item } = row;
    const act = button?.dataset.act ?? (item.type === "model" && event.target.closest(".main-cell") ? "choose" : null);
    if (act === "star") this.#star(item);
    else if (act === "more") this.#openMenu(button, item);
    else if (act === "choose") this.#emit("choose", item.model.id);
    else if (act === "pull") this.#pull(item.provider);
    else if (act === "about") this.#about(item.provider);
    else if (act === "reveal") {
      this.#revealed = !this.#revealed;
      this.#show();
    }
  }

  async #about(provider) {
    const isTold = await this.#parts.servers.toggle(provider.id);
    if (!isTold) return;
    say(serverSentence(provider, this.#facts(provider)));
    // All of it where there is room, its title in any case.
    for (const key of [`about ${provider.id}`, `at ${provider.id}`]) {
      const index = this.#rows.indexOf(key);
      if (index >= 0) this.#rows.reveal(index);
    }
  }

  #openMenu(button, item) {
    const row = () => [...this.grid.querySelectorAll(".row")].find((each) => each.item.key === item.key);
    const menu = openMenu(button, this.#entries(item), () => row()?.querySelector('[data-act="more"]'), () => this.#focus());
    this.#menu = { key: item.key, menu };
  }

  /** What can be done with a model changes with it, also while its menu is open. */
  #renewMenu() {
    if (!this.#menu?.menu.isOpen) return;
    const item = this.#rows.items[this.#rows.indexOf(this.#menu.key)];
    if (item) this.#menu.menu.show(this.#entries(item));
  }

  #star(item) {
    this.#active.key = item.key;
    this.#parts.favourites.toggle(item.model.id);
    say(`${item.model.id} is ${this.#parts.favourites.has(item.model.id) ? "a favourite" : "no favourite"} now`);
  }

  #entries(item) {
    const { model } = item;
    const provider = this.#parts.catalogue.provider(model.providerId);
    const { access } = this.#parts;
    const can = (action) => provider?.actions.includes(action);
    const reason = access.reason("manage");
    const index = this.#rows.indexOf(item.key);
    const entries = [
      { label: "Use for the next turn only", reason: access.reason("chat"), run: () => this.#emit("once", model.id) },
      { label: "Answer side by side", reason: access.reason("chat"), run: () => this.#emit("beside", model.id) },
    ];
    if (item.isFavourite && access.can("admin")) {
      const { items } = this.#rows; // those that are hidden are passed over
      if (items[index - 1]?.isFavourite) entries.push({ label: "Move up", run: () => this.#shift(index, -1) });
      if (items[index + 1]?.isFavourite) entries.push({ label: "Move down", run: () => this.#shift(index, 1) });
    }
    const isBusy = model.state === "loading" || model.state === "downloading" || this.#parts.work.on(model.id);
    if (can("load") && model.state !== "loaded" && !isBusy) entries.push({ label: "Load", reason, run: () => this.#do("load", model) });
    if (can("unload") && model.state !== "unloaded") entries.push({ label: "Unload", reason, run: () => this.#do("unload", model) });
    if (can("delete") && !model.isMissing) entries.push({ label: "Delete…", danger: true, reason, run: () => this.#delete(model) });
    return entries;
  }

  /** What a dialog was opened from may be gone by the time that it is closed. */
  #keepFocus() {
    if (document.activeElement === document.body) this.#focus();
  }

  async #do(action, model, more) {
    const piece = await this.#parts.work.start(model.providerId, action, model.wireId, more);
    if (piece.outcome === "failed") complain(piece.failure);
    if (piece.outcome === "done") tell(`✓ ${model.id} ${{ load: "is loaded", unload: "is unloaded", delete: "is deleted" }[action]}`);
    if (action !== "pull") this.#parts.work.forget(piece);
    this.#parts.catalogue.refresh();
  }

  async #delete(model) {
    const size = model.size ? " Its files are removed from that server." : "";
    const isSure = await ask({
      title: `Delete ${model.wireId}?`,
      text: `It is deleted at ${model.providerId} for everybody who uses that server.${size}`,
      yes: "Delete",
      danger: true,
    });
    this.#keepFocus();
    if (isSure) this.#do("delete", model, { confirm: true });
  }

  async #pull(provider) {
    const name = await ask({
      title: `Pull a model to ${provider.label}`,
      label: "Name, as that server knows it",
      yes: "Pull",
    });
    this.#keepFocus();
    if (!name) return;
    const piece = await this.#parts.work.start(provider.id, "pull", name);
    if (piece.outcome === "failed") say(piece.failure.message);
    if (piece.outcome === "done") say(`✓ ${name} ready`);
    this.#parts.catalogue.refresh();
  }

  // --- the order of favourites ------------------------------------------------------------------

  #shift(index, by) {
    const { items } = this.#rows;
    const other = items[index + by];
    const { id } = items[index].model;
    if (!other?.isFavourite || !this.#parts.access.can("admin")) return;
    this.#active.key = items[index].key;
    this.#parts.favourites.move(id, other.model.id);
    this.#go(this.#rows.indexOf(this.#active.key), this.#active.column);
    say(`${id} is number ${this.#parts.favourites.ids.indexOf(id) + 1} of the favourites`);
  }

  #makeDraggable(grid) {
    const over = (event) => {
      const row = event.target.closest?.(".row.favourite");
      return this.#dragged && row && row.item.model.id !== this.#dragged ? row : null;
    };
    const clear = () => grid.querySelector(".drop")?.classList.remove("drop");
    grid.addEventListener("dragstart", (event) => {
      this.#dragged = event.target.closest?.(".row.favourite")?.item.model.id ?? null;
      if (this.#dragged) event.dataTransfer.setData("text/plain", this.#dragged);
    });
    grid.addEventListener("dragover", (event) => {
      clear();
      const row = over(event);
      if (!row) return;
      event.preventDefault();
      row.classList.add("drop");
    });
    grid.addEventListener("drop", (event) => {
      const row = over(event);
      if (!row) return;
      event.preventDefault();
      this.#parts.favourites.move(this.#dragged, row.item.model.id);
    });
    grid.addEventListener("dragend", () => {
      clear();
      this.#dragged = null;
    });
  }

  #emit(name, id) {
    const event = new Event(name);
    event.id = id;
    this.dispatchEvent(event);
  }
}

/** What the arrows stop at in a row: its name, its buttons, and what has more to say about itself. */
function stops(row) {
  return [".title, .name, .stop", "button:not(.name)", ".tip"].flatMap((each) => [...row.querySelectorAll(each)]);
}

/** The new contents in the old row; where what had the focus is gone, its neighbour has it. */
function renew(row, fresh) {
  const at = stops(row).indexOf(document.activeElement);
  become(row, fresh);
  const all = stops(row);
  if (at >= 0 && !row.contains(document.activeElement)) all[Math.min(at, all.length - 1)]?.focus();
}

/** A bar moves without its row being made anew. */
function bar(row, piece) {
  const shown = row.querySelector("progress");
  if (shown && piece.fraction !== null) shown.value = piece.fraction;
}
