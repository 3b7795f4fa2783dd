import { Failure } from "./failure.js";
import { json, request } from "./gateway.js";
import { eventsOf } from "./sse.js";

const BUSY_MS = 16;

let busySince = 0;

/**
 * Ask one model, and give its answer event by event: `began`, `waiting`, `reasoning`, `text`,
 * `call`, `image`, and `end` with counts and times. Aborting the signal ends the provider's work.
 *
 * @param {object} turn `{model, persist, conversationId, messages, settings, signal}`
 * @throws {Failure}
 */
export async function* answer({ model, persist, conversationId, messages, settings, signal }) {
  const body = {
    ...(model ? { model, persist } : {}),
    messages,
    ...sampling(settings),
    stream: true,
    stream_options: { include_usage: true },
  };
  const headers = { accept: "text/event-stream", "x-conversation-id": conversationId };
  const response = await request("/v1/chat/completions", { method: "POST", body, headers, signal });
  yield { type: "began", model: decodeURIComponent(response.headers.get("x-modelbay-model") ?? model ?? "") };
  const end = { type: "end", reason: null, usage: null, timings: null, notices: [] };
  for await (const { data, comment } of eventsOf(response)) {
    if (comment !== undefined) yield* waiting(comment);
    else if (data === "[DONE]") break;
    else yield* chunk(JSON.parse(data), end);
    if (isBusy()) await new Promise((free) => setTimeout(free));
  }
  if (end.reason === null) throw new Failure({ message: "The answer broke off.", hint: "ask again" });
  yield end;
}

/**
 * Whether keys and clicks have waited long for the task that runs now: pieces of a stream that were
 * there already are read without a pause between them. Nobody waits for a page that is hidden.
 */
function isBusy() {
  if (!busySince) {
    busySince = performance.now();
    setTimeout(() => (busySince = 0));
  }
  return !document.hidden && performance.now() - busySince > BUSY_MS;
}

/** Ask a model that paints. */
export async function* painting({ model, prompt, signal }) {
  const body = { model, prompt, response_format: "b64_json" };
  const document = await json("/v1/images/generations", { method: "POST", body, signal });
  yield { type: "began", model };
  for (const { b64_json: data } of document.data) yield { type: "image", data, media_type: mediaType(data) };
  yield { type: "end", reason: "stop", usage: null, timings: null, notices: [] };
}

function* waiting(comment) {
  const found = /^(queued|loading|processing)(?: (\d+)%)?/.exec(comment);
  if (found) yield { type: "waiting", state: found[1], fraction: found[2] ? Number(found[2]) / 100 : null };
}

function* chunk(document, end) {
  if (document.error) throw Failure.of(document.error);
  if (document.usage) end.usage = document.usage;
  if (document.modelbay) {
    end.timings = document.modelbay.timings ?? end.timings;
    end.notices = document.modelbay.notices ?? end.notices;
  }
  const [choice] = document.choices ?? [];
  if (!choice) return;
  const { delta = {} } = choice;
  const thought = delta.reasoning_content ?? delta.reasoning;
  if (thought) yield { type: "reasoning", text: thought };
  if (delta.content) yield { type: "text", text: delta.content };
  for (const { index, id, function: called } of delta.tool_calls ?? []) {
    yield { type: "call", index, id, name: called?.name, arguments: called?.arguments ?? "" };
  }
  if (choice.finish_reason) end.reason = choice.finish_reason;
}

function sampling(settings) {
  const { temperature, top_p, top_k, max_tokens, seed, stop, reasoning_effort, tools } = settings;
  const given = { temperature, top_p, top_k, max_tokens, seed, stop, reasoning_effort, tools };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined && value !== null));
}

/** What base64 text of an image holds, by its first bytes. */
function mediaType(data) {
  if (data.startsWith("/9j/")) return "image/jpeg";
  if (data.startsWith("UklGR")) return "image/webp";
  return "image/png";
}
