import { element, icon } from "./element.js";
import { Failure } from "./failure.js";

const SHOWN_MS = 6000;

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

/** An error with its hint; it stays until it is closed. */
export function complain(caught) {
  const failure = Failure.from(caught);
  const text = `${failure.message}\n${failure.hint ?? ""}`;
  const notices = document.getElementById("notices");
  if ([...notices.children].some((each) => each.dataset.text === text)) return; // it is said already
  const close = element("button", { class: "icon", type: "button", "aria-label": "Close" }, icon("M6 6l12 12M18 6L6 18"));
  const shown = element("div", { class: "notice failure", role: "alert", data: { text } }, ...described(failure), close);
  close.addEventListener("click", () => shown.remove());
  notices.append(shown);
}

/** An error's message and its hint, as elements. */
export function described(failure) {
  return [
    element("p", {}, failure.message),
    failure.hint && element("p", { class: "hint" }, "Try: ", element("code", {}, failure.hint)),
  ].filter(Boolean);
}
