import { element, icon } from "./element.js";
import { Failure } from "./failure.js";

const SHOWN_MS = 6000;
// Where one goes on once the last notice is closed.
const GOES_ON = ["#question", ".side.shown :is(input, button)", "#current-model"];

/** Say it to those who listen to the page. */
export function say(text) {
  document.getElementById("said").textContent = text;
}

/** A line that goes away by itself; the next one takes its place. */
export function tell(text) {
  say(text);
  document.querySelector("#notices .notice:not(.failure)")?.remove();
  const shown = element("p", { class: "notice" }, text);
  document.getElementById("notices").append(shown);
  setTimeout(() => shown.remove(), SHOWN_MS);
}

/** An error is over: nothing says it any more. */
export function retract(caught) {
  const text = textOf(Failure.from(caught));
  for (const each of document.querySelectorAll("#notices .failure")) if (each.dataset.text === text) takeAway(each);
}

function textOf({ message, hint }) {
  return `${message}\n${hint ?? ""}`;
}

/** An error with its hint; it stays until it is closed. */
export function complain(caught) {
  const failure = Failure.from(caught);
  const text = textOf(failure);
  const notices = document.getElementById("notices");
  if ([...notices.children].some((each) => each.dataset.text === text)) return; // it is said already
  const close = element("button", { class: "icon", type: "button", "aria-label": "Close" }, icon("M6 6l12 12M18 6L6 18"));
  const shown = element("div", { class: "notice failure", role: "alert", data: { text } }, ...described(failure), close);
  close.addEventListener("click", () => takeAway(shown));
  notices.append(shown);
}

/** Whoever was at it goes on at the one beside it, or where one asks. */
function takeAway(shown) {
  const hadFocus = shown.contains(document.activeElement);
  const beside = [shown.nextElementSibling, shown.previousElementSibling].map((each) => each?.querySelector("button"));
  shown.remove();
  if (hadFocus) focusOneOf([...beside, ...GOES_ON.map((each) => document.querySelector(each))]);
}

/** The first that is there and takes it: what is disabled, or behind an open drawer, does not. */
function focusOneOf(candidates) {
  for (const each of candidates) {
    each?.focus();
    if (each && document.activeElement === each) return;
  }
}

/** An error's message and its hint, as elements. */
export function described(failure) {
  return [
    element("p", {}, failure.message),
    failure.hint && element("p", { class: "hint" }, "Try: ", element("code", {}, failure.hint)),
  ].filter(Boolean);
}
