# SPDX-License-Identifier: Apache-2.0
# Part of ./run: a folder that carries the program to a machine without the project.

bundle_marker=.dualparal-bundle # lists the bundle's files: the folder is a bundle, and these may be replaced

# remove_bundle DIR: the files of the bundle that is there, and none that were added since
remove_bundle() {
  local file folder outside
  outside=$(grep -m 1 -E '^/|(^|/)\.\.(/|$)' "$1/$bundle_marker" || true)
  [ -z "$outside" ] || stop "$1/$bundle_marker: '$outside' lies outside of the bundle" 2
  while IFS= read -r file; do rm -f "$1/$file"; done <"$1/$bundle_marker"
  for folder in lib configs models; do
    [ ! -d "$1/$folder" ] || find "$1/$folder" -type d -empty -delete
  done
}

bundle_starter() {
  cat <<END
#!/bin/sh
# usage: [TORCH=/path/to/site-packages/torch] ./run generate ...
here=\$(cd "\$(dirname "\$0")" && pwd)
: "\${TORCH:=\$(python3 -c 'import importlib.util as u; print(u.find_spec("torch").submodule_search_locations[0])' 2>/dev/null)}"
if [ ! -e "\$TORCH/lib/libtorch_cpu.so" ]; then
  echo "error: no PyTorch in \${TORCH:-python3}: pip install $1, or set TORCH to the folder of an installed one" >&2
  exit 1
fi
LD_LIBRARY_PATH="\$TORCH/lib:\$here/lib\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}" exec "\$here/dualparal" "\$@"
END
}

# writes_alike DIR: whether the bundle writes the same video and images as the program
writes_alike() {
  local scratch same=1
  scratch=$(mktemp -d)
  local flags=(generate --steps 1 --frames 5 --threads 1 --quiet --no-quality)
  "$build/dualparal" "${flags[@]}" --output "$scratch/a.mp4" --save-frames "$scratch/a" &&
    TORCH=$(sed -n 's/^DUALPARAL_TORCH_DIR:PATH=//p' "$build/CMakeCache.txt") \
      "$1/run" "${flags[@]}" --output "$scratch/b.mp4" --save-frames "$scratch/b" 2>/dev/null &&
    cmp -s "$scratch/a.mp4" "$scratch/b.mp4" && diff -rq "$scratch/a" "$scratch/b" >/dev/null && same=0
  rm -rf "$scratch"
  return $same
}

bundle() {
  local target=${1:-$here/dist/dualparal}
  if [ -e "$target/$bundle_marker" ]; then
    :
  elif [ -e "$target" ] && { [ ! -d "$target" ] || [ -n "$(ls -A "$target")" ]; }; then
    stop "$target: neither an empty folder nor a bundle (no $bundle_marker in it): nothing was changed" 2
  fi
  compile
  [ ! -e "$target/$bundle_marker" ] || remove_bundle "$target"
  mkdir -p "$target/lib"
  : >"$target/$bundle_marker" # also of one that is interrupted
  cp "$build/dualparal" "$target/"
  local module
  for module in nccl cuda; do # loaded from beside the program
    [ ! -e "$build/libdualparal_$module.so" ] || cp "$build/libdualparal_$module.so" "$target/"
  done
  cp -r "$here/configs" "$here/models" "$target/"
  bundle_starter "$(grep -o '^torch==[^ ]*' "$here/tools/requirements.txt")" >"$target/run"
  chmod +x "$target/run"
  "$python" "$here/tools/run/bundle_libraries.py" "$build/dualparal" "$target/lib"
  if ! writes_alike "$target"; then
    say "with stand-ins for what FFmpeg needs no part of, the bundle writes other files than the program: all libraries are copied"
    "$python" "$here/tools/run/bundle_libraries.py" --whole "$build/dualparal" "$target/lib"
  fi
  {
    printf '%s\n' run dualparal
    for module in nccl cuda; do [ ! -e "$target/libdualparal_$module.so" ] || echo "libdualparal_$module.so"; done
    (cd "$here" && find configs models -type f)
    (cd "$target" && find lib -type f)
  } >"$target/$bundle_marker"
  say "bundle in $target ($(du -sh "$target" | cut -f1)); it needs $(grep -o '^torch==[^ ]*' "$here/tools/requirements.txt")"
}
