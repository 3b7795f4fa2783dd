/** What a line of Markdown begins. Every question costs time in proportion to the line. */

const FENCE = /^ {0,3}(`{3,}|~{3,})/;
const HEADING = /^ {0,3}(#{1,6})\s/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])(?=\s|$)/;
const COLUMNS = 50;

/** `{mark, language}` if the line opens a fence of code. */
export function fenceOf(line) {
  const found = FENCE.exec(line);
  if (!found) return null;
  const about = line.slice(found[0].length).trim();
  if (found[1][0] === "`" && about.includes("`")) return null;
  return { mark: found[1], language: about.split(/\s/, 1)[0] };
}

/** Whether the line closes a fence that this mark opened. */
export function closes(line, mark) {
  const found = FENCE.exec(line);
  return Boolean(found) && found[1][0] === mark[0] && found[1].length >= mark.length && !line.slice(found[0].length).trim();
}

/** `{level, text}` of a heading. */
export function headingOf(line) {
  const found = HEADING.exec(line);
  if (!found) return null;
  const text = line.slice(found[0].length).trim();
  let to = text.length;
  while (to > 0 && text[to - 1] === "#") to -= 1;
  const isClosed = to === 0 || /\s/.test(text[to - 1]);
  return { level: found[1].length, text: isClosed ? text.slice(0, to).trimEnd() : text };
}

/** Whether the line is a rule across the page. */
export function isRule(line) {
  const text = line.trimStart();
  const [mark] = text;
  if (line.length - text.length > 3 || !mark || !"-*_".includes(mark)) return false;
  let count = 0;
  for (const letter of text) {
    if (letter === mark) count += 1;
    else if (/\S/.test(letter)) return false;
  }
  return count >= 3;
}

/** What stands behind the mark of a quote; null without one. */
export function quoted(line) {
  const found = QUOTE.exec(line);
  return found && line.slice(found[0].length);
}

/** `{indent, width, number, isTask, isDone, text}` of a list's item; `number` is null for a bullet. */
export function itemOf(line) {
  const found = ITEM.exec(line);
  if (!found) return null;
  const [whole, { length: indent }, mark] = found;
  const said = line.slice(whole.length).trimStart();
  const task = /^\[([ xX])\]\s/.exec(said);
  return {
    indent,
    width: whole.length + 1,
    number: /\d/.test(mark) ? parseInt(mark, 10) : null,
    isTask: Boolean(task),
    isDone: Boolean(task) && task[1] !== " ",
    text: task ? said.slice(task[0].length).trimStart() : said,
  };
}

/** Whether the line begins a block of its own, and so ends a paragraph. */
export function starts(line) {
  return Boolean(fenceOf(line) || headingOf(line) || isRule(line) || QUOTE.test(line) || interrupts(itemOf(line)));
}

/** Whether an item may stand right behind a paragraph: many a sentence begins with a year. */
export function interrupts(item) {
  return Boolean(item) && (item.number === null || item.number === 1) && Boolean(item.text || item.isTask);
}

/** The sides of a table's columns, if the line divides a head of so many cells from the rows. */
export function sidesOf(line, head) {
  if (!line.includes("-") || !head.includes("|")) return null;
  const found = cellsOf(line);
  if (found.length !== cellsOf(head).length || !found.every((each) => /^:?-+:?$/.test(each))) return null;
  return found.slice(0, COLUMNS).map((each) => (each.endsWith(":") ? (each.startsWith(":") ? "center" : "right") : null));
}

/** The cells of a table's row. */
export function cellsOf(line) {
  return line
    .trim()
    .replace(/^\||(?<!\\)\|$/g, "")
    .split(/(?<!\\)\|/, 10 * COLUMNS)
    .map((each) => each.trim().replaceAll("\\|", "|"));
}
