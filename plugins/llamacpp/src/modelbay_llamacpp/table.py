"""What is true of llama-server whatever model it runs."""

from modelbay.models.capabilities import CapabilityTable, Facts

TABLE = CapabilityTable(
    every_model=Facts(json_mode=True, json_schema=True),
    every_model_evidence="llama.cpp holds any model to a grammar made from the schema",
    actions=frozenset({"list", "running", "load", "unload", "pull", "delete", "show", "health"}),
    hints={
        "copy": "cp the GGUF file, or add a section to the router's --models-preset file",
        "create": "convert_hf_to_gguf.py, then start llama-server with -m FILE",
        "logs": "llama-server writes its log to its own stderr, or to --log-file FILE",
        "balance": "a llama.cpp server costs nothing per token",
    },
    start_hint="llama-server -m FILE.gguf   # or a router: llama-server --models-dir FOLDER",
    # A single-model server answers any name with its one model (trap 18), so the list decides.
    server_checks_names=False,
)
