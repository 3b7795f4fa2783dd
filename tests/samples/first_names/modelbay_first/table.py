"""What is known of First without asking a server. Every fact needs its evidence."""

from modelbay.models.capabilities import CapabilityTable, Facts

ADDRESS = "http://127.0.0.1:7071"
TABLE = CapabilityTable(
    every_model=Facts(tools=False, vision=False, audio=False, json_mode=False, json_schema=False),
    every_model_evidence="First's chat takes nothing but text",
    start_hint="first serve",
    server_checks_names=True,
)
