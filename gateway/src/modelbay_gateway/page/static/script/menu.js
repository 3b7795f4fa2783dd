import { element } from "./element.js";

/**
 * Open a menu at a button.
 *
 * @param {HTMLElement} button
 * @param {{label: string, run: () => void, danger?: boolean, reason?: string}[]} entries one with a
 *   reason cannot be chosen, and says why
 */
export function openMenu(button, entries) {
  const menu = element("div", { role: "menu", class: "menu", "aria-label": button.getAttribute("aria-label") });
  const close = (refocus) => {
    menu.remove();
    document.removeEventListener("pointerdown", outside, true);
    removeEventListener("resize", gone);
    button.setAttribute("aria-expanded", "false");
    if (refocus && button.isConnected) button.focus();
  };
  const outside = (event) => !menu.contains(event.target) && close(false);
  const gone = () => close(false);
  for (const { label, run, danger, reason } of entries) {
    const entry = element(
      "button",
      {
        type: "button",
        role: "menuitem",
        tabindex: "-1",
        class: danger ? "danger" : null,
        "aria-disabled": reason ? "true" : null,
      },
      label,
      reason && element("small", {}, reason),
    );
    entry.addEventListener("click", () => {
      if (reason) return;
      close(true);
      run();
    });
    menu.append(entry);
  }
  menu.addEventListener("keydown", (event) => onKey(event, menu, close));
  document.body.append(menu);
  place(menu, button);
  button.setAttribute("aria-expanded", "true");
  document.addEventListener("pointerdown", outside, true);
  addEventListener("resize", gone);
  menu.firstElementChild.focus();
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
