# fish completion for runc: the command itself says what may come next.
function __pinnace_runc
    set -l asked (commandline -opc)
    set -l word (commandline -ct)
    test -z "$word"; or string match -q -- '-*' $word; and set -a asked "$word"
    set -l offered ($asked --generate-bash-completion 2>/dev/null)
    if test (count $offered) -gt 0
        string join \n -- $offered
    else
        __fish_complete_path $word
    end
end
complete -c runc -f -a '(__pinnace_runc)'
