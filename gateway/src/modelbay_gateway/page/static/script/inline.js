import { element } from "./element.js";

export const LIMIT = 4000; // characters that are looked at together

const TOKEN = /\\([\\`*_{}[\]()#+\-.!~|<>])|(`+)|(!?\[)|\]|(\*+|_+|~~)|(https?:\/\/(?:\[[\da-f:.]+\][^\s<>"'`[\]]*|[^\s<>"'`[\]]+))|\n/g;
const TAGS = { "**": "strong", __: "strong", "*": "em", _: "em", "~~": "del" };
const IMAGE = /^data:image\/(png|jpeg|gif|webp|avif);base64,[A-Za-z0-9+/=]+$/;
const NAME = 200; // characters of an image's name

/**
 * Markdown within one block, as nodes. Whatever is no Markdown is text, HTML too.
 *
 * One pass: an opening mark is kept on a stack until its partner comes, or it stays text.
 *
 * @param {string} text
 * @returns {Node[]}
 */
export function inline(text) {
  return asNodes(new Scan(text, true).out);
}

/**
 * The nodes of so much of a text's begin as nothing that follows can change.
 *
 * @param {string} text
 * @returns {{nodes: Node[], to: number}} `to` is 0 if all may change yet
 */
export function settled(text) {
  const { out, safe } = new Scan(text, false);
  return { nodes: asNodes(out.slice(0, safe.count)), to: safe.at };
}

/** One by one: a hostile text has more nodes than a call may have arguments. */
export function filled(box, nodes) {
  for (const node of nodes) box.append(node);
  return box;
}

/** Text that stayed text is one node, however many marks were in it. */
function asNodes(out) {
  const nodes = [];
  let text = "";
  for (const each of [...out, null]) {
    if (typeof each === "string") text += each;
    else {
      if (text) nodes.push(document.createTextNode(text));
      text = "";
      if (each) nodes.push(each);
    }
  }
  return nodes;
}

class Scan {
  out = [];
  safe = { at: 0, count: 0 };
  #text;
  #isWhole;
  #open = new Map(); // mark -> where it stands in `out`, and where in the text
  #brackets = [];
  #ticks = null;

  constructor(text, isWhole) {
    this.#text = text;
    this.#isWhole = isWhole;
    const from = this.#tokens();
    if (from === null) return;
    if (!isWhole && this.#isSettled(text.length)) this.#plainSafe(from);
    else if (from < text.length) this.out.push(text.slice(from));
  }

  /** Where the text after the last token begins; null if a token has no end yet. */
  #tokens() {
    const text = this.#text;
    let from = 0;
    TOKEN.lastIndex = 0;
    for (let found; (found = TOKEN.exec(text)); ) {
      const [whole, escaped, ticks, bracket, mark, address] = found;
      const at = found.index;
      let to = TOKEN.lastIndex;
      const isLine = whole === "\n";
      const plain = isLine ? beforeSpaces(text, from, at) : at;
      const isBreak = at - plain >= 2;
      const textEnd = isBreak ? plain : at;
      if (textEnd > from) this.out.push(text.slice(from, textEnd));
      if (!this.#isWhole && (isLine || /\s/.test(text[at - 1] ?? " ")) && this.#isSettled(at)) {
        this.safe = { at: textEnd, count: this.out.length };
      }
      if (!this.#isWhole && to === text.length) return null;
      if (escaped) this.out.push(escaped);
      else if (ticks) to = this.#code(at, ticks);
      else if (bracket) {
        this.#brackets.push({ place: this.out.length, at, isImage: bracket === "![" });
        this.out.push(whole);
      } else if (whole === "]") to = this.#target(to);
      else if (mark) this.#marked(at, mark);
      else if (address) to = this.#bare(address, at);
      else this.out.push(isBreak ? element("br") : "\n");
      if (to === null) return null;
      from = TOKEN.lastIndex = to;
    }
    return from;
  }

  /** Whether nothing is open before this place. What has been open for long stays text. */
  #isSettled(at) {
    for (const [mark, where] of this.#open) if (at - where.at > LIMIT) this.#open.delete(mark);
    while (this.#brackets.length && at - this.#brackets[0].at > LIMIT && !this.#isPicture(this.#brackets[0])) this.#brackets.shift();
    return !this.#open.size && !this.#brackets.length;
  }

  /** An image that lies in the text itself is long. */
  #isPicture({ at, isImage }) {
    return isImage && this.#text.slice(at, at + NAME).includes("](data:image/");
  }

  #plainSafe(from) {
    const text = this.#text;
    let to = text.length;
    while (to > from && !/\s/.test(text[to - 1])) to -= 1;
    to = beforeSpaces(text, from, to);
    if (to <= from) return;
    this.out.push(text.slice(from, to));
    this.safe = { at: to, count: this.out.length };
  }

  #code(start, ticks) {
    const text = this.#text;
    this.#ticks ??= runs(text);
    const from = start + ticks.length;
    const found = this.#ticks.get(ticks.length);
    while (found && found.next < found.at.length && found.at[found.next] < from) found.next += 1;
    const end = found?.at[found.next];
    if (end === undefined) {
      if (!this.#isWhole && text.length - start < LIMIT) return null;
      this.out.push(ticks);
      return from;
    }
    const inside = text.slice(from, end);
    const isPadded = inside.length > 2 && inside.startsWith(" ") && inside.endsWith(" ") && inside.trim();
    this.out.push(element("code", {}, isPadded ? inside.slice(1, -1) : inside));
    return end + ticks.length;
  }

  /** The end of `[...]`: with an address behind it, a link or an image. */
  #target(from) {
    const bracket = this.#brackets.pop();
    const found = bracket && destination(this.#text, from);
    if (!found) {
      const isCut = bracket && !this.#isWhole && this.#text[from] === "(";
      if (isCut && (this.#text.length - from < LIMIT || this.#isPicture(bracket))) {
        this.#brackets.push(bracket);
        return null;
      }
      this.out.push("]");
      return from;
    }
    const inside = this.#since(bracket.place);
    if (bracket.isImage) this.out.push(image(found.address, inside));
    else {
      this.#brackets.length = 0; // there are no links in links
      this.out.push(link(found.address, inside));
    }
    return found.to;
  }

  /** Take what stands behind a mark, and the mark, out again. */
  #since(place) {
    const inside = this.out.splice(place).slice(1);
    for (const [mark, where] of this.#open) if (where.place >= place) this.#open.delete(mark);
    while (this.#brackets.length && this.#brackets.at(-1).place >= place) this.#brackets.pop();
    return inside;
  }

  #bare(address, start) {
    const tidy = withoutEnd(address);
    // Within the brackets of a link it would be a link in a link.
    this.out.push(link(tidy, [tidy]));
    return start + tidy.length;
  }

  #marked(at, run) {
    const before = this.#text[at - 1] ?? " ";
    const after = this.#text[at + run.length] ?? " ";
    const isWord = run[0] === "_" && /[\p{L}\p{N}]/u.test(before) && /[\p{L}\p{N}]/u.test(after);
    const canClose = /\S/.test(before) && !isWord;
    const canOpen = /\S/.test(after) && !isWord;
    if (run[0] !== "~" && run.length > 3) this.out.push(run);
    else if (run.length < 3) this.#mark(at, run, canClose, canOpen);
    else {
      const two = run.slice(0, 2);
      const one = run[0];
      const isInner = (this.#open.get(one)?.place ?? -1) > (this.#open.get(two)?.place ?? -1);
      const isClosing = canClose && (this.#open.has(one) || this.#open.has(two));
      for (const mark of isClosing && isInner ? [one, two] : [two, one]) this.#mark(at, mark, canClose, canOpen);
    }
  }

  #mark(at, mark, canClose, canOpen) {
    const begun = this.#open.get(mark);
    if (begun && canClose && begun.place < this.out.length - 1) {
      const inside = this.#since(begun.place);
      this.out.push(filled(element(TAGS[mark]), asNodes(inside)));
      return;
    }
    if (canOpen && !begun) this.#open.set(mark, { place: this.out.length, at });
    this.out.push(mark);
  }
}

/** Where the spaces begin that end here. */
function beforeSpaces(text, from, to) {
  let at = to;
  while (at > from && text[at - 1] === " ") at -= 1;
  return at;
}

/** Every run of backticks by its length. */
function runs(text) {
  const found = new Map();
  for (const { index, 0: run } of text.matchAll(/`+/g)) {
    if (!found.has(run.length)) found.set(run.length, { at: [], next: 0 });
    found.get(run.length).at.push(index);
  }
  return found;
}

/** `(address "title")` at this place; an address may hold pairs of brackets. */
function destination(text, from) {
  if (text[from] !== "(") return null;
  let at = skipSpace(text, from + 1);
  if (text[at] === "<") at += 1;
  const start = at;
  for (let depth = 0; at < text.length; at += 1) {
    const letter = text[at];
    if (letter === "(") {
      if (depth) return null; // looks no further: every letter is read twice at most
      depth = 1;
    } else if (letter === ")") {
      if (!depth) break;
      depth = 0;
    } else if (letter === "<" || letter === ">" || /\s/.test(letter)) {
      if (depth) return null;
      break;
    }
  }
  const address = text.slice(start, at);
  if (text[at] === ">") at += 1;
  const behind = skipSpace(text, at);
  if (behind > at && text[behind] === '"') {
    at = behind + 1;
    while (at < text.length && text[at] !== '"' && text[at] !== "\n") at += 1;
    if (text[at] !== '"') return null;
    at = skipSpace(text, at + 1);
  } else at = behind;
  return text[at] === ")" ? { address, to: at + 1 } : null;
}

function skipSpace(text, from) {
  let at = from;
  while (at < text.length && /\s/.test(text[at])) at += 1;
  return at;
}

/** An image that came with the answer. No other one is fetched: whoever serves it would know. */
function image(address, inside) {
  const name = inside.map((each) => (typeof each === "string" ? each : each.textContent)).join("").slice(0, NAME);
  if (IMAGE.test(address)) return element("img", { src: address, alt: name, loading: "lazy" });
  return link(address, [`Image: ${name || address}`]);
}

/** A link, if it leads to a place and not to a script. */
function link(address, inside) {
  const url = safe(address);
  if (!url) return filled(element("span"), asNodes(inside));
  const made = filled(element("a", { href: url, target: "_blank", rel: "noopener noreferrer nofollow" }), asNodes(inside));
  // An address or an image within is a link by itself, and there are no links in links.
  for (const inner of made.querySelectorAll("a")) inner.replaceWith(...inner.childNodes);
  return made;
}

function safe(address) {
  if (!/^(https?:\/\/|mailto:)/i.test(address)) return null;
  try {
    return new URL(address).href;
  } catch {
    return null;
  }
}

/** An address without what ends the sentence around it; a bracket stays if it was opened within. */
function withoutEnd(address) {
  let open = 0;
  for (const letter of address) open += letter === "(" ? 1 : letter === ")" ? -1 : 0;
  let to = address.length;
  for (; to > 0; to -= 1) {
    const last = address[to - 1];
    if (last === ")") {
      if (open >= 0) break;
      open += 1;
    } else if (!".,:;!?*_~".includes(last)) break;
  }
  return address.slice(0, to);
}
