#!/usr/bin/env bash
# aarch64.sh [--all]: builds the core and its tests for 64-bit ARM and runs them under qemu: the sweep of the kernels on
# NEON, or with --all every test of the core on NEON and on SVE of 128, 256 and 512 bits. Says why where it cannot, and
# passes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
sysroot=$PWD/build/aarch64-sysroot # the preset's; made once

skip() {
  echo "skipped: $*"
  exit
}

# Highway and GoogleTest for ARM out of the packages of this machine's own system. apt keeps what it knows of ARM's
# packages in a folder of its own, so that nothing is installed and neither apt nor dpkg of the system know of it.
make_sysroot() {
  local apt scratch
  scratch=$(mktemp -d "$PWD/build/aarch64-sysroot.XXXXXX")
  apt=$scratch/apt
  mkdir -p "$apt"/{lists,cache/archives}/partial
  : >"$apt/status"
  local options=(-qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User= -o Debug::NoLocking=1
    -o "Dir::State=$apt" -o "Dir::State::status=$apt/status" -o "Dir::Cache=$apt/cache")
  if apt-get "${options[@]}" update &&
    apt-get "${options[@]}" --no-install-recommends --download-only install libhwy-dev libgtest-dev; then
    for package in "$apt"/cache/archives/lib{hwy,gtest}*.deb; do dpkg -x "$package" "$scratch/sysroot"; done
    mv "$scratch/sysroot" "$sysroot"
  fi
  rm -rf "$scratch"
  [[ -d $sysroot ]]
}

# build [TARGET...]
build() {
  cmake --preset aarch64 >/dev/null
  cmake --build --preset aarch64 -j "$(nproc)" ${1:+--target "$@"} -- --quiet
}

# test_on VECTORS CPU [CTEST OPTIONS]: on a processor as qemu names it, whose kernels those for VECTORS must be among.
test_on() {
  local kernels
  export QEMU_CPU=$2
  kernels=$(ctest --test-dir build/aarch64 --verbose -R '^targets_test$' | sed -n 's/^.*Kernels, best first: //p')
  printf '\n-- %s, kernels: %s\n' "$QEMU_CPU" "$kernels"
  if [[ $kernels != *$1* ]]; then
    echo "skipped: this compiler and this Highway give no kernels for $1"
    return
  fi
  ctest --test-dir build/aarch64 -j "$(nproc)" --output-on-failure --no-tests=error "${@:3}"
  sed -n '/: Skipped$/{n;s/^/skipped under qemu: /;p}' build/aarch64/Testing/Temporary/LastTest.log | sort | uniq -c
}

[[ $(uname -m) != aarch64 ]] || skip "this machine is ARM itself, and the other tests run on it"
for command in apt-get dpkg aarch64-linux-gnu-g++ qemu-aarch64; do
  command -v "$command" >/dev/null || skip "there is no $command"
done
mkdir -p build
[[ -d $sysroot ]] || make_sysroot || skip "apt has no libhwy-dev and libgtest-dev for arm64 here"

case "$*" in
  "")
    build kernels_test targets_test
    test_on NEON max,sve=off -R '^(kernels|targets)_test$'
    ;;
  --all)
    build
    test_on NEON max,sve=off
    for vq in 1 2 4; do test_on SVE "max,sve-max-vq=$vq"; done # so many times 128 bits
    ;;
  *)
    echo "aarch64.sh takes --all or nothing, not: $*" >&2
    exit 1
    ;;
esac
