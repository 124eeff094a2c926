#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# usage: benchmarks/run.sh PYTHON BUILD_DIR [micro] [FLAGS], or ... compare [FLAGS]
set -euo pipefail
python=$1 build=$2
shift 2
what=micro
[[ $# -eq 0 || $1 == -* ]] || { what=$1; shift; } # flags alone are Google Benchmark's
case "$what" in
  micro) exec "$build/benchmarks/micro_benchmarks" "$@" ;;
  compare) exec "$python" "$(dirname "$0")/compare_diffusers.py" --build "$build" "$@" ;;
  *) echo "error: micro: expected micro or compare, got '$what'" >&2; exit 2 ;;
esac
