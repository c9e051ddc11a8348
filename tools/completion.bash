# What shtab, which completes one word's arguments, has no way to say.
# A key of --set is followed by its value.
_masktracer_words() {
  _shtab_masktracer "$@"
  [[ ${COMPREPLY[0]} = *= ]] && compopt -o nospace
  return 0
}
complete -o bashdefault -F _masktracer_words masktracer
# In a folder of this project python's own commands are masktracer's; elsewhere files are completed.
_masktracer_python() {
  local place=1 modules="MODULES" known="SCRIPTS"
  [[ -f config_schema.py && -d tools ]] || return
  [[ ${COMP_WORDS[1]} = -m ]] && place=2 known=$modules
  if [[ $COMP_CWORD -gt $place && " $known " == *" ${COMP_WORDS[place]} "* ]]; then
    local name=${COMP_WORDS[place]#tools.}
    COMP_WORDS=(masktracer "${name%.py}" "${COMP_WORDS[@]:place + 1}")
    COMP_CWORD=$((COMP_CWORD - place + 1))
    _masktracer_words
  elif [[ $place = 2 && $COMP_CWORD = 2 ]]; then
    COMPREPLY=($(compgen -W "$modules" -- "${COMP_WORDS[2]}"))
  fi
}
complete -o bashdefault -o default -F _masktracer_python python python3
