//! The shells' side: as little as each allows.

use crate::args::Shell;

/// What `completions SHELL` prints.
pub(crate) const fn script(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => BASH,
        Shell::Zsh => ZSH,
        Shell::Fish => FISH,
    }
}

const BASH: &str = r#"# Completion of oneiric for bash: put `source <(oneiric completions bash)` into ~/.bashrc.
_oneiric() {
    local IFS=$'\n'
    COMPREPLY=($("${COMP_WORDS[0]}" complete --line "${COMP_LINE:0:COMP_POINT}" \
        --tail "${COMP_WORDS[COMP_CWORD]}" 2> /dev/null))
    if [[ ${COMPREPLY[0]-} == :files ]]; then
        COMPREPLY=()
        compopt -o default 2> /dev/null
    elif [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]]; then
        compopt -o nospace 2> /dev/null
    fi
}
complete -o nosort -F _oneiric oneiric
"#;

const ZSH: &str = r#"#compdef oneiric
# Completion of oneiric for zsh: put `source <(oneiric completions zsh)` into ~/.zshrc, after compinit.
_oneiric() {
    local -a found
    found=("${(@f)$("${words[1]}" complete -- "${(@)words[2,CURRENT]}" 2> /dev/null)}")
    if [[ "${found[1]}" == :files ]]; then
        _files
    elif [[ -n "${found[1]}" ]]; then
        compadd -Q -- "${found[@]}"
    fi
}
if [[ "${funcstack[1]}" == _oneiric ]]; then _oneiric; else compdef _oneiric oneiric; fi
"#;

const FISH: &str = r#"# Completion of oneiric for fish: put `oneiric completions fish | source` into ~/.config/fish/config.fish.
function __oneiric_complete
    set -l words (commandline -opc)
    set -l found ($words[1] complete -- $words[2..-1] (commandline -ct) 2> /dev/null)
    if test "$found[1]" = :files
        __fish_complete_path (commandline -ct)
    else
        printf '%s\n' $found
    end
end
complete -c oneiric -f -a '(__oneiric_complete)'
"#;
