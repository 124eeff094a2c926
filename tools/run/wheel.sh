# SPDX-License-Identifier: Apache-2.0
# Part of ./run: a wheel with the program, the libraries that it needs besides LibTorch, and the Python module.

# wheel_starter STAGE: starts the wheel's program as its command does
wheel_starter() {
  cat <<END
#!/bin/sh
unset DUALPARAL_PROGRAM
PYTHONPATH="$1" PYTHONDONTWRITEBYTECODE=1 exec "$python" -m dualparal "\$@"
END
}

# wheel [DIR]: dualparal-VERSION-py3-none-PLATFORM.whl in DIR
wheel() {
  local target=${1:-$here/dist} stage=$build/wheel/stage trial=$build/wheel/trial
  compile
  rm -rf "$build/wheel"
  mkdir -p "$stage" "$trial" "$target"
  cp -r "$here/python/." "$here/LICENSE" "$stage"
  find "$stage" -name __pycache__ -prune -exec rm -r {} +
  local program=$stage/dualparal/_program
  local libraries=$program/lib/dualparal/libraries
  cmake --install "$build" --prefix "$program" --component relocatable >/dev/null
  "$python" "$here/tools/run/bundle_libraries.py" "$build/dualparal" "$libraries"
  wheel_starter "$stage" >"$trial/run"
  chmod +x "$trial/run"
  if ! writes_alike "$trial"; then
    say "with stand-ins for what FFmpeg needs no part of, the wheel writes other files than the program: all libraries are copied"
    "$python" "$here/tools/run/bundle_libraries.py" --whole "$build/dualparal" "$libraries"
    writes_alike "$trial" || stop "the program in $stage does not write the files that $build/dualparal does"
  fi
  local platform version torch
  platform=$("$python" "$here/tools/run/platform_tag.py" "$program" \
    --torch "$(sed -n 's/^DUALPARAL_TORCH_DIR:PATH=//p' "$build/CMakeCache.txt")")
  version=$(sed -n 's/^CMAKE_PROJECT_VERSION:STATIC=//p' "$build/CMakeCache.txt")
  torch=$(grep -o '^torch==[^ ]*' "$here/tools/requirements.txt")
  DUALPARAL_PLATFORM=$platform DUALPARAL_VERSION=$version DUALPARAL_REQUIRES="$torch numpy safetensors" \
    "$python" -m pip wheel -q --disable-pip-version-check --no-deps --wheel-dir "$target" "$stage"
  local made=$target/dualparal-$version-py3-none-$platform.whl
  say "$made ($(du -h "$made" | cut -f1)): pip install it, then dualparal doctor"
}
