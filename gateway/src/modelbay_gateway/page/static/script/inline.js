import { element } from "./element.js";

const TOKEN =
  /\\([\\`*_{}[\]()#+\-.!~|<>])|(`+)|(!?\[)|\]|(\*\*|__|~~|\*|_)|(https?:\/\/[^\s<>"'`]+)|( {2,}\n|\n)/g;
const TARGET = /\(\s*<?([^\s<>()]*(?:\([^\s<>()]*\)[^\s<>()]*)*)>?(?:\s+"[^"\n]*")?\s*\)/y;
const TAGS = { "**": "strong", __: "strong", "*": "em", _: "em", "~~": "del" };
const IMAGE = /^data:image\/(png|jpeg|gif|webp|avif);base64,[A-Za-z0-9+/=]+$/;

/**
 * Markdown within one block, as nodes. Whatever is no Markdown is text, HTML too.
 *
 * One pass: an opening mark is kept on a stack until its partner comes, or it stays text.
 *
 * @param {string} text
 * @returns {Node[]}
 */
export function inline(text) {
  const out = [];
  const open = new Map(); // mark -> where it stands in `out`
  const brackets = [];
  let from = 0;
  TOKEN.lastIndex = 0;
  for (let found; (found = TOKEN.exec(text)); ) {
    const [whole, escaped, ticks, bracket, mark, address, line] = found;
    if (found.index > from) out.push(text.slice(from, found.index));
    from = TOKEN.lastIndex;
    if (escaped) out.push(escaped);
    else if (ticks) from = code(text, found.index, ticks, out);
    else if (bracket) {
      brackets.push({ at: out.length, isImage: bracket === "![", start: found.index });
      out.push(whole);
    } else if (whole === "]") from = target(text, from, out, brackets, open);
    else if (mark) marked(text, found.index, mark, out, open);
    else if (address) from = bare(address, found.index, out);
    else if (line) out.push(whole.length > 1 ? element("br") : "\n");
    TOKEN.lastIndex = from;
  }
  if (from < text.length) out.push(text.slice(from));
  return out.map((each) => (typeof each === "string" ? document.createTextNode(each) : each));
}

function code(text, start, ticks, out) {
  const end = text.indexOf(ticks, start + ticks.length);
  if (end < 0) {
    out.push(ticks);
    return start + ticks.length;
  }
  out.push(element("code", {}, text.slice(start + ticks.length, end).replace(/^ (.+) $/s, "$1")));
  return end + ticks.length;
}

/** The end of `[...]`: with an address behind it, a link or an image. */
function target(text, from, out, brackets, open) {
  const bracket = brackets.pop();
  TARGET.lastIndex = from;
  const found = bracket && TARGET.exec(text);
  if (!found) {
    out.push("]");
    return from;
  }
  const inside = out.splice(bracket.at).slice(1);
  for (const [mark, at] of open) if (at >= bracket.at) open.delete(mark);
  out.push(bracket.isImage ? image(found[1], inside) : link(found[1], inside));
  return TARGET.lastIndex;
}

/** An image that came with the answer. No other one is fetched: whoever serves it would know. */
function image(address, inside) {
  const name = inside.map((each) => (typeof each === "string" ? each : each.textContent)).join("");
  if (IMAGE.test(address)) return element("img", { src: address, alt: name, loading: "lazy" });
  return link(address, [`Image: ${name || address}`]);
}

/** A link, if it leads to a place and not to a script. */
function link(address, inside) {
  const url = safe(address);
  if (!url) return element("span", {}, ...inside);
  return element("a", { href: url, target: "_blank", rel: "noopener noreferrer nofollow" }, ...inside);
}

function safe(address) {
  if (!/^(https?:\/\/|mailto:)/i.test(address)) return null;
  try {
    return new URL(address).href;
  } catch {
    return null;
  }
}

function bare(address, start, out) {
  const tidy = address.replace(/[.,:;!?)*_~\]]+$/, "");
  out.push(link(tidy, [tidy]));
  return start + tidy.length;
}

function marked(text, at, mark, out, open) {
  const before = text[at - 1] ?? " ";
  const after = text[at + mark.length] ?? " ";
  const isWord = mark[0] === "_" && /[\p{L}\p{N}]/u.test(before) && /[\p{L}\p{N}]/u.test(after);
  const begun = open.get(mark);
  if (begun !== undefined && /\S/.test(before) && begun < out.length - 1 && !isWord) {
    const inside = out.splice(begun).slice(1);
    for (const [other, where] of open) if (where >= begun) open.delete(other);
    out.push(element(TAGS[mark], {}, ...inside));
    return;
  }
  if (/\S/.test(after) && !isWord && begun === undefined) open.set(mark, out.length);
  out.push(mark);
}
