#!/bin/bash
# The manual pages: what is documented exists and what exists is documented; and mdoc without complaints.
#
#   tests/checks/manual.sh [SRCDIR]
set -u
cd "${1:-.}" || exit 2
failed=0
ok() { printf 'ok %s\n' "$1"; }
not_ok() { printf 'not ok %s\n' "$1"; failed=$((failed + 1)); }

ctl=relay/ctl/sendgovctl.8 completion=conf/completion/sendgovctl

# {"warmup", "plan", ... of the table of verbs
verbs=$(sed -n '/^static const struct verb verbs/,/^};/s/^    {"\([a-z-]*\)", \("\([a-z-]*\)"\|NULL\), .*/\1 \3/p' relay/ctl/verb.c)
options=$(sed -n '/^#define OPT/p;/^static const struct verb verbs/,/^};/p' relay/ctl/verb.c | grep -oE '\{"[a-z-]+", ("[^"]*"|[A-Z]+), "[^"]*", (true|false)\}' |
    sed 's/^{"\([a-z-]*\)".*/\1/' | sort -u)
[ -n "$verbs" ] && [ -n "$options" ] || not_ok "relay/ctl/verb.c: the table of verbs cannot be read"
while read -r word word2; do
    grep -qE "^\.(It|Ic|Op|Nm|Cm).*\b$word\b" $ctl || not_ok "verb $word is not in $ctl"
    [ -z "$word2" ] || grep -qE "^\.It.*\b$word.*\b$word2\b" $ctl || not_ok "verb $word $word2 is not in $ctl"
    grep -qE "\b$word\b" $completion || not_ok "verb $word is not in $completion"
done <<<"$verbs"
for option in $options; do
    grep -qE "Fl -$option\b" $ctl || not_ok "option --$option is not in $ctl"
    grep -qE -- "--$option\b" $completion || not_ok "option --$option is not in $completion"
done
[ $failed = 0 ] && ok "sendgovctl: $(wc -l <<<"$verbs") verbs documented and completed"

# {"status", PRIVILEGE_ of the table of commands: each has a verb that asks it
for command in $(sed -n 's/^    {"\([a-z-]*\)", PRIVILEGE_.*/\1/p' relay/admin/command.c); do
    sed -n '/^static const struct verb verbs/,/^};/p' relay/ctl/verb.c | grep -qE "(true|false), \"$command\"," || not_ok "no verb asks command $command"
done

for page in $(find . -name '*.[1-8]' -path '*/[rd][eo]*/*' -not -path './build*' | sort); do
    complaints=$(mandoc -T lint -W warning "$page" 2>&1)
    if [ -n "$complaints" ]; then not_ok "$page: $complaints"; else ok "$page"; fi
done
exit $((failed > 0))
