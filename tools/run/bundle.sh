# SPDX-License-Identifier: Apache-2.0
# Part of ./run: a folder that carries the program to a machine without the project.

bundle_marker=.dualparal-bundle # lists the bundle's files: the folder is a bundle, and these may be replaced

# remove_bundle DIR: the files of the bundle that is there, and none that were added since
remove_bundle() {
  local file folder outside
  outside=$(grep -m 1 -E '^/|(^|/)\.\.(/|$)' "$1/$bundle_marker" || true)
  [ -z "$outside" ] || stop "$1/$bundle_marker: '$outside' lies outside of the bundle" 2
  while IFS= read -r file; do rm -f "$1/$file"; done <"$1/$bundle_marker"
  for folder in lib configs models tests tools gpu; do
    [ ! -d "$1/$folder" ] || find "$1/$folder" -type d -empty -delete
  done
}

bundle_starter() {
  cat <<END
#!/bin/sh
# usage: [TORCH=/path/to/site-packages/torch] [PYTHON=python3] ./run generate ..., or ./run gpu ...
here=\$(cd "\$(dirname "\$0")" && pwd)
: "\${PYTHON:=python3}"
: "\${TORCH:=\$("\$PYTHON" -c 'import importlib.util as u; print(u.find_spec("torch").submodule_search_locations[0])' 2>/dev/null)}"
if [ ! -e "\$TORCH/lib/libtorch_cpu.so" ]; then
  echo "error: no PyTorch in \${TORCH:-\$PYTHON}: pip install $1, or set TORCH to the folder of an installed one" >&2
  exit 1
fi
if [ "\$1" = gpu ]; then # on a machine with one GPU: docs/run-gpu.md
  shift
  PYTHONPATH="\$(dirname "\$TORCH")\${PYTHONPATH:+:\$PYTHONPATH}" exec "\$PYTHON" "\$here/tools/gpu/batch.py" --program "\$here/dualparal" \\
    --probe "\$here/tests/parity_probe" --unit-tests "\$here/tests/unit_tests" --data "\$here/gpu" --results "\$here/results" \\
    --libraries "\$TORCH/lib:\$here/lib" "\$@"
fi
LD_LIBRARY_PATH="\$TORCH/lib:\$here/lib\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}" exec "\$here/dualparal" "\$@"
END
}

# writes_alike DIR: whether the bundle writes the same video and images as the program, and simulates the same
writes_alike() {
  local scratch same=1 torch name
  scratch=$(mktemp -d)
  torch=$(sed -n 's/^DUALPARAL_TORCH_DIR:PATH=//p' "$build/CMakeCache.txt")
  local flags=(generate --steps 1 --frames 5 --threads 1 --quiet --no-quality --prompt a)
  "$build/dualparal" "${flags[@]}" --mode trace --world-size 2 --strategy ring --traces "$scratch/traces" || true
  for name in a b; do
    local run=("$build/dualparal")
    [ $name = a ] || run=(env "TORCH=$torch" "$1/run")
    "${run[@]}" "${flags[@]}" --output "$scratch/$name/v.mp4" --save-frames "$scratch/$name" 2>/dev/null &&
      "${run[@]}" simulate "$scratch/traces" --cluster 8x-h100 --quiet --timeline "$scratch/$name/timeline.json" 2>/dev/null || break
  done
  [ -e "$scratch/b/timeline.json" ] && diff -rq "$scratch/a" "$scratch/b" >/dev/null && same=0
  rm -rf "$scratch"
  return $same
}

# bundle_gpu DIR: what ./run gpu takes besides the program
bundle_gpu() {
  gpu_data "$build/gpu"
  mkdir -p "$1/tests" "$1/tools"
  local name
  for name in unit_tests parity_probe; do strip -o "$1/tests/$name" "$build/tests/$name"; done
  cp -r "$here/tools/gpu" "$1/tools/"
  rm -rf "$1/tools/gpu/__pycache__" "$1/tools/gpu/pieces/__pycache__"
  mkdir -p "$1/gpu"
  cp -r "$build/gpu/." "$1/gpu/"
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
  local modules=() module
  for module in "$build"/libdualparal_*.so; do # loaded from beside the program
    [ ! -e "$module" ] || { cp "$module" "$target/"; modules+=("$(basename "$module")"); }
  done
  cp -r "$here/configs" "$here/models" "$target/"
  bundle_gpu "$target"
  bundle_starter "$(grep -o '^torch==[^ ]*' "$here/tools/requirements.txt")" >"$target/run"
  chmod +x "$target/run"
  local programs=("$build/dualparal" "$build/tests/unit_tests" "$build/tests/parity_probe")
  "$python" "$here/tools/run/bundle_libraries.py" "${programs[@]}" "$target/lib"
  if ! writes_alike "$target"; then
    say "with stand-ins for what FFmpeg and SimGrid need no part of, the bundle writes other files than the program: all libraries are copied"
    "$python" "$here/tools/run/bundle_libraries.py" --whole "${programs[@]}" "$target/lib"
  fi
  {
    printf '%s\n' run dualparal "${modules[@]}"
    (cd "$here" && find configs models -type f)
    (cd "$target" && find lib tests tools gpu -type f)
  } >"$target/$bundle_marker"
  say "bundle in $target ($(du -sh "$target" | cut -f1)); it needs $(grep -o '^torch==[^ ]*' "$here/tools/requirements.txt")"
}
