# SPDX-License-Identifier: Apache-2.0
# Part of ./run: Debian packages for who may not install them. They are downloaded and unpacked into .debian/ of the project,
# and compiler, linker and program are told to look there. Needs a C++ compiler that works; nothing outside is changed.
debian=$here/.debian

# may_install: whether packages can be installed here
may_install() {
  [ -z "${DUALPARAL_NO_ROOT:-}" ] || return 1
  [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null
}

# unpack_packages PACKAGES...: these, and what they need that the system has not
unpack_packages() {
  local compiler=${CXX:-g++} state=$debian/apt deb
  command -v "$compiler" >/dev/null ||
    stop "no C++ compiler ($compiler), and without root none can be installed: load one (module load gcc), or set CXX; docs/installing.md"
  mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
  local apt=(apt-get -qq -o "Dir::State=$state" -o Dir::State::status=/var/lib/dpkg/status -o "Dir::Cache=$state/cache"
    -o Debug::NoLocking=true -o APT::Sandbox::User="$(id -un)")
  "${apt[@]}" update
  "${apt[@]}" install -y --download-only --no-install-recommends "$@" >/dev/null
  for deb in "$state"/cache/archives/*.deb; do
    dpkg -x "$deb" "$debian"
    rm "$deb"
  done
  # pkg-config files say where they were meant to lie.
  find "$debian/usr" -name '*.pc' -exec sed -i -E "s#^([a-z_]*prefix *= *|[a-z_]*dir *= *)/usr#\1$debian/usr#" {} +
  mkdir -p "$debian/unpacked"
  (cd "$debian/unpacked" && touch -- "$@")
}

# unpacked PACKAGE: whether it is there already
unpacked() { [ -e "$debian/unpacked/$1" ]; }

# find_unpacked: compiler, linker, cmake and programs look into .debian/, if there is one
find_unpacked() {
  [ -d "$debian/unpacked" ] || return 0
  local machine root=$debian/usr libraries
  machine=$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || echo "$(uname -m)-linux-gnu")
  # Some libraries lie in folders of their own, to which their packages would have made links.
  libraries=$root/lib/$machine:$debian/lib/$machine:$root/lib/$machine/blas:$root/lib/$machine/lapack:$root/lib/$machine/pulseaudio
  export PKG_CONFIG_PATH=$root/lib/$machine/pkgconfig:$root/share/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
  export CMAKE_PREFIX_PATH=$root${CMAKE_PREFIX_PATH:+:$CMAKE_PREFIX_PATH}
  export CPLUS_INCLUDE_PATH=$root/include${CPLUS_INCLUDE_PATH:+:$CPLUS_INCLUDE_PATH}
  export LIBRARY_PATH=$root/lib/$machine:$debian/lib/$machine${LIBRARY_PATH:+:$LIBRARY_PATH}
  export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  export PATH=$root/bin:$PATH
  configure_flags+=("-DCMAKE_BUILD_RPATH=${libraries//:/;}") # so that the program starts without ./run, too
}
