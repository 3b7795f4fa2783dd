import { element } from "./element.js";

const GAP = 5;
const EDGE = 8;

/**
 * Show what `data-tip` says, while a pointer rests on it or it has the focus.
 *
 * There is one tip, in the top layer: no box cuts it off, and it stays inside the window. Readers
 * find the same words in the element itself.
 */
export function startTips() {
  const tip = element("div", { class: "tip-text", popover: "manual", "aria-hidden": "true" });
  let about = null;
  document.body.append(tip);
  const show = (target) => {
    if (target === about) return;
    hide();
    if (!target?.dataset.tip) return;
    about = target;
    tip.textContent = target.dataset.tip;
    tip.showPopover();
    place(tip, target.getBoundingClientRect());
  };
  const hide = () => {
    if (about) tip.hidePopover();
    about = null;
  };
  const of = (event) => event.target.closest?.(".tip") ?? null;
  const resting = () => document.querySelector(".tip:hover") ?? document.activeElement?.closest(".tip:focus-visible");
  document.addEventListener("pointerover", (event) => show(of(event) ?? resting()));
  document.addEventListener("focusin", (event) => show(of(event)));
  document.addEventListener("focusout", () => show(document.querySelector(".tip:hover")));
  document.addEventListener("pointerleave", hide);
  const follow = () => about && (resting() === about ? place(tip, about.getBoundingClientRect()) : hide());
  document.addEventListener("scroll", follow, { capture: true, passive: true });
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide(), true);
  addEventListener("resize", hide);
}

function place(tip, around) {
  const { width, height } = tip.getBoundingClientRect();
  const left = Math.min(around.left, innerWidth - width - EDGE);
  const below = around.bottom + GAP;
  const top = below + height + EDGE > innerHeight ? around.top - height - GAP : below;
  tip.style.left = `${Math.max(EDGE, left)}px`;
  tip.style.top = `${Math.max(EDGE, top)}px`;
}
