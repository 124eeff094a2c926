#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# usage: benchmarks/run.sh PYTHON BUILD_DIR [compare|micro] [ARGS]
set -euo pipefail
python=$1 build=$2 what=${3:-micro}
shift $(($# < 3 ? $# : 3))
case "$what" in
  micro) exec "$build/benchmarks/micro_benchmarks" "$@" ;;
  compare) exec "$python" "$(dirname "$0")/compare_diffusers.py" --build "$build" "$@" ;;
  *) echo "error: expected micro or compare, got '$what'" >&2; exit 2 ;;
esac
