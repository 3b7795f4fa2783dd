"""A made-up kind of backend, its plugin and its simulator: what the kit is tried on."""
