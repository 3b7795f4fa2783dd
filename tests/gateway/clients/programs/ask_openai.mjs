// The OpenAI client for Node, asked everything once.

import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

import { HI, all, base, tell } from "./asking.mjs";

const ai = new OpenAI({ baseURL: `${base}/v1`, apiKey: "sk-no-key", maxRetries: 0 });
const patient = new OpenAI({ baseURL: `${base}/v1`, apiKey: "sk-no-key", maxRetries: 1 });
const chats = ai.chat.completions;
const tiny = { model: "lab/org/tiny:q4", messages: HI };
const parameters = { type: "object", properties: { city: { type: "string" } } };
const weather = {
  type: "function",
  function: { name: "weather", description: "The weather in a city.", parameters },
};

// A tool that is run by the client, and notes for which city.
function runnable(asked) {
  const run = ({ city }) => {
    asked.push(city);
    return "sunny";
  };
  return { type: "function", function: { ...weather.function, function: run, parse: JSON.parse } };
}

async function loop(stream) {
  const asked = [];
  const runner = chats.runTools({
    model: "lab/caller",
    messages: HI,
    tools: [runnable(asked)],
    stream,
  });
  return [await runner.finalContent(), asked, runner.messages.map((message) => message.role)];
}

await tell(
  {
    list: async () => all(ai.models.list(), (model) => model.id),
    retrieve: async () => (await ai.models.retrieve("lab/org/tiny:q4")).id,
    chat: async () => {
      const { model, choices, usage, _request_id } = await chats.create(tiny);
      const [{ message, finish_reason }] = choices;
      return { model, message, finish_reason, total: usage.total_tokens, id: typeof _request_id };
    },
    stream: async () => {
      const options = { stream: true, stream_options: { include_usage: true } };
      const chunks = await all(await chats.create({ ...tiny, ...options }));
      return {
        deltas: chunks.flatMap(({ choices }) => choices.map(({ delta }) => delta)),
        ends: chunks.flatMap(({ choices }) => choices.map((choice) => choice.finish_reason)),
        total: chunks.at(-1).usage.total_tokens,
        heads: [...new Set(chunks.map(({ model, object }) => `${model} ${object}`))],
        ids: new Set(chunks.map(({ id }) => id)).size,
      };
    },
    helper: async () => chats.stream(tiny).finalContent(),
    call: async () => {
      const { choices } = await chats.create({ ...tiny, model: "lab/caller", tools: [weather] });
      const [{ message, finish_reason }] = choices;
      return [finish_reason, message.content, message.tool_calls.map((call) => call.function)];
    },
    loop: async () => loop(false),
    streamed_loop: async () => loop(true),
    parsed: async () => {
      const shape = z.object({ city: z.string(), degrees: z.number() });
      const response_format = zodResponseFormat(shape, "forecast");
      const answer = await chats.parse({ model: "lab/forecaster", messages: HI, response_format });
      return answer.choices[0].message.parsed;
    },
    completion: async () => {
      const asked = { model: "lab/org/tiny:q4", prompt: "once", max_tokens: 4 };
      const { object, choices } = await ai.completions.create(asked);
      return [object, choices[0].finish_reason, choices[0].text.length > 0];
    },
    embeddings: async () => {
      const asked = { model: "text-embedding-3-small", input: ["a", "b"] };
      const packed = await ai.embeddings.create(asked);
      const plain = await ai.embeddings.create({ ...asked, encoding_format: "float" });
      return [packed, plain].map(({ data }) => data.map(({ embedding }) => embedding));
    },
    image: async () => {
      const { data } = await ai.images.generate({ model: "busy/paint", prompt: "a cat" });
      return data.map(({ b64_json }) => b64_json.slice(0, 11));
    },
    left: async () => {
      const stream = await chats.create({ model: "lab/endless", messages: HI, stream: true });
      for await (const _ of stream) break; // which aborts the request
      return stream.controller.signal.aborted;
    },
    unknown: async () => chats.create({ ...tiny, model: "lab/nobody" }),
    too_long: async () =>
      chats.create({ ...tiny, messages: [{ role: "user", content: "hi".repeat(500) }] }),
    broken: async () => chats.create({ ...tiny, model: "lab/breaks" }),
    broken_stream: async () => {
      const said = [];
      const stream = await chats.create({ ...tiny, model: "lab/breaks", stream: true });
      try {
        for await (const { choices } of stream) said.push(choices[0].delta.content);
      } catch (error) {
        error.said = said;
        throw error;
      }
    },
    limited: async () => patient.chat.completions.create({ ...tiny, model: "busy/limited" }),
  },
  ({ status, code, type, message, headers, said, stack }) => ({
    status,
    code,
    type,
    message,
    retry_after: headers?.get("retry-after"),
    said,
    ...(code === undefined && { stack }),
  }),
);
