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

# as USER COMMAND...: in the clone.
as() {
  in_debian env -i HOME="$(in_debian sh -c "echo ~$1")" "${environment[@]}" \
    setpriv --reuid="$1" --regid="$1" --init-groups sh -c 'cd /home/newcomer/leakyrelu && exec "$@"' sh "${@:2}"
}

make_debian() {
  make_bare_debian "$suite"
  bring_pip_paths
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
