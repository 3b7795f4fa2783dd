import { element } from "./element.js";

const MOST = 40_000; // characters; longer code stays one colour, and the page quick

const HASH = new Set(["python", "py", "sh", "bash", "shell", "console", "zsh", "ruby", "rb", "yaml", "yml", "toml", "make", "perl", "r"]);
const DASH = new Set(["sql", "lua", "haskell", "hs"]);
const PLAIN = new Set(["", "text", "txt", "md", "markdown", "diff", "output"]);
const WORDS = new Set(
  ("and as assert async await break case catch class const continue def default del do done elif else end enum esac " +
    "except export extends False fi final finally fn for from func function global if impl implements import in " +
    "interface is lambda let loop match mod module mut new nil None not null nullptr of or pass private protected pub " +
    "public raise return select self static struct super switch then this throw throws trait True true false try type " +
    "typeof undefined union until use using var virtual void where while with yield SELECT FROM WHERE INSERT UPDATE " +
    "DELETE JOIN ON GROUP BY ORDER AND OR NOT CREATE TABLE INTO VALUES LIMIT").split(" "),
);
const STRING = String.raw`"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|` + "`(?:[^`\\\\]|\\\\[^])*`";

/** Code as nodes: comments, strings, numbers and the words that most languages share. */
export function coloured(source, language) {
  if (PLAIN.has(language) || source.length > MOST) return [document.createTextNode(source)];
  const comment = HASH.has(language) ? "#.*" : DASH.has(language) ? "--.*" : String.raw`\/\/.*|\/\*[^]*?(?:\*\/|$)`;
  const tokens = new RegExp(String.raw`(${comment})|(${STRING})|\b(\d[\w.]*)\b|([A-Za-z_$][\w$]*)`, "g");
  const nodes = [];
  let from = 0;
  for (const found of source.matchAll(tokens)) {
    const kind = found[1] ? "comment" : found[2] ? "string" : found[3] ? "number" : WORDS.has(found[4]) ? "word" : null;
    if (!kind) continue;
    if (found.index > from) nodes.push(source.slice(from, found.index));
    nodes.push(element("span", { class: kind }, found[0]));
    from = found.index + found[0].length;
  }
  nodes.push(source.slice(from));
  return nodes.map((each) => (typeof each === "string" ? document.createTextNode(each) : each));
}
