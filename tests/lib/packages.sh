# packages.sh: what sendgov needs from Debian 12, and how it gets there. Sourced by check and quickstart.
#
# An entry is PACKAGE, or PACKAGE=COMMAND where the command may also come from elsewhere (a newer node, say).
packages_build=(gcc libc6-dev make autoconf automake pkg-config libevent-dev libhiredis-dev libssl-dev libyaml-dev
    libc-ares-dev libjansson-dev libcrypt-dev libsqlite3-dev)
packages_test=(clang=clang libclang-rt-14-dev libcmocka-dev redis-server=redis-server openssl=openssl curl=curl
    swaks=swaks libnet-ssleay-perl msmtp=msmtp postfix=/usr/sbin/postfix libsasl2-modules python3 python3-pytest
    python3-pytest-xdist python3-redis python3-aiosmtpd nodejs=node npm=npm
    universal-ctags=ctags mandoc=mandoc xz-utils procps strace=strace)
packages_show=(redis-server=redis-server openssl=openssl curl=curl swaks=swaks libnet-ssleay-perl python3)

packages_missing() {
    local entry package command
    for entry in "$@"; do
        package=${entry%%=*} command=${entry#*=}
        if [ "$command" != "$entry" ]; then
            command -v "$command" >/dev/null 2>&1 || echo "$package"
        else
            dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || echo "$package"
        fi
    done
}

# Installs what is missing. The services among it are not started: the tests run their own, on private ports.
packages_install() {
    local missing policy=/usr/sbin/policy-rc.d made=0 status=0
    mapfile -t missing < <(packages_missing "$@")
    [ ${#missing[@]} = 0 ] && return 0
    if [ "$(id -u)" != 0 ]; then
        echo "missing: ${missing[*]}; as root: apt-get install -y --no-install-recommends ${missing[*]}" >&2
        return 1
    fi
    echo "installing ${missing[*]}"
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy && made=1
    fi
    {
        DEBIAN_FRONTEND=noninteractive apt-get -qq update &&
            DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" </dev/null
    } >/tmp/sendgov-apt.$$ 2>&1 || { status=1; tail -20 /tmp/sendgov-apt.$$ >&2; }
    rm -f /tmp/sendgov-apt.$$
    [ $made = 1 ] && rm -f $policy
    mapfile -t missing < <(packages_missing "$@")
    [ ${#missing[@]} = 0 ] || { echo "still missing: ${missing[*]}" >&2; status=1; }
    return $status
}
