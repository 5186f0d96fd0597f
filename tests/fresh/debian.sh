#!/usr/bin/env bash
# debian.sh SUITE: makes a Debian of that name, clones the commit that is checked out into it, and runs the README's two
# commands there as newcomers do: ./dev demo as a user without root, who installs what it names, and ./dev test as root.
# The mirror and the settings of apt and pip are this machine's. Says why where it cannot run, and passes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

suite=${1:?SUITE, for instance trixie}
root=${2-} # set where this script has called itself

# shellcheck source=tests/fresh/bare.sh
source tests/fresh/bare.sh

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

# as USER COMMAND...: in the clone.
as() {
  in_debian env -i HOME="$(in_debian sh -c "echo ~$1")" "${environment[@]}" \
    setpriv --reuid="$1" --regid="$1" --init-groups sh -c 'cd /home/newcomer/leakyrelu && exec "$@"' sh "${@:2}"
}

make_debian() {
  local path
  make_bare_debian "$suite"
  for path in $(pip_paths); do
    if [[ -d $path ]]; then
      mkdir -p "$root$path"
      mount --bind -o ro "$path" "$root$path"
    elif [[ -f $path ]]; then
      mkdir -p "$root$(dirname "$path")"
      cp "$path" "$root$path"
    fi
  done
  in_debian useradd --create-home newcomer
  git clone --quiet --depth 1 "file://$PWD" "$root/home/newcomer/leakyrelu"
  in_debian chown -R newcomer: /home/newcomer
}

be_newcomers() {
  local environment said packages
  mapfile -t environment < <(env | grep -iE '^[a-z]+_proxy=' || true; pip_settings)
  environment+=(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8)

  said=$(! as newcomer ./dev demo 2>&1)
  printf '\n== ./dev demo without root says\n%s\n' "$said"
  read -ra packages < <(sed -n 's/^dev: as root, do: apt-get install //p' <<<"$said")
  as root apt-get -qq update
  as root env DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends "${packages[@]}" >"$root.log"
  as newcomer ./dev demo
  as root ./dev test
}

if [[ $root ]]; then
  trap 'tail "$root.log"' EXIT
  make_debian >"$root.log"
  trap - EXIT
  be_newcomers
  exit
fi
with_root "$suite" "$PWD/tests/fresh/debian.sh" "$suite"
