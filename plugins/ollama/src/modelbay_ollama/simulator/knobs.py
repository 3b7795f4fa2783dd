"""Everything about a simulated server that a test may turn, before or while it runs."""

from dataclasses import dataclass


@dataclass
class Knobs:
    """Settings of the server as a whole. Delays in seconds; `math.inf` holds until released.

    Attributes:
        load_delay_s: How long a load takes. `math.inf`: until `OllamaSimulator.finish_load`.
        unload_delay_s: How long an idle runner takes to go. `math.inf`: until `finish_unload`.
        token_delay_s: Before each line. `math.inf`: each line waits for `release`.
        pull_tick_s: Between progress lines; 0.06 on a real server. `math.inf`: each tick waits for
            `release_pull`.
        default_ctx: ``OLLAMA_CONTEXT_LENGTH``; None: not set.
        gpu_gib: All GPU memory, in GiB; decides the default window since 0.15.5.
        default_keep_alive_s: ``OLLAMA_KEEP_ALIVE``.
        num_parallel: Requests at once for each runner.
        max_queue: Requests that may wait for a load or for room before others get 503.
        max_loaded: Runners at once.
        cloud_disabled, signed_in: Of the cloud; see also `cloud_refusal`.
        cloud_refusal: Status and text with which the cloud refuses everything; None: it answers.
        remotes: Hosts whose stubs may be run.
        bytes_per_token: One ratio for every conversation; None: each draws its own.
        ratio_low, ratio_high: Between which it is drawn, in UTF-8 bytes per token.
        ratio_spread: By how much messages of one conversation differ in it; 0.1 is ±10 %.
        image_tokens: What one image costs on a model that sees.
        lines_per_write: So many lines go to the socket at once.
        final_newline: Whether the last line of a stream ends with a newline.
    """

    load_delay_s: float = 0.0
    unload_delay_s: float = 0.0
    token_delay_s: float = 0.0
    pull_tick_s: float = 0.0
    default_ctx: int | None = None
    gpu_gib: float = 8.0
    default_keep_alive_s: float = 300.0
    num_parallel: int = 1
    max_queue: int = 512
    max_loaded: int = 3
    cloud_disabled: bool = False
    signed_in: bool = True
    cloud_refusal: tuple[int, str] | None = None
    remotes: tuple[str, ...] = ("ollama.com",)
    bytes_per_token: float | None = None
    ratio_low: float = 1.2
    ratio_high: float = 6.0
    ratio_spread: float = 0.0
    image_tokens: int = 768
    lines_per_write: int = 1
    final_newline: bool = True
