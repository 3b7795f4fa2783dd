"""What is true of every model that llama.cpp's own engine runs here."""

from modelbay.models.capabilities import CapabilityTable, Facts

TABLE = CapabilityTable(
    every_model=Facts(json_mode=True, json_schema=True),
    every_model_evidence="the engine holds an answer to a grammar, whatever the model",
    actions=frozenset({"list", "running", "load", "unload", "show", "health"}),
    hints={
        "pull": "put a .gguf file into a folder named by MODELBAY_MODELS; it is then listed",
        "delete": "delete the file; `modelbay show REF` says where it lies",
        "copy": "copy the file; every .gguf file in the folder is a model",
        "create": "put a .gguf file into a folder named by MODELBAY_MODELS",
    },
    lives_with_host=True,
)
