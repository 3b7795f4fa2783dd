"""What stands around the hooks of every plugin, when the configuration names it."""
