#!/bin/bash
# How long the functions are: the ten longest, median and 90th percentile (universal ctags). A function of more than 80
# lines fails, unless the comment before it has a line that begins with "Long:" and gives the reason. Lines of C,
# scripts and makefiles have at most 110 columns.
#
#   tests/checks/size.sh [SRCDIR]
set -u
cd "${1:-.}" || exit 2
limit=80
columns=110

if ! ctags --version 2>/dev/null | grep -q Universal; then
    echo "not ok size: universal-ctags is not installed"
    exit 1
fi

# lines, function, file, first line
functions=$(find relay policy tls -name '*.c' | sort | xargs ctags -x --languages=C --kinds-C=f --_xformat='%F %n %{end} %N' |
    awk '{print $3 - $2 + 1, $4, $1, $2}' | sort -rn)
n=$(wc -l <<<"$functions")
percentile() { sort -n <<<"$functions" | awk -v at="$(((n * $1 + 99) / 100))" 'NR == at {print $1}'; }
echo "# $n functions, median $(percentile 50), 90th percentile $(percentile 90) lines; the longest:"
head -10 <<<"$functions" | awk '{printf "#   %3d  %s (%s:%d)\n", $1, $2, $3, $4}'
find relay policy tls -name '*.[ch]' -exec wc -l {} + | awk '$2 != "total" && $1 > 600 {printf "# file of %d lines, look again: %s\n", $1, $2}'

has_reason() { # FILE LINE: in the lines above, back to the last blank one
    awk -v last="$2" 'NR >= last {exit} /^[ \t]*$/ {found = 0} /^[ \t\/*]*Long:/ {found = 1} END {exit !found}' "$1"
}

failed=0
while read -r lines name file at; do
    [ "$lines" -gt $limit ] || break
    has_reason "$file" "$at" && continue
    echo "not ok $file:$at: $name has $lines lines; split it, or give the reason in a comment line \"Long: ...\""
    failed=1
done <<<"$functions"
# policy/scripts.c is generated, and here only after a build in the source folder
wide=$(find Makefile.am conf policy relay tests tls -path tests/fuzz/corpus -prune -o -path policy/scripts.c -prune \
    -o \( -name '*.[ch]' -o -name '*.lua' -o -name '*.mk' -o -name Makefile.am \) -print |
    sort | xargs awk -v most="$columns" 'length > most {printf "%s:%d: %d columns\n", FILENAME, FNR, length}')
if [ -n "$wide" ]; then
    sed 's/^/not ok /' <<<"$wide"
    failed=1
fi
[ $failed = 0 ] && echo "ok size"
exit $failed
