"""Mirrors modelbay_embedded/engine_log.py: the cause, out of recorded lines of llama.cpp."""

from __future__ import annotations

import pytest

from modelbay_embedded.engine_log import reason_from

TRUNCATED = """\
0.00.004.353 E llama_model_load: error loading model: tensor 'output.weight' data is not within \
the file bounds, model is corrupted or incomplete
0.00.004.368 E llama_model_load_from_file_impl: failed to load model
0.00.004.400 E common_fit_params: encountered an error while trying to fit params to free device \
memory: failed to load model
0.00.004.536 E llama_model_load: error loading model: tensor 'output.weight' data is not within \
the file bounds, model is corrupted or incomplete
0.00.004.553 E cmn  common_init_: failed to load model 'trunc.gguf'
0.00.004.560 E srv    load_model: failed to load model, 'trunc.gguf'
0.00.005.016 E srv          init: exiting due to model loading error
modelbay engine: Failed to init server, please check the input params.
"""
OTHER_BYTES = """\
0.00.004.218 E gguf_init_from_reader: invalid magic characters: '??u?', expected 'GGUF'
0.00.004.311 E llama_model_load: error loading model: llama_model_loader: failed to load model \
from rand.gguf
"""
TEMPLATE = """\
0.00.009.165 E common_chat_templates_init: error: Unexpected token: %} of type 9
0.00.009.207 E common_chat_templates_init: failed to initialize chat template
0.00.009.214 E common_chat_templates_init: please consider disabling jinja via --no-jinja, or \
using another chat template
0.00.009.235 E srv          init: init: chat template parsing error: std::exception
0.00.009.250 E srv          init: init: for example: --no-jinja --chat-template chatml
"""
PROJECTOR = """\
0.00.019.107 E srv    load_model: mismatch between text model (n_embd = 64) \
and mmproj (n_embd = 128)
"""
ASSERTION = "/project/src/ggml/src/ggml.c:1234: GGML_ASSERT(n > 0) failed\n"
THROWN = """\
terminate called after throwing an instance of 'std::out_of_range'
  what():  unordered_map::at
"""
WARNING = "0.00.002.595 W srv          init: security: no API key is set\n"


@pytest.mark.parametrize(
    ("log", "code", "reason"),
    [
        (
            TRUNCATED,
            1,
            "tensor 'output.weight' data is not within the file bounds, "
            "model is corrupted or incomplete",
        ),
        (OTHER_BYTES, 1, "invalid magic characters: '??u?', expected 'GGUF'"),
        (TEMPLATE, 1, "chat template: Unexpected token: %} of type 9"),
        (PROJECTOR, 1, "mismatch between text model (n_embd = 64) and mmproj (n_embd = 128)"),
        (ASSERTION, -6, "ggml.c:1234: GGML_ASSERT(n > 0) failed"),
        (THROWN, -6, "unordered_map::at"),
        (
            "modelbay engine: xllamacpp is not usable here: no\n",
            3,
            "xllamacpp is not usable here: no",
        ),
        ("0.00.000.001 E f: bad \x1b[31m name\n", 1, "bad \ufffd[31m name"),
        ("", -9, "the engine was ended by SIGKILL (was there enough memory?)"),
        ("", -99, "the engine was ended by signal 99"),
        (WARNING, 1, "the engine ended with code 1 and gave no reason"),
        ("", None, "no reason yet: the engine is running"),
    ],
)
def test_the_cause_is_named_in_one_line(log: str, code: int | None, reason: str) -> None:
    assert reason_from(log, code) == reason


def test_the_reason_stays_short() -> None:
    assert len(reason_from("0.00.000.001 E x: " + "y" * 10_000, 1)) == 500
