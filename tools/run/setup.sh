# SPDX-License-Identifier: Apache-2.0
# Part of ./run: what the project needs is installed and built. Says what it does, and nothing where there is nothing to do.

configure_flags=()

# apt_packages FILE: installs those of the Debian packages in it that are missing; without root, unpacks them (no_root.sh)
apt_packages() {
  command -v dpkg-query >/dev/null || { say "not a Debian system: install the equivalents of $1"; return; }
  local missing=()
  while read -r package; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q "install ok installed" || unpacked "$package" || missing+=("$package")
  done <"$here/$1"
  [ ${#missing[@]} -eq 0 ] && return
  if ! may_install; then
    say "unpacking ${#missing[@]} Debian packages into .debian/ (no root): ${missing[*]}"
    unpack_packages "${missing[@]}"
    return
  fi
  say "installing ${#missing[@]} Debian packages: ${missing[*]}"
  local sudo=()
  [ "$(id -u)" -eq 0 ] || sudo=(sudo)
  "${sudo[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# python_packages FILE: installs it into the environment, once for each content of the file
python_packages() {
  local stamp
  stamp=$venv/.installed-$(basename "$1")-$(sha256sum "$here/$1" | cut -c1-16)
  [ -e "$stamp" ] && return
  [ -x "$python" ] || "${PYTHON:-python3}" -m venv "$venv"
  say "installing $1 into .venv (the first time: several GB)"
  "$python" -m pip install -q --disable-pip-version-check -r "$here/$1"
  touch "$stamp"
}

setup() {
  apt_packages tools/apt-packages.txt
  find_unpacked
  python_packages tools/requirements.txt
}

# build_log FILE: keeps what a build says, and says that it builds as soon as it does
build_log() {
  local line said=
  while IFS= read -r line; do
    printf '%s\n' "$line"
    [[ -z $said && $line == \[*/*\]* && $line != *Re-checking* && $line != *Re-running* && $line != *Stamping* ]] || continue
    say "building (log: $1)"
    said=1
  done >"$1"
}

compile() {
  setup
  local log=$build/build.log preset=cpu
  [ -z "${CI:-}" ] || preset=ci # warnings are errors there, not on users' machines
  mkdir -p "$build"
  if [ ! -e "$build/build.ninja" ]; then
    say "configuring (log: $log)"
    (cd "$here" && cmake --preset "$preset" -DPython3_EXECUTABLE="$python" "${configure_flags[@]}") >"$log" 2>&1 || { tail -n 30 "$log" >&2; exit 1; }
  fi
  cmake --build "$build" -j "${JOBS:-$(nproc)}" 2>&1 | build_log "$log" ||
    { grep -E "error|Error" "$log" | head -n 20 >&2; say "the build failed, see $log"; exit 1; }
}
