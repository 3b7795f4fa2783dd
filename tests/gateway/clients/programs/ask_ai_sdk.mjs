// The AI SDK with its provider for OpenAI-compatible servers, asked everything once.

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import {
  Output,
  embed,
  embedMany,
  generateImage,
  generateText,
  jsonSchema,
  stepCountIs,
  streamText,
  tool,
} from "ai";

import { all, base, tell } from "./asking.mjs";

const bay = createOpenAICompatible({
  name: "modelbay",
  baseURL: `${base}/v1`,
  apiKey: "sk-no-key",
  includeUsage: true,
  supportsStructuredOutputs: true,
});
const tiny = { model: bay("lab/org/tiny:q4"), prompt: "hi", maxRetries: 0 };
const silent = { onError: () => {} }; // or it would print what it also hands over
const object = (properties) =>
  jsonSchema({ type: "object", properties, required: Object.keys(properties) });
const shape = object({ city: { type: "string" }, degrees: { type: "number" } });
const forecast = {
  ...tiny,
  model: bay("lab/forecaster"),
  output: Output.object({ schema: shape }),
};

// A round of tools: the SDK runs the tool and asks again.
function round(asked) {
  const weather = tool({
    description: "The weather in a city.",
    inputSchema: object({ city: { type: "string" } }),
    execute: async ({ city }) => {
      asked.push(city);
      return "sunny";
    },
  });
  const model = bay("lab/caller");
  return { ...tiny, model, tools: { weather }, stopWhen: stepCountIs(3) };
}

async function told(answer, asked) {
  const steps = (await answer.steps).map(({ finishReason, toolCalls, text }) => ({
    finishReason,
    calls: toolCalls.map(({ toolName, input }) => ({ toolName, input })),
    text,
  }));
  return { asked, steps };
}

await tell(
  {
    chat: async () => {
      const { text, reasoningText, finishReason, usage, response } = await generateText(tiny);
      const { totalTokens } = usage;
      return { text, reasoningText, finishReason, totalTokens, modelId: response.modelId };
    },
    stream: async () => {
      const answer = streamText(tiny);
      const parts = await all(answer.fullStream);
      const piece = (type) => parts.filter((part) => part.type === type).map(({ text }) => text);
      return {
        order: parts.map(({ type }) => type).filter((type, at, types) => type !== types[at - 1]),
        text: piece("text-delta"),
        thought: piece("reasoning-delta"),
        finishReason: await answer.finishReason,
        totalTokens: (await answer.usage).totalTokens,
      };
    },
    loop: async () => {
      const asked = [];
      return told(await generateText(round(asked)), asked);
    },
    streamed_loop: async () => {
      const asked = [];
      const answer = streamText(round(asked));
      await answer.consumeStream();
      return told(answer, asked);
    },
    rounds: async () => {
      const asked = [];
      const model = bay("deepseek/deepseek-flash");
      const answer = await generateText({ ...round(asked), model, stopWhen: stepCountIs(9) });
      return [asked.length, answer.text];
    },
    object: async () => {
      return (await generateText(forecast)).output;
    },
    streamed_object: async () => {
      return (await all(streamText(forecast).partialOutputStream)).at(-1);
    },
    embed: async () => {
      const model = bay.embeddingModel("text-embedding-3-small");
      const one = await embed({ model, value: "a", maxRetries: 0 });
      const two = await embedMany({ model, values: ["a", "b"], maxRetries: 0 });
      return [one.embedding, two.embeddings];
    },
    image: async () => {
      const model = bay.imageModel("busy/paint");
      const { images } = await generateImage({ model, prompt: "a cat", maxRetries: 0 });
      return images.map(({ base64, mediaType }) => [base64.slice(0, 11), mediaType]);
    },
    left: async () => {
      const abort = new AbortController();
      const asked = { ...tiny, ...silent, model: bay("lab/endless"), abortSignal: abort.signal };
      for await (const { type } of streamText(asked).fullStream) {
        if (type === "text-delta") abort.abort();
        if (type === "abort") return "abort";
      }
      return "no end";
    },
    unknown: async () => generateText({ ...tiny, model: bay("lab/nobody") }),
    too_long: async () => generateText({ ...tiny, prompt: "hi".repeat(500) }),
    broken: async () => generateText({ ...tiny, model: bay("lab/breaks") }),
    broken_stream: async () => {
      const answer = streamText({ ...tiny, ...silent, model: bay("lab/breaks") });
      const parts = await all(answer.fullStream);
      const said = parts.filter(({ type }) => type === "text-delta").map(({ text }) => text);
      const { error } = parts.find(({ type }) => type === "error");
      return { said, error: error.message ?? error, end: parts.at(-1).finishReason };
    },
    limited: async () => generateText({ ...tiny, model: bay("busy/limited"), maxRetries: 1 }),
  },
  (error) => {
    const { statusCode, isRetryable, message, data, responseHeaders, stack } =
      error.lastError ?? error;
    return {
      statusCode,
      isRetryable,
      message,
      code: data?.error?.code,
      reason: error.reason,
      retry_after: responseHeaders?.["retry-after"],
      ...(statusCode === undefined && { stack }),
    };
  },
);
