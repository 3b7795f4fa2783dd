"""Any OpenAI-compatible server behind modelbay, by one entry in ``providers.json``."""
