#!/bin/sh
# Installs what a Debian machine with Rust lacks to build Lentic. Quick and silent when all is present.
#
#   a C++ compiler   compiles RocksDB, lz4 and zstd
#   libclang, clang  bindgen reads RocksDB's C header with it
#   ccache           RocksDB is compiled once a machine, not once a checkout or a profile
#
# With the word `etcd` it also installs the peer of `cargo xtask bench vs-etcd`.
set -eu

has() { command -v "$1" >/dev/null 2>&1; }

# Where clang-sys looks: LIBCLANG_PATH, or the library folders. The development package also has the headers of the
# compiler (stddef.h and its like), without which the library alone does not get through a header.
has_libclang() {
    for folder in ${LIBCLANG_PATH:+"$LIBCLANG_PATH"} /usr/lib/llvm-*/lib /usr/lib/*-linux-gnu /usr/lib64 /usr/local/lib /usr/lib; do
        for library in "$folder"/libclang.so* "$folder"/libclang-[0-9]*.so*; do
            [ -e "$library" ] && return 0
        done
    done
    return 1
}

wanted=""
want() {
    wanted="$wanted $1"
    echo "deps: $1 is missing: $2"
}

has c++ || want g++ "compiles RocksDB, lz4 and zstd"
has clang || want clang "bindgen asks it where the system's headers are"
has_libclang || want libclang-dev "bindgen reads RocksDB's C header with it"
has ccache || want ccache "keeps RocksDB's objects, so that it is compiled once a machine"
if [ "${1:-}" = etcd ]; then
    has etcd || want etcd-server "the benchmark's peer"
fi

[ -n "$wanted" ] || exit 0

if ! has apt-get; then
    echo "deps: this is no Debian; install the equivalents of:$wanted"
    echo "deps: going on without them"
    exit 0
fi

if [ "$(id -u)" = 0 ]; then
    as_root=""
elif has sudo; then
    as_root="sudo"
else
    echo "deps: neither root nor sudo; ask an administrator for: apt-get install$wanted"
    echo "deps: going on without them"
    exit 0
fi

export DEBIAN_FRONTEND=noninteractive
echo "deps: installing$wanted"
$as_root apt-get update -qq || echo "deps: apt-get update failed; going on with the lists that are there"
# Another apt at work is waited for. The list is split into words on purpose.
# shellcheck disable=SC2086
if $as_root apt-get install -qq -y --no-install-recommends -o DPkg::Lock::Timeout=300 $wanted; then
    echo "deps: done"
else
    echo "deps: could not install$wanted; going on, the build of RocksDB will say what it cannot do without"
fi
