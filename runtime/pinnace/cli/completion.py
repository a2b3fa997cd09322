"""Completion in bash, zsh and fish: one small script per program and shell, which asks the program itself.

``PROGRAM WORDS... --generate-bash-completion`` prints what may come next (urfave/cli's convention), one word a
line; :func:`pinnace.cli.options.complete` makes it from the declared commands and flags, so that nothing is said
twice. The files in ``share/`` are :func:`script`'s, held by a test.
"""

from __future__ import annotations

from pinnace.cli.options import COMPLETE

PROGRAMS = ("ctr", "pinnaced", "runc", "skopeo")
PLACES = {
    "bash": "bash-completion/completions/{}",
    "zsh": "zsh/site-functions/_{}",
    "fish": "fish/vendor_completions.d/{}.fish",
}
"""Where each shell looks below ``share``."""

_BASH = """\
# bash completion for {program}: the command itself says what may come next.
_pinnace_{program}() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} words=("${{COMP_WORDS[@]:0:COMP_CWORD}}")
    [[ -z $word || $word == -* ]] && words+=("$word")
    mapfile -t COMPREPLY < <(compgen -W "$("${{words[@]}}" {flag} 2>/dev/null)" -- "$word")
    # Image names have colons, at which bash splits words: what stands before the last is typed already.
    declare -F __ltrim_colon_completions >/dev/null && __ltrim_colon_completions "$word"
}}
complete -o default -F _pinnace_{program} {program}
"""

_ZSH = """\
#compdef {program}
# zsh completion for {program}: the command itself says what may come next.
_pinnace_{program}() {{
    local -a asked offered
    asked=("${{(@)words[1,CURRENT-1]}}")
    [[ -z ${{words[CURRENT]}} || ${{words[CURRENT]}} == -* ]] && asked+=("${{words[CURRENT]}}")
    offered=("${{(@f)$("${{asked[@]}}" {flag} 2>/dev/null)}}")
    offered=(${{offered:#}})
    if (( $#offered )); then
        compadd -a offered
    else
        _files
    fi
}}
_pinnace_{program} "$@"
"""

_FISH = """\
# fish completion for {program}: the command itself says what may come next.
function __pinnace_{program}
    set -l asked (commandline -opc)
    set -l word (commandline -ct)
    test -z "$word"; or string match -q -- '-*' $word; and set -a asked "$word"
    set -l offered ($asked {flag} 2>/dev/null)
    if test (count $offered) -gt 0
        string join \\n -- $offered
    else
        __fish_complete_path $word
    end
end
complete -c {program} -f -a '(__pinnace_{program})'
"""

_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def script(shell: str, program: str) -> str:
    """The file that completes ``program`` in ``shell``."""
    return _SCRIPTS[shell].format(program=program, flag=COMPLETE)
