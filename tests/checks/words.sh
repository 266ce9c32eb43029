#!/bin/bash
# Words that must not be in the tree: unfinished business, functions that cannot know their bounds, and names of the
# machine it was made on.
#
#   tests/checks/words.sh [SRCDIR]
set -u
cd "${1:-.}" || exit 2

if git rev-parse --show-toplevel >/dev/null 2>&1; then
    files=$(git ls-files)
else
    files=$(find . \( -name .git -o -name 'build*' -o -name autom4te.cache -o -name node_modules \) -prune -o -type f -print | sed 's|^\./||')
fi
files=$(grep -Ev '^(tests/checks/words\.sh|configure|aclocal\.m4|Makefile\.in|config\.h\.in|.*\.(pem|key|xz|gz))$' <<<"$files" |
    while read -r f; do [ -f "$f" ] && grep -qI . "$f" && echo "$f"; done)

failed=0
forbid() { # NAME PATTERN FILES...
    local name=$1 pattern=$2 hits
    shift 2
    hits=$(grep -nHE "$pattern" "$@" 2>/dev/null)
    if [ -n "$hits" ]; then
        sed "s|^|not ok $name: |" <<<"$hits" | cut -c1-200
        failed=1
    else
        echo "ok $name"
    fi
}

# shellcheck disable=SC2086
{
    c_files=$(grep -E '\.[ch]$' <<<"$files")
    # Microsoft writes XXX for a name in a reply that the tables quote.
    forbid "no unfinished business" '\b(TODO|FIXME|XXX|HACK)\b' $(grep -Ev '^(conf/profiles|tests/tables)/' <<<"$files")
    forbid "no unbounded string functions" '\b(strcpy|strcat|sprintf|vsprintf|stpcpy|gets|strtok)[ ]*\(' $c_files
    forbid "no allocation that is not checked" '[^x_a-z](malloc|realloc|strdup|strndup)[ ]*\(' \
        $(grep -v '^relay/base/xmalloc\.[ch]$' <<<"$c_files" | grep -Ev '^(tests|relay/ctl)/')

    # A host name that is no ordinary word, and where this tree lies.
    host=$(uname -n)
    if [ ${#host} -ge 8 ] && [[ $host == *[0-9]* ]]; then
        forbid "no name of this host" "\b${host//./\\.}\b" $files
    fi
    here=$(pwd -P)
    if [[ $here == /*/* ]]; then
        forbid "no path of this machine" "${here//./\\.}\b" $files
    fi
}
exit $failed
