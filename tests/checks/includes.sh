#!/bin/bash
# Who may include whom: the layers of docs/architecture.md, held against the sources, and every library's headers
# confined to the folders that may know it.
#
#   tests/checks/includes.sh [SRCDIR]
set -u
cd "${1:-.}" || exit 2

# folder: what its files may include besides their own folder; a name with .h is that one header only.
layers='
relay/base:
policy:         relay/base
tls:            relay/base
relay/smtp:     relay/base policy/types.h
relay/config:   relay/base policy tls/tls.h relay/front/front_conf.h relay/front/users.h relay/spool/spool_conf.h relay/store/store_conf.h relay/upstream/upstream_conf.h
relay/net:      relay/base tls
relay/store:    relay/base relay/net policy tls/tls.h
relay/upstream: relay/base relay/net policy relay/smtp tls
relay/spool:    relay/base relay/net policy relay/smtp
relay/flow:     relay/base policy relay/store relay/spool relay/upstream relay/smtp relay/config relay/net/loop.h
relay/front:    relay/base relay/flow relay/smtp relay/net relay/config policy tls
relay/admin:    relay/base relay/net relay/config policy relay/smtp relay/store relay/spool relay/upstream relay/flow relay/front
relay/ctl:      relay/base relay/config policy relay/smtp
relay:          relay/base relay/net relay/config policy tls relay/store relay/spool relay/upstream relay/flow relay/front relay/admin
'

# header pattern: the folders that may include it.
libraries='
event2/http            relay/admin
event2/                relay/net relay/admin
evhttp                 none
event\.h               none
hiredis/               relay/store
ares                   relay/net
yaml\.h                relay/config
openssl/               tls
jansson\.h             relay/admin relay/ctl
crypt\.h               relay/front relay/ctl
sqlite3                relay/spool
curl/                  relay/net
'

# Decisions are pure: no file, socket, process or clock of the system in policy.
impure='unistd\.h|fcntl\.h|time\.h|signal\.h|poll\.h|sys/|netinet/|arpa/|pthread\.h'

failed=0
ok() { printf 'ok %s\n' "$1"; }
not_ok() { printf 'not ok %s\n' "$1"; failed=$((failed + 1)); }

folder_of() {
    case $1 in
    relay/*/*) expr "$1" : '\(relay/[^/]*\)/' ;;
    */*) echo "${1%%/*}" ;;
    esac
}

may_include() { # FROM-FOLDER HEADER ALLOWED...
    local from=$1 header=$2 to allowed
    shift 2
    to=$(folder_of "$header")
    [ "$to" = "$from" ] && return 0
    for allowed in "$@"; do
        [ "$allowed" = "$to" ] || [ "$allowed" = "$header" ] && return 0
    done
    return 1
}

sources=$(find relay policy tls -name '*.[ch]' | sort)
for file in $sources; do
    folder=$(folder_of "$file")
    line=$(grep "^$folder:" <<<"$layers")
    if [ -z "$line" ]; then
        not_ok "$file: folder $folder is not in the table of layers"
        continue
    fi
    bad=
    for header in $(sed -n 's/^#include "\([^"]*\)".*/\1/p' "$file"); do
        [ "$header" = config.h ] && continue
        # shellcheck disable=SC2086
        may_include "$folder" "$header" ${line#*:} || bad="$bad $header"
    done
    if [ -n "$bad" ]; then not_ok "$file must not include$bad"; fi
done
[ $failed = 0 ] && ok "layers: $(wc -w <<<"$sources") files"

before=$failed
while read -r pattern folders; do
    [ -n "$pattern" ] || continue
    while IFS=: read -r file header; do
        [ -n "$file" ] || continue
        [[ " $folders " == *" $(folder_of "$file") "* ]] && continue
        # event2/http is in event2/ too: the narrower line decides
        not_ok "$file must not include <$header>"
    done < <(grep -E "^#include <$pattern" $sources | sed -n 's/^\([^:]*\):#include <\([^>]*\)>.*/\1:\2/p')
done <<<"$libraries"
[ $failed = "$before" ] && ok "libraries are confined to their folders"

before=$failed
while IFS=: read -r file header; do
    [ -n "$file" ] && not_ok "$file: policy is pure, it must not include <$header>"
done < <(grep -E "^#include <($impure)" $(find policy -name '*.[ch]') | sed -n 's/^\([^:]*\):#include <\([^>]*\)>.*/\1:\2/p')
[ $failed = "$before" ] && ok "policy is pure"

exit $((failed > 0))
