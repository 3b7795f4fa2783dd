import { element, icon } from "./element.js";
import { described } from "./notice.js";
import { bytes, percent } from "./quantity.js";

/**
 * Downloads, each with a bar, its bytes, and a way to end it.
 *
 * @param {Work} work
 * @param {() => void} refocus gives the focus to something else, once the last note is closed with it
 */
export function workList(work, refocus) {
  const list = element("ul", { class: "work", "aria-label": "Downloads", hidden: true });
  const shown = new Map();
  work.addEventListener("change", () => {
    const pulls = work.pieces.filter((each) => each.action === "pull");
    for (const piece of pulls) {
      if (!shown.has(piece)) shown.set(piece, entry(piece, () => work.forget(piece)));
      const { row, renew } = shown.get(piece);
      if (!row.isConnected) list.append(row);
      renew();
    }
    for (const [piece, { row }] of shown) {
      if (pulls.includes(piece)) continue;
      const hadFocus = row.contains(document.activeElement);
      const beside = row.nextElementSibling ?? row.previousElementSibling;
      row.remove();
      shown.delete(piece);
      if (hadFocus && beside) beside.querySelector("button").focus();
      else if (hadFocus) refocus();
    }
    list.hidden = !pulls.length;
  });
  return list;
}

function entry(piece, forget) {
  const bar = element("progress", { max: "1", "aria-label": `Pull of ${piece.model}` });
  const text = element("span", { class: "work-text" });
  const close = element("button", { type: "button", class: "icon", "aria-label": `Stop pulling ${piece.model}` }, icon("M6 6l12 12M18 6L6 18"));
  const row = element("li", {}, element("strong", {}, piece.model), text, close, bar);
  close.addEventListener("click", () => (piece.outcome === "running" ? piece.stop() : forget()));
  const renew = () => {
    if (piece.fraction !== null) bar.value = piece.fraction;
    if (piece.outcome === "running") {
      text.textContent = progressText(piece);
      return;
    }
    bar.remove();
    close.setAttribute("aria-label", `Close the note about ${piece.model}`);
    row.dataset.outcome = piece.outcome;
    if (piece.outcome === "failed") text.replaceChildren(...described(piece.failure));
    else text.textContent = piece.outcome === "done" ? `✓ ${piece.model} ready` : "stopped";
  };
  return { row, renew };
}

function progressText({ status, fraction, doneBytes, totalBytes }) {
  const parts = [];
  if (fraction !== null) parts.push(percent(fraction));
  if (totalBytes) parts.push(`${bytes(doneBytes ?? 0)} of ${bytes(totalBytes)}`);
  return parts.join(" · ") || status || "starting";
}
