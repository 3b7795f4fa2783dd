"""What is known without starting click: the version and the list of commands. Imports nothing."""

VERSION = "0.1.0"

SUMMARY = "One bay for every model you can run."
MORE = "Plugins may add commands: `modelbay help` lists them too."

# The name is the module under `commands/`; the order is the one people see.
COMMANDS = {
    "models": "List the models of every provider.",
    "fav": "Keep favourites, which are listed first.",
    "chat": "Ask a model, or talk with it.",
    "history": "Read conversations that were kept.",
    "conversations": "Show and set the models of conversations.",
    "ps": "List the models in memory.",
    "load": "Load a model into memory.",
    "unload": "Free a model's memory.",
    "show": "Show all that is known of a model.",
    "explain": "Explain what is known of a model, and who says so.",
    "verify": "Ask a model what it can do, and keep the answers.",
    "pull": "Download a model.",
    "rm": "Delete a model.",
    "cp": "Give a model a second name.",
    "embed": "Turn texts into vectors.",
    "image": "Make an image from a text.",
    "logs": "Print a server's log.",
    "doctor": "Check every provider, plugin and file.",
    "config": "Show the configuration and where it comes from.",
    "providers": "List providers; add, change and remove them.",
    "default": "Show or set the model that answers when none is named.",
    "keys": "Store the keys of hosted providers.",
    "plugin": "List, install and check plugins; write your own.",
    "fake": "Start a pretended server.",
    "record": "Run a program and write down what servers answer.",
    "replay": "Serve what was recorded; make a test of it.",
    "completion": "Print the script for completion in a shell.",
    "help": "Show help, with the commands of plugins.",
}

# What people's fingers know from other programs.
ALIASES = {
    "list": "models",
    "ls": "models",
    "run": "chat",
    "stop": "unload",
    "get": "pull",
    "delete": "rm",
}


def help_text() -> str:
    """The page of ``modelbay --help``; a test holds it equal to what click would print."""
    width = max(map(len, COMMANDS))
    commands = "".join(f"  {name:<{width}}  {text}\n" for name, text in COMMANDS.items())
    return (
        "Usage: modelbay [OPTIONS] COMMAND [ARGS]...\n\n"
        f"  {SUMMARY}\n\n"
        "Options:\n"
        "  -p, --provider DSN  Use KIND://TOKEN@HOST:PORT too.\n"
        "  -V, --version       Show the version and exit.\n"
        "  -h, --help          Show this message and exit.\n\n"
        f"Commands:\n{commands}\n"
        f"  {MORE}\n"
    )
