import { element, icon } from "./element.js";
import { HEALTH, healthText } from "./health.js";
import { bytes, percent, seconds, tokens } from "./quantity.js";
import { serverRow } from "./server-row.js";

const STAR = "M12 3.500l2.600 5.400 5.900.8-4.300 4.100 1 5.900-5.200-2.800-5.200 2.800 1-5.900L3.500 9.700l5.900-.8z";
const MORE = "M5 12h.01M12 12h.01M19 12h.01";
const ABOUT = "M12 11v5M12 7.500h.01M21 12a9 9 0 1 1-18 0 9 9 0 0 1 18 0z";
const OF_THE_LIST = ["style", "tabindex", "aria-rowindex"]; // where it stands, and where Tab stops

/**
 * One row of the picker.
 *
 * @param {object} item as `sections` made it
 * @param {object} told `{work, loadingS, isStarred, isCurrent, canStar, canPull, isOpen, hasMenu,
 *   server}` of now; `server` as `serverFacts` made it
 */
export function shownRow(item, told) {
  if (item.type === "section") return sectionRow(item, told);
  if (item.type === "server") return serverRow(item.provider, told.server);
  if (item.type === "hidden") return hiddenRow(item);
  return modelRow(item, told);
}

/**
 * Bring a row, or what stands in one, up to date with a fresh one. What is of the same kind stays the
 * same element: neither a press nor the focus is lost because something else in the row changed.
 */
export function become(old, fresh) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  const names = [...old.getAttributeNames(), ...fresh.getAttributeNames()];
  for (const name of names.filter((each) => !OF_THE_LIST.includes(each))) {
    const value = fresh.getAttribute(name);
    if (value === null) old.removeAttribute(name);
    else if (value !== old.getAttribute(name)) old.setAttribute(name, value);
  }
  let next = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    let same = next;
    while (same && kind(same) !== kind(child)) same = same.nextSibling;
    if (!same) {
      old.insertBefore(child, next);
      continue;
    }
    while (next !== same) next = withoutIt(next);
    become(same, child);
    next = same.nextSibling;
  }
  while (next) next = withoutIt(next);
}

function kind(node) {
  return `${node.nodeName} ${node.dataset?.act ?? ""}`;
}

