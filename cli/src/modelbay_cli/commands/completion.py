"""`modelbay completion`: scripts for shells."""

import shlex
import sys

import click

from modelbay_cli.completion import FILES, grammar
from modelbay_cli.options import examples

# The interpreter is named, and not `modelbay`: it is this installation's, and starts at once. -P
# keeps the folder somebody happens to be in out of its path.
_BASH = """\
_modelbay() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        if [[ $line == $'FILES' ]]; then
            compopt -o default 2>/dev/null
        else
            COMPREPLY+=("$line")
        fi
    done < <(PYTHON -P -m modelbay_cli.completion bash "$COMP_WORDBREAKS" \\
        "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
}
complete -o nosort -F _modelbay modelbay 2>/dev/null || complete -F _modelbay modelbay
"""

_ZSH = """\
#compdef modelbay
_modelbay() {
    local word text
    local -a values shown
    while IFS=$'\\t' read -r word text; do
        if [[ $word == $'FILES' ]]; then
            _files
        else
            values+=("$word")
            shown+=("$word${text:+  -- $text}")
        fi
    done < <(PYTHON -P -m modelbay_cli.completion zsh "${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}" \\
        2>/dev/null)
    (( $#values )) && compadd -l -V modelbay -d shown -a values
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _modelbay "$@"
else
    compdef _modelbay modelbay
fi
"""

_FISH = """\
function __modelbay_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    for line in (PYTHON -P -m modelbay_cli.completion fish $words "$current" 2>/dev/null)
        if test "$line" = FILES
            __fish_complete_path "$current"
        else
            printf '%s\\n' $line
        end
    end
end
complete --command modelbay --no-files --keep-order --arguments "(__modelbay_complete)"
"""

_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


@click.command(
    epilog=examples(
        'eval "$(modelbay completion bash)"      # in ~/.bashrc',
        'eval "$(modelbay completion zsh)"       # in ~/.zshrc, after compinit',
        "modelbay completion fish | source       # in ~/.config/fish/config.fish",
    )
)
@click.argument("shell", type=click.Choice(tuple(_SCRIPTS)))
def command(shell: str) -> None:
    """Print the script that completes commands, options and models in a shell.

    Models, providers, favourites and conversations are those that earlier commands have kept; no
    server is asked.
    """
    grammar()  # so that the first Tab need not wait for it
    mark = f"\\{ord(FILES[0]):03o}{FILES[1:]}"
    script = _SCRIPTS[shell]
    marked = script.replace("$'FILES'", f"$'{mark}'").replace("= FILES", f"= {mark}")
    click.echo(marked.replace("PYTHON", shlex.quote(sys.executable)), nl=False)
