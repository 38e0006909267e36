# Reads lines, types each into an interactive zsh with a tab, and prints the completed line.
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell 'unsetopt zle_bracketed_paste prompt_sp; unset zle_bracketed_paste; PROMPT= RPROMPT= TERM=dumb'
zpty -w shell 'fpath=($PWD/functions $fpath); autoload -U compinit; compinit -u -D; echo REA""DY'
zpty -r shell answer '*READY*'
while IFS= read -r line; do
    # ^A moves to the start of the line. The words are printed, one a line, instead of executed.
    zpty -w shell "$line"$'\t\x01printf "<%s>\\n" '
    zpty -w shell 'echo FINI""SHED'
    zpty -r shell answer '*FINISHED*'
    words=(${(M)${(f)answer//$'\r'/}:#<*>})
    print -r -- ${${words#<}%>}
done
