# shellcheck shell=bash disable=SC2034 # the lists are for those that source this
# What run and test need from the system, by what must be there, not by package name: a tool or library from
# anywhere else is as good. Sourced; Debian 12 and later, Ubuntu 24.04 (the package names are the same).

# What to look for, and the package that brings it. command:NAME, pkg:PKG-CONFIG MODULE, file:PATH
NEEDS_BUILD='
command:cc gcc
command:meson meson
command:ninja ninja-build
command:pkg-config pkg-config
command:python3 python3
command:tar tar
pkg:jansson libjansson-dev
pkg:yaml-0.1 libyaml-dev
pkg:sqlite3 libsqlite3-dev
pkg:libcurl libcurl4-openssl-dev
pkg:libsodium libsodium-dev
command:npm npm
command:node nodejs
file:/etc/ssl/certs/ca-certificates.crt ca-certificates
'
# Only where nothing else says otherwise: a mirror's signatures are checked with this.
NEEDS_ENGINE='
file:/usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring
'
NEEDS_TEST='
pkg:cmocka libcmocka-dev
command:clang clang
command:git git
command:ip iproute2
command:curl curl
command:nm binutils
command:shellcheck shellcheck
command:clang-format clang-format
command:chromium chromium
command:fuser psmisc
command:cbc coinor-cbc
file:/usr/lib/python3/dist-packages/h11/__init__.py python3-h11
file:/usr/lib/python3/dist-packages/jsonschema/__init__.py python3-jsonschema
file:/usr/lib/python3/dist-packages/yaml/__init__.py python3-yaml
'

have() {
    case $1 in
    command:*) command -v "${1#*:}" >/dev/null ;;
    pkg:*) pkg-config --exists "${1#*:}" 2>/dev/null ;;
    file:*) [ -e "${1#*:}" ] ;;
    esac
}

missing() {
    local need package
    while read -r need package; do
        if [ -n "$need" ] && ! have "$need"; then
            echo "$package"
        fi
    done <<<"$1"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

# install_missing NEEDS...: nothing is asked of the network when nothing is missing.
install_missing() {
    local list
    list=$(for needs in "$@"; do missing "$needs"; done | sort -u)
    [ -n "$list" ] || return 0
    list=$(tr '\n' ' ' <<<"$list")
    if ! command -v apt-get >/dev/null; then
        echo "missing here: $list(Debian's names; this system has no apt-get, so install them by hand)" >&2
        return 1
    fi
    if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
        echo "missing here: $list" >&2
        echo "run as root: apt-get install $list" >&2
        return 1
    fi
    echo "installing: $list"
    # The lists may be absent or old; a first try without a refresh is quicker when they are good.
    # shellcheck disable=SC2086 # a list
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends $list >/dev/null 2>&1 && return 0
    as_root apt-get -qq update || return 1
    # shellcheck disable=SC2086
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends $list >/dev/null
}
