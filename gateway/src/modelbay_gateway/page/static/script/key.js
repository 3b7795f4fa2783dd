import { ask } from "./question.js";

// Kept for this tab alone; whoever opens the browser later gives it again.
const NAME = "modelbay-key";

const MAKE = "One that is good for everything is made with: modelbay serve keys add NAME --scope chat --scope manage --scope admin";

/** Event: `change`, when somebody gave another key. */
export const keys = new EventTarget();

let asking = null;

/** Ask for another key, and begin anew with it. */
export async function changeKey() {
  const given = await ask({ title: "Use another key", text: MAKE, label: "Client key", type: "password", yes: "Use this key" });
  if (!given) return;
  sessionStorage.setItem(NAME, given);
  location.reload();
}

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
    text: `${failure.message}. ${MAKE}`,
    label: "Client key",
    type: "password",
    yes: "Use this key",
  }).finally(() => {
    asking = null;
  });
  const given = await asking;
  if (given && given !== key()) {
    sessionStorage.setItem(NAME, given);
    keys.dispatchEvent(new Event("change"));
  }
  return Boolean(given);
}
