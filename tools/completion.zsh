# What shtab, which completes one word's arguments, has no way to say.
# The keys of --set, as many as follow it, with no space behind the =, and files behind that.
_masktracer_keys() {
  local -a options=(${(M)words[1,CURRENT - 1]:#-*})
  [[ $options[-1] = --set ]] || return
  if compset -P '*='; then _files; else compadd -S '' -- KEYS; fi
}
# In a folder of this project python's own commands are masktracer's; elsewhere as without.
_masktracer_python() {
  local place=2
  local -a modules=(MODULES) known=(SCRIPTS)
  if [[ -f config_schema.py && -d tools ]]; then
    [[ $words[2] = -m ]] && place=3 known=($modules)
    if (( CURRENT > place && $known[(Ie)$words[place]] )); then
      words=(masktracer ${${words[place]#tools.}%.py} "${(@)words[place + 1,-1]}")
      (( CURRENT -= place - 2 ))
      _shtab_masktracer
      return
    elif (( place == 3 && CURRENT == 3 )); then
      compadd -- $modules
      return
    fi
  fi
  _python "$@"
}
[[ $zsh_eval_context[-1] = eval ]] && compdef _masktracer_python python python3

