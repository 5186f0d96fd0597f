# shellcheck shell=bash
# What ../dev needs of the system, how it sees that it is there, and in which packages it is; sourced by dev, with its
# die() and step().

python=${PYTHON:-python3} # which .venv is made of

# The group of verbs, the check, what it is, and its packages in Debian, Fedora and Homebrew.
system_needs='
build|have_cmake|CMake 3.25 or newer|cmake|cmake|cmake
build|command -v ninja|Ninja|ninja-build|ninja-build|ninja
build|command -v c++|a C++20 compiler|g++|gcc-c++|gcc
build|have_python_headers|the headers of Python|python3-dev|python3-devel|python
build|have_python_venv|venv of Python|python3-venv|python3|python
build|have_highway|Highway 1.0.3 or newer|libhwy-dev|highway-devel|highway
test|command -v pkg-config|pkg-config|pkg-config|pkgconf-pkg-config|pkgconf
test|have_header gtest/gtest.h|GoogleTest|libgtest-dev|gtest-devel|googletest
test|have_thread_sanitizer|ThreadSanitizer of the C++ compiler|g++|libtsan|gcc
test|find_clang|Clang 14 or newer|clang|clang|llvm
test|have_clang_sanitizers|the sanitizers of that Clang|libclang-rt-dev|compiler-rt|llvm
fuzz|have_libfuzzer|libFuzzer of that Clang|libclang-rt-dev|compiler-rt|llvm
'

have_cmake() {
  local version
  version=$(cmake --version | sed -n '1s/.* //p')
  at_least "$version" 3.25
}

have_python_headers() {
  "$python" -c 'import os, sysconfig, sys; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))'
}

have_python_venv() { "$python" -c 'import ensurepip, venv'; } # Debian has the first in a package of its own

have_highway() {
  have_header hwy/highway.h '#if HWY_MAJOR * 10000 + HWY_MINOR * 100 + HWY_PATCH < 10003
    #error
    #endif'
}

# have_header NAME [LINES]: whether it can be included, and these lines after it, where CMake would look too.
have_header() {
  local prefixes flags
  IFS=':;' read -ra prefixes <<<"${CMAKE_PREFIX_PATH-}"
  flags=("${prefixes[@]/#/-I}" -I/usr/local -I/opt/homebrew)
  printf '#include <%s>\n%s\n' "$1" "${2-}" | c++ -std=c++20 "${flags[@]/%//include}" -E -x c++ -
}

have_thread_sanitizer() { c++ -fsanitize=thread -x c++ -o /dev/null - <<<'int main() {}'; }

have_clang_sanitizers() {
  local clang
  clang=$(find_clang)
  "${clang/clang/clang++}" -fsanitize=address,undefined -x c++ -o /dev/null - <<<'int main() {}'
}

have_libfuzzer() {
  local clang
  clang=$(find_clang)
  "$clang" -fsanitize=fuzzer -x c -o /dev/null - <<<'int LLVMFuzzerTestOneInput(const char *x, unsigned long n) { return x + n == x; }'
}

# Prints the command of a Clang from 14 on that has its C++ side: the system's usual one, else the newest.
find_clang() {
  local name version
  for name in clang $(compgen -c clang- | grep -x 'clang-[0-9]*' | sort -ru -t- -k2n); do
    command -v "${name/clang/clang++}" >/dev/null || continue
    version=$("$name" -dumpversion) || continue
    if at_least "$version" 14; then
      echo "$name"
      return
    fi
  done
  return 1
}

# at_least VERSION LEAST
at_least() { [[ $(printf '%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]; }

# Prints the lines of what the verbs of these groups need and do not find.
missing_needs() {
  local group check rest
  while IFS='|' read -r group check rest; do
    if [[ " $* " != *" $group "* ]]; then continue; fi
    # shellcheck disable=SC2086 # a command and its arguments
    $check >/dev/null 2>&1 || echo "$rest"
  done <<<"$system_needs"
}

# install_needs GROUP...: installs what is missing where there is apt; dies with the list of what then still is.
install_needs() {
  local missing packages
  missing=$(missing_needs "$@")
  if [[ -z $missing ]]; then return; fi
  if command -v apt-get >/dev/null; then
    mapfile -t packages < <(cut -d'|' -f2 <<<"$missing" | sort -u)
    install_debian_packages "${packages[@]}"
    missing=$(missing_needs "$@")
    if [[ -z $missing ]]; then return; fi
  fi
  die "this is missing:$(while IFS='|' read -r what debian fedora homebrew; do
    printf '\n  %s (in Debian %s, in Fedora %s, in Homebrew %s)' "$what" "$debian" "$fedora" "$homebrew"
  done <<<"$missing")"
}

# install_debian_packages NAME...: those that are missing, where there is apt.
install_debian_packages() {
  if ! command -v apt-get >/dev/null; then return; fi
  local missing sudo=()
  mapfile -t missing < <(
    comm -23 <(printf '%s\n' "$@" | sort) \
      <(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null |
        sed -n 's/^installed //p' | sort)
  )
  if [[ ${#missing[@]} -eq 0 ]]; then return; fi
  if [[ $EUID -ne 0 ]]; then
    sudo true 2>/dev/null || die "as root, do: apt-get install ${missing[*]}"
    sudo=(sudo)
  fi
  step "Install ${missing[*]}" "${sudo[@]}" sh -c \
    'apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends "$@"' sh "${missing[@]}"
}
