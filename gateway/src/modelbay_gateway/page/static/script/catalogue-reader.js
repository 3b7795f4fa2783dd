/**
 * Reads the catalogue beside the page: thousands of models are megabytes of JSON, and parsing them
 * must not hold up a keystroke. Hands over one provider at a time, and of it only what is shown.
 */
const BADGES = {
  tools: "tools",
  vision: "vision",
  audio: "audio",
  reasoning: "thinking",
  json_schema: "JSON",
  embeddings: "embeddings",
  rerank: "rerank",
  image_generation: "images",
};

const LAYERS = {
  user: "you said so",
  measured: "measured",
  live: "the server says so",
  table: "known of this kind of model",
  default: "assumed",
};

self.onmessage = async ({ data: { key } }) => {
  const headers = { accept: "application/json", ...(key ? { authorization: `Bearer ${key}` } : {}) };
  try {
    const [catalogue, listed] = await Promise.all(
      ["/api/models", "/api/providers"].map(async (path) => {
        const response = await fetch(path, { headers, cache: "no-store", credentials: "omit" });
        const document = await response.json().catch(() => ({}));
        if (!response.ok) throw { refused: document.error, status: response.status };
        return document;
      }),
    );
    const about = new Map(listed.providers.map((each) => [each.id, each]));
    const ids = catalogue.providers.map((each) => each.id);
    self.postMessage({ type: "begin", ids });
    for (const provider of catalogue.providers) {
      self.postMessage({ type: "provider", provider: shownProvider(provider, about.get(provider.id)) });
    }
    self.postMessage({ type: "end" });
  } catch (failed) {
    const { refused = null, status = 0 } = failed ?? {};
    self.postMessage({ type: "failed", error: refused, status });
  }
};

function shownProvider(provider, more) {
  return {
    id: provider.id,
    label: provider.label,
    kind: provider.kind,
    status: provider.status,
    problem: provider.problem,
    tookS: provider.took_s,
    actions: more?.actions ?? [],
    hints: more?.hints ?? {},
    isLocal: more?.is_local ?? false,
    address: more?.address ?? null,
    models: provider.models.map((model) => shownModel(model, provider, more?.loading_s[model.id])),
  };
}

function shownModel(model, provider, loadingS = null) {
  const facts = model.capabilities;
  return {
    id: model.id,
    wireId: model.id.slice(provider.id.length + 1),
    providerId: provider.id,
    name: model.name || model.id,
    state: model.state,
    loadingS,
    problem: model.problem,
    origin: model.origin,
    size: model.size_bytes,
    quantization: model.quantization,
    family: model.family,
    context: model.loaded_context ?? facts.context_window ?? facts.trained_context,
    contextFrom: model.loaded_context
      ? "what it is loaded with"
      : source(facts, facts.context_window ? "context_window" : "trained_context"),
    paints: facts.image_generation === true,
    badges: Object.entries(BADGES)
      .filter(([name]) => facts[name] === true)
      .map(([name, label]) => [label, source(facts, name)]),
    searched: `${model.id} ${provider.label}`.toLowerCase(),
  };
}

function source(facts, name) {
  const from = facts.provenance[name];
  if (!from) return "";
  const layer = LAYERS[from.layer] ?? from.layer;
  return from.evidence ? `${layer} (${from.evidence})` : layer;
}
