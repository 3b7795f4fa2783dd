import { element } from "./element.js";

const MOST = 40_000; // characters; longer code stays one colour, and the page quick
const MOST_SPANS = 4000;

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
// An end may be missing: to look for it again from every quote would cost time by the square.
const STRING = String.raw`"(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?`;
const TEMPLATE = "|`(?:[^`\\\\]|\\\\[^])*`?";

/** Code as nodes: comments, strings, numbers and the words that most languages share; null if it stays plain. */
export function coloured(source, language) {
  if (PLAIN.has(language) || source.length > MOST) return null;
  const comment = HASH.has(language) ? "#.*" : DASH.has(language) ? "--.*" : String.raw`\/\/.*|\/\*[^]*?(?:\*\/|$)`;
  const pattern = (string) => new RegExp(String.raw`(${comment})|(${string})|\b(\d[\w.]*)\b|([A-Za-z_$][\w$]*)`, "g");
  let tokens = pattern(STRING + TEMPLATE);
  const nodes = [];
  let from = 0;
  for (let found, at = 0; nodes.length < 2 * MOST_SPANS; ) {
    tokens.lastIndex = at;
    found = tokens.exec(source);
    if (!found) break;
    at = tokens.lastIndex;
    const [whole, said, string, number, word] = found;
    if (string && !isClosed(string)) {
      if (string[0] === "`") {
        // No other one ends either: go on behind it, and look for none.
        tokens = pattern(STRING);
        at = found.index + 1;
      }
      continue;
    }
    const kind = said ? "comment" : string ? "string" : number ? "number" : WORDS.has(word) ? "word" : null;
    if (!kind) continue;
    if (found.index > from) nodes.push(source.slice(from, found.index));
    nodes.push(element("span", { class: kind }, whole));
    from = at;
  }
  nodes.push(source.slice(from));
  return nodes.map((each) => (typeof each === "string" ? document.createTextNode(each) : each));
}

/** Whether a string ends with its quote; one behind a backslash belongs to it. */
function isClosed(string) {
  if (string.length < 2 || !string.endsWith(string[0])) return false;
  let slashes = 0;
  while (string[string.length - 2 - slashes] === "\\") slashes += 1;
  return slashes % 2 === 0;
}
