import { element } from "./element.js";

/**
 * Open a menu at a button.
 *
 * @param {HTMLElement} button
 * @param {{label: string, run: () => void, danger?: boolean, reason?: string}[]} entries one with a
 *   reason cannot be chosen, and says why
 * @param {() => ?HTMLElement} again finds the button once more, where it has been made anew meanwhile
 * @param {() => void} refocus gives the focus to something else, where the button is gone for good
 * @returns {{isOpen: boolean, show: (entries: object[]) => void}} to offer something else in it
 */
export function openMenu(button, entries, again = () => null, refocus = () => {}) {
  const menu = element("div", { role: "menu", class: "menu", "aria-label": button.getAttribute("aria-label") });
  const opener = () => (button.isConnected ? button : again());
  const opened = { isOpen: true, show };
  let labels = "";
  function close(isByKey) {
    opened.isOpen = false;
    menu.remove();
    document.removeEventListener("pointerdown", outside, true);
    removeEventListener("resize", gone);
    opener()?.setAttribute("aria-expanded", "false");
    if (isByKey && opener()) opener().focus();
    else if (isByKey) refocus();
  }
  function show(wanted) {
    const now = JSON.stringify(wanted.map(({ label, reason }) => [label, reason]));
    if (now === labels) return;
    labels = now;
    const chosen = document.activeElement;
    const focused = menu.contains(chosen) ? chosen.dataset.label : null;
    menu.replaceChildren(...wanted.map((each) => entry(each, close)));
    const same = [...menu.children].find((each) => each.dataset.label === focused);
    if (menu.isConnected) (same ?? menu.firstElementChild)?.focus();
  }
  const outside = (event) => !menu.contains(event.target) && close(false);
  const gone = () => close(false);
  show(entries);
  menu.addEventListener("keydown", (event) => onKey(event, menu, close));
  document.body.append(menu);
  place(menu, button);
  button.setAttribute("aria-expanded", "true");
  document.addEventListener("pointerdown", outside, true);
  addEventListener("resize", gone);
  menu.firstElementChild.focus();
  return opened;
}

function entry({ label, run, danger, reason }, close) {
  const made = element(
    "button",
    {
      type: "button",
      role: "menuitem",
      tabindex: "-1",
      class: danger ? "danger" : null,
      "aria-disabled": reason ? "true" : null,
      data: { label },
    },
    label,
    reason && element("small", {}, reason),
  );
  made.addEventListener("click", () => {
    if (reason) return;
    close(true);
    run();
  });
  return made;
}

function onKey(event, menu, close) {
  const all = [...menu.children];
  const at = all.indexOf(document.activeElement);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
  if (to !== undefined) all.at(to % all.length).focus();
  else if (event.key === "Escape" || event.key === "Tab") close(true);
  else return;
  event.preventDefault();
  event.stopPropagation();
}

function place(menu, button) {
  const around = button.getBoundingClientRect();
  const { width, height } = menu.getBoundingClientRect();
  const left = Math.max(8, Math.min(around.right - width, innerWidth - width - 8));
  const isLow = around.bottom + height + 8 > innerHeight;
  menu.style.left = `${left}px`;
  menu.style.top = `${Math.max(8, isLow ? around.top - height - 4 : around.bottom + 4)}px`;
}
