# SPDX-License-Identifier: Apache-2.0
# Part of ./run: everything that a machine with one GPU shall answer (docs/run-gpu.md), and what that takes besides the program.

# gpu_libraries DIR: blocks that spin, and times by kernel; each is left out, with a word, where its tools are missing
gpu_libraries() {
  local packages include nvcc
  packages=$(sed -n 's/^DUALPARAL_TORCH_DIR:PATH=//p' "$build/CMakeCache.txt")/../nvidia
  nvcc=$(command -v nvcc || echo "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc")
  if [ -x "$nvcc" ]; then # machine code for what is common, PTX for what comes
    local architectures=() arch
    for arch in 80 86 89 90; do architectures+=(-gencode "arch=compute_$arch,code=sm_$arch"); done
    "$nvcc" -O2 -shared -Xcompiler -fPIC "${architectures[@]}" -gencode arch=compute_90,code=compute_90 -o "$1/libspin.so" \
      "$here/tools/gpu/spin.cu" || say "tools/gpu/spin.cu does not compile here: it is left out"
  else
    say "no nvcc: without libspin.so, the piece spin needs one on the machine with the GPU"
  fi
  for include in "$packages/cu13/include" "${CUDA_HOME:-/usr/local/cuda}/include"; do
    [ ! -e "$include/cupti.h" ] || break
  done
  if [ -e "$include/cupti.h" ]; then
    g++ -std=c++20 -O2 -shared -fPIC "-I$include" -o "$1/libkernel_trace.so" "$here/tools/gpu/kernel_trace.cpp" \
      "-L$packages/cu13/lib" "-L$include/../lib64" -l:libcupti.so.13 || say "tools/gpu/kernel_trace.cpp does not build here: it is left out"
  else
    say "no cupti.h: without libkernel_trace.so there is no table of kernels"
  fi
}

# gpu_data DIR: libraries, and references of a CPU, made once for each program
gpu_data() {
  local stamp
  stamp=$(cat "$build/dualparal" "$build/tests/parity_probe" "$here"/tools/gpu/{references.py,spin.cu,kernel_trace.cpp} | sha256sum)
  [ "$(cat "$1/.made-of" 2>/dev/null || true)" != "$stamp" ] || return 0
  mkdir -p "$1"
  say "libraries and references for a machine with a GPU (some minutes, once for each program)"
  gpu_libraries "$1"
  OMP_NUM_THREADS=1 "$python" "$here/tools/gpu/references.py" "$build/dualparal" "$build/tests/parity_probe" "$1/references"
  echo "$stamp" >"$1/.made-of"
}

gpu() {
  compile
  gpu_data "$build/gpu"
  exec "$python" "$here/tools/gpu/batch.py" --program "$build/dualparal" --probe "$build/tests/parity_probe" \
    --unit-tests "$build/tests/unit_tests" --data "$build/gpu" --results "$here/results" "$@"
}
