import { element } from "./element.js";
import { opened } from "./question.js";

const NUMBERS = [
  ["temperature", "Temperature", { min: "0", max: "2", step: "any" }],
  ["top_p", "Top p", { min: "0", max: "1", step: "any" }],
  ["top_k", "Top k", { min: "0", step: "1" }],
  ["max_tokens", "Most tokens of an answer", { min: "1", step: "1" }],
  ["seed", "Seed", { step: "1" }],
];

/**
 * Ask for a conversation's settings; what is left empty is left to the server.
 *
 * @returns {Promise<?object>} null if nothing is to change
 */
export function askSettings(now) {
  const system = element("textarea", { rows: "4" });
  system.value = now.system ?? "";
  const numbers = NUMBERS.map(([name, label, limits]) => {
    const field = element("input", { type: "number", inputmode: "decimal", placeholder: "server's own", ...limits });
    field.value = now[name] ?? "";
    return { name, label, field };
  });
  const stop = element("input", { type: "text", placeholder: "none", autocomplete: "off" });
  stop.value = (now.stop ?? []).join(", ");
  const effort = element("select", {}, ...["", "none", "low", "medium", "high"].map((each) => element("option", { value: each }, each || "server's own")));
  effort.value = now.reasoning_effort ?? "";
  const tools = element("textarea", { rows: "3", spellcheck: "false", placeholder: '[{"type": "function", "function": {"name": …}}]' });
  tools.value = now.tools ? JSON.stringify(now.tools, null, 2) : "";
  const folded = element("details", {}, element("summary", {}, "Tools"), labelled("Functions the model may call, as JSON", tools));
  // What is wrong in there can only be told where it is seen.
  tools.addEventListener("invalid", () => (folded.open = true));
  tools.addEventListener("input", () => tools.setCustomValidity(readTools(tools.value).problem));
  const no = element("button", { type: "button", class: "quiet" }, "Cancel");
  const form = element(
    "form",
    { method: "dialog" },
    element("h2", { id: "settings-title" }, "Settings of this conversation"),
    labelled("System prompt", system),
    element("div", { class: "numbers" }, ...numbers.map(({ label, field }) => labelled(label, field)), labelled("Thinking", effort)),
    labelled("Stop at (texts, with commas between)", stop),
    folded,
    element("div", { class: "buttons" }, no, element("button", { class: "main" }, "Keep")),
  );
  return opened(form, { "aria-labelledby": "settings-title", class: "settings" }, no, () => {
    const stops = stop.value.split(",").map((each) => each.trim()).filter(Boolean);
    const made = {
      ...now,
      system: system.value.trim() || undefined,
      stop: stops.length ? stops : undefined,
      reasoning_effort: effort.value || undefined,
      tools: readTools(tools.value).tools,
    };
    for (const { name, field } of numbers) made[name] = field.value === "" ? undefined : Number(field.value);
    return JSON.parse(JSON.stringify(made)); // without what is not set
  });
}

function labelled(label, field) {
  return element("label", { class: "field" }, element("span", {}, label), field);
}

function readTools(text) {
  if (!text.trim()) return { tools: undefined, problem: "" };
  try {
    const tools = JSON.parse(text);
    if (!Array.isArray(tools)) return { tools: undefined, problem: "a list of tools: [...]" };
    return { tools: tools.length ? tools : undefined, problem: "" };
  } catch (caught) {
    return { tools: undefined, problem: String(caught.message) };
  }
}
