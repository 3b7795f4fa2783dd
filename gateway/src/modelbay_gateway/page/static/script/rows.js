/**
 * A long list of which only the rows in view are in the document.
 *
 * Rows are told apart by `item.key`; one that stays in view keeps its element, so that neither the
 * focus nor a pointer that rests on it is lost when the list changes.
 */
export class Rows {
  #box;
  #body;
  #items = [];
  #tops = [0];
  #measured = new Map();
  #indexes = new Map();
  #shown = new Map();
  #heightOf;
  #render;
  #frame = 0;
  #pinned = null;

  /**
   * @param {HTMLElement} box scrolls
   * @param {(item: object) => number} heightOf pixels; of an item with `isMeasured` only until its
   *   row is in the document, and as high as what stands in it
   * @param {(item: object, index: number, row: ?HTMLElement) => HTMLElement} render makes a row, or
   *   brings the one that is there up to date
   */
  constructor(box, heightOf, render) {
    this.#box = box;
    this.#heightOf = heightOf;
    this.#render = render;
    this.#body = document.createElement("div");
    this.#body.className = "rows";
    this.#body.setAttribute("role", "rowgroup");
    box.append(this.#body);
    box.addEventListener("scroll", () => this.#later(), { passive: true });
    new ResizeObserver(() => this.#later()).observe(box);
  }

  /** The key of a row that is in the document wherever the list is scrolled to: Tab stops at it. */
  set pinned(key) {
    if (key === this.#pinned) return;
    this.#pinned = key;
    this.#later();
  }

  get items() {
    return this.#items;
  }

  /**
   * Show these instead.
   *
   * @param {?string} anchor the key of a row that stays where it is on the screen
   */
  show(items, anchor = null) {
    const before = anchor === null ? -1 : this.indexOf(anchor);
    const offset = before < 0 ? 0 : this.#tops[before] - this.#box.scrollTop;
    this.#items = items;
    this.#tops = new Array(items.length + 1);
    this.#indexes = new Map();
    let top = 0;
    items.forEach((item, n) => {
      this.#tops[n] = top;
      this.#indexes.set(item.key, n);
      top += this.#height(item);
    });
    this.#tops[items.length] = top;
    this.#body.style.height = `${top}px`;
    const now = before < 0 ? -1 : this.indexOf(anchor);
    if (now >= 0) this.#box.scrollTop = this.#tops[now] - offset;
    this.#paint();
  }

  /** Bring the rows in view up to date; the list itself is the same. */
  renew() {
    for (const [key, row] of this.#shown) {
      const index = this.indexOf(key);
      if (index >= 0) this.#render(this.#items[index], index, row);
    }
    this.#measure();
  }

  indexOf(key) {
    return this.#indexes.get(key) ?? -1;
  }

  /** The row of an item, scrolled into view. */
  reveal(index) {
    const top = this.#tops[index];
    const end = this.#tops[index + 1];
    const { scrollTop, clientHeight } = this.#box;
    if (top < scrollTop) this.#box.scrollTop = top;
    else if (end > scrollTop + clientHeight) this.#box.scrollTop = Math.ceil(end - clientHeight);
    this.#paint();
    return this.#shown.get(this.#items[index].key);
  }

  #later() {
    this.#frame ||= requestAnimationFrame(() => this.#paint());
  }

  #paint() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const { scrollTop, clientHeight } = this.#box;
    const first = Math.max(0, this.#at(scrollTop) - 3);
    const last = Math.min(this.#items.length - 1, this.#at(scrollTop + clientHeight) + 3);
    const wanted = new Set();
    const order = [];
    for (const index of this.#painted(first, last)) {
      const item = this.#items[index];
      wanted.add(item.key);
      let row = this.#shown.get(item.key);
      row = this.#render(item, index, row ?? null);
      row.style.top = `${this.#tops[index]}px`;
      row.style.height = item.isMeasured ? "" : `${this.#height(item)}px`;
      row.setAttribute("aria-rowindex", String(index + 1));
      this.#shown.set(item.key, row);
      order.push(row);
    }
    for (const [key, row] of this.#shown) {
      if (wanted.has(key)) continue;
      row.remove();
      this.#shown.delete(key);
    }
    this.#arrange(order);
    this.#measure();
  }

  /**
   * Have them stand in the document as they are read. Moving a row would cost it the focus: the
   * others are moved around the one that has it.
   */
  #arrange(order) {
    const holder = order.findIndex((row) => row.contains(document.activeElement));
    const fixed = Math.max(0, holder < 0 ? order.findIndex((row) => row.isConnected) : holder);
    if (order.length && !order[fixed].isConnected) this.#body.prepend(order[fixed]);
    for (let n = fixed - 1; n >= 0; n -= 1) {
      if (order[n + 1].previousSibling !== order[n]) order[n + 1].before(order[n]);
    }
    for (let n = fixed + 1; n < order.length; n += 1) {
      if (order[n - 1].nextSibling !== order[n]) order[n - 1].after(order[n]);
    }
  }

  #height(item) {
    return this.#measured.get(item.key) ?? this.#heightOf(item);
  }

  /** Make room for what stands in rows that are as high as it is. */
  #measure() {
    let isOther = false;
    for (const [key, row] of this.#shown) {
      if (!this.#items[this.indexOf(key)]?.isMeasured) continue;
      const { height } = row.getBoundingClientRect();
      const known = this.#measured.get(key) ?? 0;
      if (height === 0 || Math.abs(height - known) < 0.1) continue; // 0: nothing is shown
      this.#measured.set(key, height);
      isOther = true;
    }
    if (isOther) this.show(this.#items, this.#pinned);
  }

  /** Those in view, and those that may not go: the pinned one, and one that has the focus. */
  #painted(first, last) {
    const found = new Set();
    for (let index = first; index <= last; index += 1) found.add(index);
    for (const [key, row] of this.#shown) if (row.contains(document.activeElement)) found.add(this.indexOf(key));
    found.add(this.indexOf(this.#pinned));
    found.delete(-1);
    return [...found].sort((a, b) => a - b);
  }

  /** The item at this height. */
  #at(y) {
    let low = 0;
    let high = this.#items.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#tops[middle + 1] <= y) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
