"""What a model is known not to do is refused before anything is sent."""

from modelbay.errors import UnsupportedFeatureError
from modelbay.models.catalog import ModelInfo
from modelbay.models.chat import AudioPart, ChatRequest, ImagePart


def check_features(request: ChatRequest, model: ModelInfo) -> None:
    """Refuse before the wire what the model is known not to do."""
    facts = model.capabilities
    if request.tools:
        refuse(model, facts.tools, "tools")
    if request.response_format is not None:
        wanted = request.response_format.type
        known = facts.json_schema if wanted == "json_schema" else facts.json_mode
        refuse(model, known, "JSON schemas" if wanted == "json_schema" else "JSON mode")
    if facts.vision is False or facts.audio is False:
        for message in request.messages:
            if isinstance(message.content, str):
                continue
            for part in message.content:
                if isinstance(part, ImagePart):
                    refuse(model, facts.vision, "images")
                elif isinstance(part, AudioPart):
                    refuse(model, facts.audio, "audio")


def refuse(model: ModelInfo, known: bool | None, what: str) -> None:
    if known is False:
        raise UnsupportedFeatureError(
            f"{model.ref} does not do {what}",
            provider_id=model.ref.provider_id,
            model=str(model.ref),
            hint=f"modelbay explain {model.ref}   # shows why we think so",
        )
