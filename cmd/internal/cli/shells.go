package cli

// The scripts ask the program itself ("complete"), so that both shells know the same,
// and what other versions know. A name is whatever somebody chose: each candidate is
// quoted before the shell gets it.

const bashCompletion = `
# bash completion of isulad-tools and syscontainer-tools
_isulad_tools() {
    local typed=${COMP_LINE:0:COMP_POINT} words word
    read -r -a words <<<"$typed"
    # After a blank a new word begins.
    case $typed in *[[:space:]]) words+=("") ;; esac
    local current=${words[${#words[@]}-1]} before=""
    # Readline takes a colon and an equals sign for the beginning of a word.
    case $current in *[:=]*) before=${current%"${current##*[:=]}"} ;; esac
    COMPREPLY=()
    while IFS= read -r word; do
        printf -v word %q "${word#"$before"}"
        COMPREPLY+=("$word")
    done < <(command "${words[0]}" complete "${words[@]:1}" 2>/dev/null)
    case ${COMPREPLY[0]-} in *:) compopt -o nospace ;; esac
}
complete -o bashdefault -o default -F _isulad_tools isulad-tools syscontainer-tools
`

const zshCompletion = `
#compdef isulad-tools syscontainer-tools
# zsh completion of isulad-tools and syscontainer-tools
_isulad_tools() {
    local -a found
    found=("${(@f)$(command "${words[1]}" complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n ${found[1]-} ]]; then
        compadd -- "${found[@]}"
    else
        _files
    fi
}
if [[ ${funcstack[1]-} = _isulad_tools ]]; then
    _isulad_tools "$@"
else
    compdef _isulad_tools isulad-tools syscontainer-tools
fi
`
