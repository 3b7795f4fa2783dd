/** What the store keeps, as the messages of a chat request, and back. */

/**
 * The messages of a request to one model.
 *
 * Where several models answered one question, a model is shown its own answer, else the first one;
 * and of the results of tools, those that this answer had asked for.
 *
 * @param {object[]} kept stored messages, the oldest first
 * @param {?string} model
 */
export function requestMessages(kept, model, { system } = {}) {
  const messages = system ? [{ role: "system", content: system }] : [];
  for (let at = 0; at < kept.length; ) {
    let to = at + 1;
    if (kept[at].message.role === "assistant") while (kept[to]?.message.role === "assistant") to += 1;
    const group = kept.slice(at, to);
    const said = group.find((each) => each.ref === model) ?? group[0];
    messages.push(onWire(said.message));
    at = to;
    const calls = said.message.tool_calls ?? [];
    const ids = new Set(calls.map(({ id }) => id));
    const results = new Set();
    const hadResults = kept[at]?.message.role === "tool";
    for (; kept[at]?.message.role === "tool"; at += 1) {
      const { tool_call_id: id } = kept[at].message;
      if (!ids.has(id) || results.has(id)) continue; // asked for by another model's answer
      results.add(id);
      messages.push(onWire(kept[at].message));
    }
    if (hadResults && !results.size) at = behindAnswers(kept, at, model);
    for (const { id } of calls) {
      // A call without a result is an error at most servers.
      if (!results.has(id)) messages.push({ role: "tool", tool_call_id: id, content: "no result was given" });
    }
  }
  return messages;
}

/** The models that called tools whose results came last, where several had answered; else null. */
export function callersOf(kept) {
  let at = kept.length;
  while (at > 0 && kept[at - 1].message.role === "tool") at -= 1;
  if (at === kept.length) return null;
  const group = [];
  while (at > 0 && kept[at - 1].message.role === "assistant") group.unshift(kept[(at -= 1)]);
  if (group.length < 2) return null;
  return group.filter((each) => each.ref && each.message.tool_calls?.length).map((each) => each.ref);
}

/** Past the answers to results that this model never asked for, unless one of them is its own. */
function behindAnswers(kept, at, model) {
  let to = at;
  while (kept[to]?.message.role === "assistant") to += 1;
  return kept.slice(at, to).some((each) => each.ref === model) ? at : to;
}

function onWire({ role, content, tool_calls: calls = [], tool_call_id: callId }) {
  const message = { role, content: role === "user" ? partsOnWire(content) : textOf(content) };
  if (calls.length) {
    message.tool_calls = calls.map(({ id, name, arguments: text }) => ({
      id,
      type: "function",
      function: { name, arguments: text },
    }));
  }
  if (callId) message.tool_call_id = callId;
  return message;
}

function partsOnWire(content) {
  if (typeof content === "string") return content;
  return content.map((part) =>
    part.type === "image" ? { type: "image_url", image_url: { url: addressOf(part) } } : { type: "text", text: part.text },
  );
}

/** The text of a message's content. */
export function textOf(content) {
  if (typeof content === "string") return content;
  return content.map((part) => (part.type === "text" ? part.text : "")).join("");
}

/** The images of a message's content; those that lie elsewhere are left out, and not fetched. */
export function imagesOf(content) {
  if (typeof content === "string") return [];
  return content.filter((part) => part.type === "image" && part.data);
}

/** An image as an address that holds all of it. */
export function addressOf({ data, media_type: type }) {
  return `data:${/^image\/[a-z0-9.+-]+$/.test(type) ? type : "image/png"};base64,${data}`;
}
