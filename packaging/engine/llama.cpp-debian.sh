#!/bin/sh
# Unpacks Debian's llama.cpp into a folder: no root, nothing installed on this machine.
#
#   llama.cpp-debian.sh STAGE BACKEND        STAGE: an empty folder; BACKEND: cpu or vulkan
#
# A private apt with an empty package database resolves and downloads everything down to the C library
# from the mirror that this machine already uses (signatures checked with its own keyring), dpkg-deb
# unpacks, and small wrappers start each program with the unpacked loader and libraries. So the engine
# does not depend on the age of this machine's libraries. Leaves STAGE/bin, STAGE/root, STAGE/packages.
#
# STOWAGE_ENGINE_SUITE (forky), STOWAGE_ENGINE_MIRROR and STOWAGE_ENGINE_KEYRING override what is found.
set -eu

STAGE=$1
BACKEND=$2
SUITE=${STOWAGE_ENGINE_SUITE:-forky}
KEYRING=${STOWAGE_ENGINE_KEYRING:-/usr/share/keyrings/debian-archive-keyring.gpg}
APT=$STAGE/apt

fail() {
    echo "error: $*" >&2
    exit 1
}

for tool in apt-get apt-config dpkg dpkg-deb tar; do
    command -v "$tool" >/dev/null || fail "$tool is not here: this is no Debian system"
done
[ -r "$KEYRING" ] || fail "no Debian keyring at $KEYRING (package debian-archive-keyring)"

ARCH=$(dpkg --print-architecture)
case $ARCH in
amd64) TRIPLET=x86_64-linux-gnu LOADER=ld-linux-x86-64.so.2 ;;
arm64) TRIPLET=aarch64-linux-gnu LOADER=ld-linux-aarch64.so.1 ;;
*) fail "no engine packages are known for architecture $ARCH" ;;
esac

PACKAGES='llama.cpp-tools llama.cpp-tools-extra libggml0-backend-rpc'
case $BACKEND in
cpu) ;;
vulkan) PACKAGES="$PACKAGES libggml0-backend-vulkan mesa-vulkan-drivers" ;;
*) fail "back end '$BACKEND': expected cpu or vulkan" ;;
esac

# Mirrors of this machine's own sources; the security archive has no such suite.
mirrors() {
    if [ -n "${STOWAGE_ENGINE_MIRROR:-}" ]; then
        echo "$STOWAGE_ENGINE_MIRROR"
        return
    fi
    # The field is apt's, not a variable of this script.
    # shellcheck disable=SC2016
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
        grep -v -e security -e debug -e ports | awk '!seen[$0]++'
}

# Only the proxies of this machine's apt settings: its other settings act on its own package database.
# Packages are read as the system that they are for, and fetched as the user that runs this.
apt_settings() {
    cat <<X
APT::Architecture "$ARCH";
APT::Architectures { "$ARCH"; };
Dir::Etc::main "$APT/none";
Dir::Etc::parts "$APT/parts";
Dir::Etc::preferencesparts "$APT/parts";
Dir::Etc::preferences "$APT/none";
Dir::Etc::sourceparts "$APT/parts";
Dir::Etc::sourcelist "$APT/sources.list";
Dir::State "$APT/state";
Dir::State::status "$APT/status";
Dir::Cache "$APT/cache";
Dir::Log "$APT/log";
Acquire::Languages "none";
Acquire::PDiffs "false";
Acquire::Retries "3";
Acquire::http::Timeout "30";
APT::Sandbox::User "";
APT::Install-Recommends "false";
APT::Update::Error-Mode "any";
Debug::NoLocking "true";
X
    apt-config dump | grep -i -E '^Acquire::https?::([^ ]*::)?(Proxy|CaInfo|CaPath)' || true
}

prepare() {
    mkdir -p "$APT/state/lists/partial" "$APT/cache/archives/partial" "$APT/parts" "$APT/log"
    : >"$APT/status"
    apt_settings >"$APT/apt.conf"
}

