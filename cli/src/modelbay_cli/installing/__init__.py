"""Installing plugins the way modelbay itself was installed, so that no upgrade loses them."""
