"""Mirrors modelbay/wire/openai_misc.py."""

import base64
import struct

import msgspec
import pytest

from modelbay.errors import ProtocolError
from modelbay.models.events import Usage
from modelbay.models.media import (
    CompleteRequest,
    EmbedRequest,
    EmbedResult,
    RankedDocument,
    RerankRequest,
    RerankResult,
)
from modelbay.wire.openai_misc import (
    EmbeddingsBody,
    ListEntry,
    ModelListBody,
    RerankBody,
    decode_embed,
    decode_rerank,
    encode_complete,
    encode_embed,
    encode_rerank,
)


def embeddings(text: bytes, inputs: int) -> EmbedResult:
    return decode_embed(msgspec.json.decode(text, type=EmbeddingsBody), inputs)


def test_a_model_list_keeps_what_all_servers_send() -> None:
    text = b'{"object":"list","data":[{"id":"a/b","object":"model","meta":{"x":1}},{"id":"c",'
    text += b'"owned_by":"me"}]}'

    assert msgspec.json.decode(text, type=ModelListBody) == ModelListBody(
        [ListEntry("a/b"), ListEntry("c", "me")]
    )


def test_embedding_requests_on_the_wire() -> None:
    asked = EmbedRequest(input=["a", "b"], dimensions=256, extra={"truncate": True})

    assert encode_embed(asked, "m") == {
        "model": "m",
        "input": ["a", "b"],
        "dimensions": 256,
        "truncate": True,
    }
    assert encode_embed(EmbedRequest(input=["a"]), "m") == {"model": "m", "input": ["a"]}


def test_vectors_come_in_the_order_of_the_texts() -> None:
    text = b'{"model":"m","data":[{"index":1,"embedding":[2.0]},{"index":0,"embedding":[1,0.5]}],'
    text += b'"usage":{"prompt_tokens":4,"total_tokens":4}}'

    assert embeddings(text, 2) == EmbedResult(
        vectors=[[1.0, 0.5], [2.0]], model="m", usage=Usage(4, 0)
    )


def test_vectors_may_come_as_base64() -> None:
    packed = base64.b64encode(struct.pack("<2f", 1.5, -2.0))

    result = embeddings(b'{"data":[{"index":0,"embedding":"%b"}]}' % packed, 1)

    assert result == EmbedResult(vectors=[[1.5, -2.0]])


@pytest.mark.parametrize("index", [b"", b'"index":null,'])
def test_vectors_without_a_number_are_in_the_order_of_the_texts(index: bytes) -> None:
    text = b'{"data":[{%b"embedding":[1]},{%b"embedding":[2]}]}' % (index, index)

    assert embeddings(text, 2) == EmbedResult(vectors=[[1.0], [2.0]])


@pytest.mark.parametrize(
    ("usage", "told"),
    [
        (b"null", None),
        (b"{}", None),
        (b'{"prompt_tokens":null}', None),
        (b'{"prompt_tokens":4.0}', Usage(4, 0)),
    ],
)
def test_a_count_that_is_odd_loses_no_vectors(usage: bytes, told: Usage | None) -> None:
    text = b'{"data":[{"index":0,"embedding":[1]}],"usage":%b}' % usage

    assert embeddings(text, 1) == EmbedResult(vectors=[[1.0]], usage=told)


@pytest.mark.parametrize(
    ("text", "inputs"),
    [
        (b'{"data":[{"index":0,"embedding":[1]}]}', 2),
        (b'{"data":[{"index":0,"embedding":[1]},{"index":1,"embedding":[1]}]}', 1),
        (b'{"data":[]}', 1),
        (b'{"data":[{"embedding":[1]},{"index":1,"embedding":[1]}]}', 2),
        (b'{"data":[{"embedding":[1]}]}', 2),
        (b'{"data":[{"index":0,"embedding":[1]},{"index":0,"embedding":[2]}]}', 2),
        (b'{"data":[{"index":0,"embedding":[1]},{"index":2,"embedding":[2]}]}', 2),
    ],
)
def test_anything_but_one_vector_for_each_text_is_refused(text: bytes, inputs: int) -> None:
    with pytest.raises(ProtocolError):
        embeddings(text, inputs)


@pytest.mark.parametrize("vector", [b"AAA", b"AAAAAAA=", b"AA==", "é".encode()])
def test_a_vector_that_is_no_base64_of_floats_is_refused(vector: bytes) -> None:
    with pytest.raises(ProtocolError):
        embeddings(b'{"data":[{"index":0,"embedding":"%b"}]}' % vector, 1)


def test_rerank_requests_on_the_wire() -> None:
    asked = RerankRequest(query="q", documents=["a", "b"], top_n=1, extra={"x": 1})

    assert encode_rerank(asked, "m") == {
        "model": "m",
        "query": "q",
        "documents": ["a", "b"],
        "top_n": 1,
        "x": 1,
    }
    assert encode_rerank(RerankRequest(query="q", documents=["a"]), "m") == {
        "model": "m",
        "query": "q",
        "documents": ["a"],
    }


def test_the_best_document_comes_first_and_ties_keep_their_order() -> None:
    text = b'{"model":"m","results":[{"index":0,"relevance_score":-1},{"index":2,'
    text += b'"relevance_score":3.5},{"index":1,"relevance_score":-1}],"usage":{"prompt_tokens":9}}'

    assert decode_rerank(msgspec.json.decode(text, type=RerankBody)) == RerankResult(
        results=[
            RankedDocument(index=2, score=3.5),
            RankedDocument(index=0, score=-1),
            RankedDocument(index=1, score=-1),
        ],
        model="m",
        usage=Usage(9, 0),
    )


def test_completion_requests_on_the_wire() -> None:
    asked = CompleteRequest(
        prompt="def f(",
        suffix="return",
        max_tokens=5,
        temperature=0.0,
        stop=["\n"],
        extra={"n_probs": 1},
    )

    assert encode_complete(asked, "m") == {
        "model": "m",
        "prompt": "def f(",
        "stream": True,
        "stream_options": {"include_usage": True},
        "suffix": "return",
        "max_tokens": 5,
        "temperature": 0.0,
        "stop": ["\n"],
        "n_probs": 1,
    }
    assert encode_complete(CompleteRequest(prompt="a", stream=False), "m") == {
        "model": "m",
        "prompt": "a",
        "stream": False,
    }


def test_a_count_that_cannot_be_true_is_left_out() -> None:
    body = msgspec.json.decode(
        b'{"data":[{"embedding":[1.0]}],"usage":{"prompt_tokens":-1}}', type=EmbeddingsBody
    )

    assert decode_embed(body, 1).usage is None
