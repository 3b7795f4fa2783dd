"""A frozen sample whose range leaves this core out: to import it is a mistake."""

raise AssertionError("a plugin that is not for this core was imported")
