"""Checks of vectors, rankings, images and raw prompts: done right, or refused by type."""

import math
from collections.abc import Awaitable, Callable

import pytest

from modelbay.errors import BackendError, ModelbayError, PluginError, UnsupportedError
from modelbay.models.media import CompleteRequest, EmbedRequest, ImageRequest, RerankRequest
from modelbay.refs import ModelRef
from modelbay.testing.conformance.bay import Bay, Rule, shown, values
from modelbay.testing.conformance.kit import Kit
from modelbay.testing.conformance.ruling import rule_out
from modelbay.testing.conformance.target import Ability
from modelbay.testing.fault import Fault
from modelbay.testing.streams import check_events

TEXTS = ["the first text", "another one", "zw\u00f6lf \U0001f98a"]


class MediaChecks(Kit):
    read = "modelbay/hookspecs.py: embed, rerank, generate_image, complete"

    async def test_embeddings_keep_their_order(self, bay: Bay, rule: Rule) -> None:
        """n texts give n vectors of one length, each at its text's place."""
        wire_id = await _or_refused(bay, rule, "embeddings", bay.target.embedder)
        ref = ModelRef(bay.provider_id, wire_id)
        texts = ["the first text", "another one", "zwölf \U0001f98a"]
        there = await bay.host.embed(EmbedRequest(model=ref, input=texts))
        back = await bay.host.embed(EmbedRequest(model=ref, input=texts[::-1]))
        rule.holds(len(there.vectors) == len(texts), f"{len(there.vectors)} vectors for 3 texts")
        rule.holds(len({len(v) for v in there.vectors}) == 1, "vectors of different lengths")
        rule.holds(there.vectors[0] != there.vectors[1], "two texts with one and the same vector")
        near = all(
            max(range(len(texts)), key=lambda other: _alike(vector, back.vectors[other])) == place
            for vector, place in zip(there.vectors, reversed(range(len(texts))), strict=True)
        )
        rule.holds(near, "in the opposite order the texts have other vectors")

    async def test_vectors_are_numbers_of_one_length(self, bay: Bay, rule: Rule) -> None:
        """One text or several: as many vectors, all finite numbers, all of one length."""
        wire_id = await _or_refused(bay, rule, "embeddings", bay.target.embedder)
        ref = ModelRef(bay.provider_id, wire_id)
        lengths = set[int]()
        for texts in (TEXTS[:1], TEXTS):
            vectors = (await bay.host.embed(EmbedRequest(model=ref, input=texts))).vectors
            rule.holds(len(vectors) == len(texts), f"{len(vectors)} vectors for {len(texts)} texts")
            odd = [x for vector in vectors for x in vector if not math.isfinite(x)]
            rule.holds(not odd, f"no numbers: {odd[:3]}")
            lengths |= {len(vector) for vector in vectors}
        rule.holds(len(lengths) == 1 and min(lengths) > 0, f"lengths {sorted(lengths)}")

    async def test_vectors_are_asked_by_wire_id(self, bay: Bay, rule: Rule) -> None:
        """The server gets the embedding model's own name and the texts, word for word."""
        wire_id = await _or_refused(bay, rule, "embeddings", bay.target.embedder)
        bay.target.require("requests")
        bay.mark()
        await bay.host.embed(EmbedRequest(model=ModelRef(bay.provider_id, wire_id), input=TEXTS))
        sent = [value for request in bay.seen() for value in values(request)]
        missing = [text for text in TEXTS if text not in sent]
        rule.holds(not missing, f"{missing} was not sent: {shown(bay.seen())}")
        prefix = f"{bay.provider_id}/"
        wrong = [v for v in sent if isinstance(v, str) and v.startswith(prefix)]
        rule.holds(not wrong, f"the server got {wrong}")

    @pytest.mark.parametrize(
        "fault",
        [Fault(status=500), Fault.html(200), Fault(status=200, body=b'{"data": 7}')],
        ids=("500", "html", "misshapen"),
    )
    async def test_a_failed_embedding_is_a_typed_error(
        self, bay: Bay, rule: Rule, fault: Fault
    ) -> None:
        """A server that fails gives an error, never a list without vectors."""
        wire_id = await _or_refused(bay, rule, "embeddings", bay.target.embedder)
        bay.target.require("faults", "requests")
        request = EmbedRequest(model=ModelRef(bay.provider_id, wire_id), input=TEXTS)
        info = await bay.model(wire_id)
        bay.mark()
        await bay.backend().embed(request, info)
        prefix = bay.context().http.base_url.path.rstrip("/")
        for path in {sent.path.removeprefix(prefix) for sent in bay.seen()}:
            bay.target.arm(fault, path)
        try:
            result = await bay.backend().embed(request, info)
        except PluginError as exc:
            rule.broken(f"{exc!r}, caused by {exc.__cause__!r}")
        except BackendError:
            return
        rule.broken(f"a quiet success: {result}")

    async def test_ranking_names_documents_by_their_place(self, bay: Bay, rule: Rule) -> None:
        """Each document is ranked once, by its place in the request, the best first."""
        wire_id = await _or_refused(bay, rule, "rerank", bay.target.reranker)
        request = RerankRequest(
            model=ModelRef(bay.provider_id, wire_id),
            query="a cat",
            documents=["a dog", "a cat", "x"],
        )
        results = (await bay.host.rerank(request)).results
        rule.holds(sorted(r.index for r in results) == [0, 1, 2], results)
        scores = [r.score for r in results]
        rule.holds(scores == sorted(scores, reverse=True), f"not the best first: {results}")

    async def test_images_are_made_or_refused(self, bay: Bay, rule: Rule) -> None:
        """n images come for n, as image parts; without the hook there is a typed refusal."""
        wire_id = await _or_refused(bay, rule, "images", bay.target.painter)
        request = ImageRequest(model=ModelRef(bay.provider_id, wire_id), prompt="a cat", n=1)
        result = await bay.host.generate_image(request)
        rule.holds(len(result.images) == 1 and result.images[0].data, result)

    async def test_a_raw_prompt_is_continued_or_refused(self, bay: Bay, rule: Rule) -> None:
        """A raw prompt gives a stream like a chat's; without the hook there is a typed refusal."""
        wire_id = await _or_refused(bay, rule, "complete", bay.target.model)
        request = CompleteRequest(
            model=ModelRef(bay.provider_id, wire_id), prompt="Once", max_tokens=8
        )
        async with bay.host.complete(request, deadline_s=20) as stream:
            events = [event async for event in stream]
        rule.holds(not check_events(events), check_events(events))


