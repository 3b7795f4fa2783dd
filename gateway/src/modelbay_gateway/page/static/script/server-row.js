import { element } from "./element.js";
import { HEALTH, answeredIn } from "./health.js";
import { described } from "./notice.js";
import { bytes, duration, tokens } from "./quantity.js";

/**
 * What there is to say about a provider's server, as texts. Where it says nothing, nothing stands.
 *
 * @param {object} provider of the catalogue
 * @param {object} told as `Servers` has it
 * @param {boolean} canAsk whether this key may ask servers
 * @param {number} now milliseconds, of the same clock as `told.askedAt`
 */
export function serverFacts(provider, told, canAsk, now) {
  const { health, running } = told;
  const agoS = (now - told.askedAt) / 1000;
  return {
    facts: [
      health && serverName(health),
      provider.address && ["Address", provider.address],
      ["Health", `${healthWord(provider, health)}${answeredIn(provider)}`],
      loadedCount(provider, running),
    ].filter(Boolean),
    notes: [
      !told.isAsked && "Asking…",
      !canAsk && "Its version, address and memory are shown to a key that is good for manage.",
      ...["problem", "message", "note"].map((name) => health?.details[name]),
    ].filter((each) => typeof each === "string"),
    problems: problemsOf(provider, told),
    models: (running?.models ?? []).map((model) => ({
      name: model.wire_id,
      build: buildTexts(model, provider).join(" · "),
      text: memoryTexts(model, agoS).join(" · "),
    })),
  };
}

/** Whether what it says changes by itself: a time runs out. */
export function isCounting(told) {
  return Boolean(told?.running?.models.some((model) => model.expires_in_s !== null));
}

/** The same in one sentence, for those who listen. */
export function serverSentence(provider, { facts, notes, problems }) {
  const said = [...facts.map((fact) => fact.join(": ")), ...notes, ...problems.map(({ message }) => message)];
  return `${provider.label}: ${said.join(". ")}`;
}

/** The row below a provider's title. */
export function serverRow(provider, { facts, notes, problems, models }) {
  const pairs = facts.map(([term, text]) => element("div", {}, element("dt", {}, term), element("dd", {}, text)));
  return element(
    "div",
    { role: "row", class: "row server", data: { server: provider.id } },
    element(
      "div",
      { role: "gridcell", class: "stop", tabindex: "-1" },
      element("dl", {}, ...pairs),
      ...notes.map((text) => element("p", { class: "said" }, text)),
      ...problems.map((problem) => element("div", { class: "failure" }, ...described(problem))),
    ),
    ...models.map(({ name, build, text }) =>
      element(
        "div",
        { role: "gridcell", class: "stop in-memory", tabindex: "-1" },
        element("p", {}, element("strong", {}, name), " ", element("small", {}, build)),
        element("p", { class: "said" }, text),
      ),
    ),
  );
}

function serverName({ server, version }) {
  if (!version) return server ? ["Server", server] : null;
  const isSaid = server.includes(version);
  return ["Version", isSaid || !server ? server || version : `${server} (${version})`];
}

function healthWord(provider, health) {
  if (!health) return HEALTH[provider.status];
  return health.healthy ? "healthy" : "not healthy";
}

/** How many are in memory: as the server says, else as its list of models tells. */
function loadedCount({ models }, running) {
  const isTold = running || models.some(({ state }) => state !== "unknown");
  const count = (running?.models ?? models).filter(({ state }) => state === "loaded").length;
  if (!isTold) return null;
  return ["Loaded", count > models.length ? String(count) : `${count} of ${models.length}`]; // some lists leave models out
}

function problemsOf({ problem }, { failures }) {
  const all = failures.length || !problem ? failures : [problem];
  return all
    .filter(({ message }, n) => all.findIndex((each) => each.message === message) === n)
    .map(({ message, hint }) => ({ message, hint }));
}

/** What it is made of, as the server says or else as its list of models tells. */
function buildTexts({ wire_id, details }, { models }) {
  const listed = models.find(({ wireId }) => wireId === wire_id);
  return [details.family ?? listed?.family, details.parameter_size, details.quantization ?? listed?.quantization].filter(Boolean);
}

function memoryTexts(model, agoS) {
  const { details } = model;
  return [
    model.state !== "loaded" && model.state,
    ...memory(model.size_bytes, model.vram_bytes),
    model.context && `${tokens(model.context)} context`,
    model.active_streams && `answering ${model.active_streams}`,
    expiry(model.expires_in_s, agoS),
    details.expires === "never" && "stays loaded",
    details.unloads_after_idle_s && `unloads after ${duration(details.unloads_after_idle_s)} without a request`,
  ].filter(Boolean);
}

/** Where it lies. Of a size alone nobody says where. */
function memory(size, vram) {
  if (vram === null) return size ? [bytes(size)] : [];
  const ram = Math.max(0, (size ?? 0) - vram);
  return [vram && `${bytes(vram)} VRAM`, ram && `${bytes(ram)} RAM`];
}

/** What is left; once that is over, only the server knows whether it was asked again. */
function expiry(leftS, agoS) {
  if (leftS === null || leftS <= agoS) return null;
  return `unloads in ${duration(leftS - agoS)}`;
}
