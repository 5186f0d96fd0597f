# shellcheck shell=bash
# A Debian in a folder, with apt and pip as on this machine; for debian.sh, ../packages/run and ../wheel/aarch64.sh, which
# source this.

skip() {
  echo "skipped: $*"
  exit
}

# Where apt gets Debian's main archive from.
mirror() {
  # shellcheck disable=SC2016 # these are apt's variables
  apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 'Identifier: Packages' |
    sed -n 's/^Debian|Debian|//p' | head -n 1
}

in_debian() { chroot "$root" "$@"; }

# make_bare_debian SUITE [ARCHITECTURE]: in $root.
make_bare_debian() {
  mkdir "$root"
  debootstrap ${2:+--arch="$2"} --variant=minbase --include=ca-certificates "$1" "$root" "$(mirror)"
  mount -t proc proc "$root/proc"
  mount --rbind /dev "$root/dev"
  echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/no-sync" # which nobody needs of what is thrown away
  apt-config dump Acquire >"$root/etc/apt/apt.conf.d/99host"
}

# pip's settings, from files and environment, as PIP_NAME=VALUE; what is from the environment comes last and wins.
pip_settings() {
  local name value
  python3 -m pip config list | sort -r | sed -n "s/^[^.]*\.\([a-z-]*\)='\(.*\)'$/\1 \2/p" | while read -r name value; do
    name=${name//-/_}
    echo "PIP_${name^^}=${value//\\n/ }"
  done
}

# The files and folders of this machine that they name; of an index's the folder above, which has the packages.
pip_paths() {
  pip_settings | sed 's/^[^=]*=//' | tr ' ' '\n' | sed -n 's/^file:\(.*\)\/[^/]\+\/*$/\1/; s/^\/\+/\//p' | sort -u
}

bring_pip_paths() {
  local path
  for path in $(pip_paths); do
    if [[ -d $path ]]; then
      mkdir -p "$root$path"
      mount --bind -o ro "$path" "$root$path"
    elif [[ -f $path ]]; then
      mkdir -p "$root$(dirname "$path")"
      cp "$path" "$root$path"
    fi
  done
}

# with_root SUITE COMMAND...: calls the command with one more argument, a folder that is not there yet, for that Debian. It
# has mounts of its own, which nobody else sees and which end with its last process.
with_root() {
  [[ $EUID -eq 0 ]] || skip "to make a Debian takes root"
  command -v debootstrap >/dev/null || skip "there is no debootstrap"
  [[ -n $(mirror) ]] || skip "apt knows no mirror of Debian"
  unshare --mount true || skip "mounts of its own are not allowed here"
  mkdir -p build
  scratch=$(mktemp -d "$PWD/build/$1.XXXXXX")
  trap 'rm -rf --one-file-system "$scratch"' EXIT
  unshare --mount --pid --fork --kill-child "${@:2}" "$scratch/root"
}