function withoutIt(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

/** What a row shows, as text: as long as it is the same, the row need not be made anew. */
export function rowMark(item, told) {
  const { provider, model } = item;
  if (item.type === "section") return JSON.stringify([item.label, item.count, provider?.status, provider?.problem, provider?.actions, told.isOpen]);
  if (item.type === "server") return JSON.stringify(told.server);
  if (item.type === "hidden") return `${item.offline} ${item.revealed}`;
  return JSON.stringify([
    item.isOnline, item.at, model.state, model.problem, model.context, model.size, model.quantization, model.family, model.badges,
    told.isStarred, told.isCurrent, stateText(model, told, item.isOnline),
  ]);
}

function sectionRow({ label, provider, count }, { canPull, isOpen }) {
  const health = provider && element(
    "span",
    { class: "health tip", data: { status: provider.status, tip: healthText(provider) }, tabindex: "-1" },
    HEALTH[provider.status],
    element("span", { class: "sr" }, ` ${healthText(provider)}`),
  );
  const pull = canPull && provider?.actions.includes("pull") && element(
    "button", { type: "button", class: "quiet", tabindex: "-1", data: { act: "pull" }, "aria-label": `Pull a model to ${label}` }, "Pull",
  );
  const about = provider && element(
    "button",
    { type: "button", class: "icon", tabindex: "-1", data: { act: "about" }, "aria-expanded": String(isOpen), "aria-label": `About the server of ${label}`, title: "About this server" },
    icon(ABOUT),
  );
  return element(
    "div",
    { role: "row", class: "row section", data: provider ? { provider: provider.id } : { provider: "" } },
    element("div", { role: "rowheader", class: "title", tabindex: "-1" }, element("span", { class: "label", title: label }, label), element("span", { class: "count" }, String(count))),
    element("div", { role: "gridcell", class: "side-of-title" }, health, pull, about),
  );
}

function hiddenRow({ offline, revealed }) {
  const text = revealed ? `${offline} offline` : `${offline} hidden (offline)`;
  return element(
    "div",
    { role: "row", class: "row hidden-note" },
    element(
      "div",
      { role: "gridcell" },
      element("span", {}, text),
      element("button", { type: "button", class: "quiet", tabindex: "-1", data: { act: "reveal" }, "aria-pressed": String(revealed) }, revealed ? "Hide" : "Show"),
    ),
  );
}

function modelRow(item, told) {
  const { model, isOnline } = item;
  const state = isOnline ? model.state : "offline";
  const star = told.canStar && element(
    "button",
    { type: "button", class: "icon star", tabindex: "-1", data: { act: "star" }, "aria-pressed": String(told.isStarred), "aria-label": `Favourite: ${model.id}` },
    icon(STAR),
  );
  const more = element(
    "button",
    { type: "button", class: "icon", tabindex: "-1", data: { act: "more" }, "aria-haspopup": "menu", "aria-expanded": String(told.hasMenu), "aria-label": `More about ${model.id}` },
    icon(MORE),
  );
  const name = element(
    "button",
    { type: "button", class: "name", tabindex: "-1", data: { act: "choose" }, title: model.id },
    ...marked(item.isFavourite ? model.id : model.wireId, item),
  );
  const about = element(
    "div",
    { class: "about" },
    element("span", { class: "state", data: { state } }, stateText(model, told, isOnline)),
    model.context && tip(`${tokens(model.context)}`, `context: ${model.context} tokens, ${model.contextFrom}`, "fact"),
    weights(model),
    ...model.badges.map(([label, source]) => tip(label, `${label}: ${source}`, "badge")),
  );
  const progress = told.work && element("progress", {
    "aria-label": `${told.work.action} ${model.id}`,
    max: "1",
    value: told.work.fraction === null ? null : String(told.work.fraction),
  });
  return element(
    "div",
    {
      role: "row",
      class: `row model${item.isFavourite ? " favourite" : ""}${isOnline ? "" : " offline"}`,
      "aria-selected": String(told.isCurrent),
      draggable: item.isFavourite && told.canStar ? "true" : null,
      data: { id: model.id },
    },
    element("div", { role: "gridcell", class: "main-cell" }, element("span", { class: "dot", data: { state }, "aria-hidden": "true" }), name, about, progress),
    element("div", { role: "gridcell", class: "buttons" }, star, more),
  );
}

function tip(text, source, kind) {
  return element("span", { class: `${kind} tip`, tabindex: "-1", data: { tip: source } }, text, element("span", { class: "sr" }, ` (${source})`));
}

/** How large its files are, and what is in them. */
function weights({ size, family, quantization }) {
  const known = [family && `family: ${family}`, quantization && `quantization: ${quantization}`].filter(Boolean).join(", ");
  const text = size ? bytes(size) : (quantization ?? family);
  if (!text) return null;
  return known ? tip(text, known, "fact") : element("span", { class: "fact" }, text);
}

function stateText(model, { work, loadingS }, isOnline) {
  if (!isOnline) return "offline";
  if (work && work.action !== "load") return work.fraction === null ? work.action : `${work.action} ${percent(work.fraction)}`;
  if (model.state === "loading" || model.state === "downloading" || work) {
    const parts = [model.state === "downloading" ? "downloading" : "loading"];
    if (work && work.fraction !== null) parts.push(percent(work.fraction));
    if (loadingS !== null) parts.push(seconds(Math.max(1, Math.floor(loadingS))).replace(".0", ""));
    return parts.join(" · ");
  }
  if (model.state === "failed") return model.problem ? `failed: ${model.problem}` : "failed";
  return model.state === "unknown" ? "" : model.state;
}

/** The name, its typed letters marked. */
function marked(text, { model, at }) {
  if (!at.length) return [text];
  const shift = model.id.length - text.length;
  const hit = new Set(at.map((n) => n - shift));
  const parts = [];
  let run = "";
  let isHit = false;
  const close = () => run && parts.push(isHit ? element("mark", {}, run) : run);
  for (let n = 0; n < text.length; n += 1) {
    if (hit.has(n) !== isHit) {
      close();
      run = "";
      isHit = hit.has(n);
    }
    run += text[n];
  }
  close();
  return parts;
}
