"""What is known of Quill without asking a server. Every fact needs its evidence."""

from modelbay.models.capabilities import CapabilityTable, Facts, TableRow

ADDRESS = "http://127.0.0.1:7171"
TABLE = CapabilityTable(
    rows=(
        TableRow(
            pattern="raven*",
            facts=Facts(reasoning=True),
            evidence="Quill's README, the wire: frames with the letter M",
        ),
    ),
    every_model=Facts(
        tools=False,
        vision=False,
        audio=False,
        json_mode=False,
        json_schema=False,
        embeddings=False,
        rerank=False,
        image_generation=False,
    ),
    every_model_evidence="Quill's README, the wire: words go in and words come out",
    actions=frozenset({"list", "running", "health", "load", "unload"}),
    hints={
        "pull": "put the pen on the shelf: quill add PEN",
        "delete": "take the pen from the shelf: quill drop PEN",
    },
    start_hint="quill open",
    server_checks_names=True,
)