# A suite that moves may have a Release file past its date on a mirror that lags. Signatures are checked
# all the same, so the date may pass when there is no fresher one.
update() {
    echo "deb [signed-by=$KEYRING] $1 $SUITE main" >"$APT/sources.list"
    apt-get -qq update >"$APT/update.log" 2>&1 && return 0
    grep -q -i -e 'expired' -e 'Valid-Until' "$APT/update.log" || return 1
    echo "note: the mirror's list of $SUITE is past its date; its signature is checked all the same" >&2
    echo 'Acquire::Check-Valid-Until "false";' >>"$APT/apt.conf"
    apt-get -qq update >"$APT/update.log" 2>&1
}

find_suite() {
    tried=
    for mirror in $MIRRORS; do
        if update "$mirror"; then
            echo "from $mirror $SUITE"
            return 0
        fi
        tried="$tried $mirror"
    done
    if [ -z "$tried" ]; then
        fail "this machine's apt has no Debian mirror: set STOWAGE_ENGINE_MIRROR, or use --url or --path"
    fi
    sed 's/^/  /' "$APT/update.log" >&2
    fail "no suite $SUITE at:$tried"
}

# What a program never loads: documentation, configuration, other people's maintenance scripts.
unpack() {
    for deb in "$APT"/cache/archives/*.deb; do
        name=${deb##*/}
        case $name in
        wget_* | debconf_* | gcc-*-base_* | openssl-provider* | libc-gconv* | media-types_*) continue ;;
        esac
        dpkg-deb --fsys-tarfile "$deb" |
            tar -x -C "$STAGE/root" --no-same-owner --exclude=./usr/share/doc --exclude=./usr/share/man \
                --exclude=./usr/share/locale --exclude=./usr/share/lintian || fail "cannot unpack $name"
        echo "$name"
    done >"$STAGE/packages"
}

# The manifests of Vulkan drivers name a library of the system; here it lies beside them.
fix_vulkan() {
    for icd in "$STAGE"/root/usr/share/vulkan/icd.d/*.json; do
        [ -e "$icd" ] || continue
        sed -i 's#"library_path": *"[^"]*/\{0,1\}\(lib[^"/]*\)"#"library_path": "../../../lib/'"$TRIPLET"'/\1"#' "$icd"
    done
}

wrapper() {
    cat <<X
#!/bin/sh
root=\$(readlink -f "\$0") || exit 127
root=\${root%/bin/*}/root
lib=\$root/usr/lib/$TRIPLET
if [ -d "\$root/usr/share/vulkan/icd.d" ]; then
    for icd in "\$root"/usr/share/vulkan/icd.d/*.json; do
        VK_ADD_DRIVER_FILES=\${VK_ADD_DRIVER_FILES:+\$VK_ADD_DRIVER_FILES:}\$icd
    done
    export VK_ADD_DRIVER_FILES
fi
exec "\$lib/$LOADER" --library-path "\$lib:\$lib/llama" \${LLAMA_PRELOAD:+--preload "\$LLAMA_PRELOAD"} --argv0 "\$0" "\$root$1" "\$@"
X
}

wrap() {
    # ggml looks for its back ends beside the running program, which is the loader.
    ln -f "$STAGE/root/usr/lib/$TRIPLET"/ggml/backends*/*.so "$STAGE/root/usr/lib/$TRIPLET/"
    for program in "$STAGE"/root/usr/bin/llama-* "$STAGE/root/usr/libexec/$TRIPLET"/llama/bin/*; do
        [ -f "$program" ] || continue
        wrapper "${program#"$STAGE/root"}" >"$STAGE/bin/${program##*/}"
        chmod 755 "$STAGE/bin/${program##*/}"
    done
}

mkdir -p "$STAGE/root" "$STAGE/bin"
prepare
MIRRORS=$(mirrors) # before the private settings apply
export APT_CONFIG="$APT/apt.conf"
echo "reading the package list"
find_suite
echo "downloading"
# shellcheck disable=SC2086 # a list of packages
apt-get -qq -y --download-only install $PACKAGES >"$APT/install.log" 2>&1 || {
    sed 's/^/  /' "$APT/install.log" >&2
    fail "cannot download the engine's packages"
}
echo "unpacking"
unpack
fix_vulkan
wrap
for program in llama-server ggml-rpc-server; do
    [ -x "$STAGE/bin/$program" ] || fail "the packages hold no $program"
done
rm -rf "$APT"
