const BREAK = /[\s/:._-]/;

/**
 * How well a text fits what was typed: its letters must all be there, in their order.
 *
 * @param {string} typed in small letters, without spaces
 * @param {string} text in small letters
 * @returns {?{score: number, at: number[]}} the higher the better, and where the letters stand
 */
export function fits(typed, text) {
  if (!typed) return { score: 0, at: [] };
  const whole = text.indexOf(typed);
  if (whole >= 0) {
    const at = Array.from(typed, (_, n) => whole + n);
    return { score: 1000 + (startsWord(text, whole) ? 100 : 0) - whole - text.length / 10, at };
  }
  const at = [];
  let score = 0;
  let from = 0;
  for (const letter of typed) {
    const found = text.indexOf(letter, from);
    if (found < 0) return null;
    if (found === from && at.length) score += 8;
    else if (startsWord(text, found)) score += 5;
    else score -= Math.min(found - from, 10);
    at.push(found);
    from = found + 1;
  }
  return { score: score - text.length / 10, at };
}

/**
 * How well a text fits several words, in whatever order they were typed.
 *
 * @param {string[]} words in small letters
 * @param {string} text in small letters
 * @returns {?{score: number, at: number[]}}
 */
export function fitsAll(words, text) {
  const at = new Set();
  let score = 0;
  for (const word of words) {
    const fit = fits(word, text);
    if (!fit) return null;
    score += fit.score;
    for (const each of fit.at) at.add(each);
  }
  return { score, at: [...at].sort((a, b) => a - b) };
}

function startsWord(text, at) {
  return at === 0 || BREAK.test(text[at - 1]);
}
