#!/bin/bash
# The table of metrics: names as Prometheus wants them, each one counted somewhere, each one in sendgovd(8).
#
#   tests/checks/metrics.sh [SRCDIR]
set -u
cd "${1:-.}" || exit 2
table=relay/base/metric_table.h
# Not counted by anybody yet; a name here is a debt.
owed=""
failed=0
not_ok() { printf 'not ok %s\n' "$1"; failed=1; }

rows=$(sed '/^METRIC(.*,$/{N;s/\n */ /;}' $table |
    sed -n 's/^METRIC(\([A-Z_0-9]*\), METRIC_\([A-Z]*\), "\([^"]*\)".*"\([^"]*\)")$/\1 \2 \3 \4/p')
[ "$(wc -l <<<"$rows")" = "$(grep -c '^METRIC(' $table)" ] || not_ok "$table: a row this script cannot read"

duplicates=$(awk '{print $3}' <<<"$rows" | sort | uniq -d)
[ -z "$duplicates" ] || not_ok "twice in the table: $duplicates"

while read -r id kind name help; do
    [[ $name =~ ^sendgov_[a-z][a-z_]*$ ]] || not_ok "$name: not sendgov_ and small letters"
    case $kind in
    COUNTER) [[ $name == *_total ]] || not_ok "$name: a counter ends in _total" ;;
    HISTOGRAM) [[ $name == *_seconds ]] || not_ok "$name: a histogram of time ends in _seconds" ;;
    GAUGE) [[ $name == *_total ]] && not_ok "$name: a gauge does not end in _total" ;;
    esac
    [[ $help == *. ]] || not_ok "$name: the help is no sentence"
    if grep -rqE --include='*.c' "\bM_$id\b" relay; then
        [[ " $owed " != *" $id "* ]] || not_ok "$name is counted; take it off the list of debts"
    elif [[ " $owed " == *" $id "* ]]; then
        echo "# $name: nobody counts it yet"
    else
        not_ok "$name: nobody counts it"
    fi
    grep -q "$name" relay/sendgovd.8 || not_ok "$name: not in sendgovd(8)"
done <<<"$rows"
[ $failed = 0 ] && echo "ok metrics"
exit $failed
