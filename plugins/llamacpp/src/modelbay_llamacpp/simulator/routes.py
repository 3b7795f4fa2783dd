"""The routes of the process that runs a model: method and path, and who answers."""

from collections.abc import Awaitable, Callable

from modelbay_llamacpp.simulator import dialects, info, native, vectors
from modelbay_llamacpp.simulator.answer import Call
from modelbay_llamacpp.simulator.chat import control
from modelbay_llamacpp.simulator.engine import Engine

ModelRoute = Callable[[Engine, Call], Awaitable[None]]

CHAT = ("/v1/chat/completions", "/chat/completions")  # needs the conversations too

# (methods and paths, route, whether it wakes a sleeping model)
MODEL_ROUTES: dict[tuple[str, str], tuple[ModelRoute, bool]] = {
    ("GET", "/props"): (info.props, False),
    ("POST", "/props"): (info.set_props, False),
    ("GET", "/metrics"): (info.metrics, False),
    ("GET", "/slots"): (info.slots, True),
    ("POST", "/slots/{id}"): (info.slot_action, True),
    ("GET", "/lora-adapters"): (info.lora, True),
    ("POST", "/infill"): (info.infill, True),
    ("POST", "/v1/audio/transcriptions"): (info.transcription, True),
    ("POST", "/audio/transcriptions"): (info.transcription, True),
    ("POST", "/v1/chat/completions/control"): (control, True),
    ("POST", "/v1/chat/completions/input_tokens"): (native.input_tokens, True),
    ("POST", "/chat/completions/input_tokens"): (native.input_tokens, True),
    ("POST", "/v1/completions"): (native.text_completion, True),
    ("POST", "/completion"): (native.completion, True),
    ("POST", "/completions"): (native.completion, True),
    ("POST", "/tokenize"): (native.tokens, True),
    ("POST", "/detokenize"): (native.text, True),
    ("POST", "/apply-template"): (native.template, True),
    ("POST", "/v1/messages"): (dialects.messages, True),
    ("POST", "/v1/messages/count_tokens"): (dialects.count_tokens, True),
    ("POST", "/v1/responses"): (dialects.responses, True),
    ("POST", "/responses"): (dialects.responses, True),
    ("POST", "/v1/responses/input_tokens"): (dialects.responses_input_tokens, True),
    ("POST", "/responses/input_tokens"): (dialects.responses_input_tokens, True),
    ("POST", "/v1/embeddings"): (vectors.openai_embeddings, True),
    ("POST", "/embeddings"): (vectors.native_embeddings, True),
    ("POST", "/embedding"): (vectors.native_embeddings, True),
    ("POST", "/v1/rerank"): (vectors.rerank, True),
    ("POST", "/v1/reranking"): (vectors.rerank, True),
    ("POST", "/rerank"): (vectors.rerank, True),
    ("POST", "/reranking"): (vectors.rerank, True),
}
