import { ask } from "./question.js";

// Kept for this tab alone; whoever opens the browser later gives it again.
const NAME = "modelbay-key";

let asking = null;

/** The client key, once somebody gave one. */
export function key() {
  return sessionStorage.getItem(NAME);
}

/**
 * Ask for a key. However many requests were refused, people are asked once.
 *
 * @param {Error} failure why
 * @param {?string} used the key that was refused; another one that came meanwhile is tried first
 * @returns {Promise<boolean>} whether it is worth another try
 */
export async function askForKey(failure, used) {
  if (key() && key() !== used) return true;
  asking ??= ask({
    title: "This gateway asks for a key",
    text: `${failure.message}. Make one with: modelbay serve keys add NAME --scope admin`,
    label: "Client key",
    type: "password",
    yes: "Use this key",
  }).finally(() => {
    asking = null;
  });
  const given = await asking;
  if (given) sessionStorage.setItem(NAME, given);
  return Boolean(given);
}