def _alike(one: list[float], other: list[float]) -> float:
    """A server may compute a text's vector a little differently from one batch to the next."""
    return -sum((a - b) ** 2 for a, b in zip(one, other, strict=True))


_HOOKS: dict[Ability, str] = {
    "embeddings": "embed",
    "rerank": "rerank",
    "images": "generate_image",
    "complete": "complete",
}


async def _or_refused(bay: Bay, rule: Rule, ability: Ability, wire_id: str | None) -> str:
    """The model to ask; where the plugin has no such hook, only the refusal is checked."""
    if not bay.backend().offers(_HOOKS[ability]):
        await _refusal(bay, rule, ability)
        rule_out(f"declared by the plugin: no hook {_HOOKS[ability]}; the refusal is typed")
    if not bay.target.has(ability):
        await _refusal(bay, rule, ability)  # the declaration has to be true
    bay.target.require(ability)
    if wire_id is None:
        rule.broken(f"there is a hook {_HOOKS[ability]}, no model for it, and no declaration")
    return wire_id


async def _refusal(bay: Bay, rule: Rule, ability: Ability) -> None:
    ref = ModelRef(bay.provider_id, bay.target.model)
    why = "without a hook" if bay.target.has(ability) else "although the target declares a lack"

    async def complete() -> None:
        async with bay.host.complete(CompleteRequest(model=ref, prompt="x")) as events:
            async for _ in events:
                pass

    asked: dict[Ability, Callable[[], Awaitable[object]]] = {
        "embeddings": lambda: bay.host.embed(EmbedRequest(model=ref, input=["x"])),
        "rerank": lambda: bay.host.rerank(RerankRequest(model=ref, query="x", documents=["y"])),
        "images": lambda: bay.host.generate_image(ImageRequest(model=ref, prompt="x")),
        "complete": complete,
    }
    try:
        await asked[ability]()
    except UnsupportedError as exc:
        rule.holds(exc.hint, "no hint says what to do instead")
        return
    except ModelbayError as exc:
        rule.broken(repr(exc))
    rule.broken(f"it was done {why}")
