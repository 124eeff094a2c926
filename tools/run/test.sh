# SPDX-License-Identifier: Apache-2.0
# Part of ./run: every test that needs no GPU.

run_tests() {
  compile
  apt_packages tools/apt-packages-test.txt
  python_packages tools/requirements-test.txt
  cd "$here" # the tests' own paths
  say "unit tests"
  local passed=0 failed=0 unit_log=$build/unit_tests.log parity_log=$build/parity.log
  "$build/tests/unit_tests" --log_level=test_suite --report_level=short >"$unit_log" 2>&1 || true
  grep -E "error:|fatal error:" "$unit_log" >&2 || true
  passed=$(grep -oE "[0-9]+ test cases? out of [0-9]+ passed" "$unit_log" | grep -oE "^[0-9]+" || echo 0)
  failed=$(grep -oE "[0-9]+ test cases? out of [0-9]+ (failed|aborted)" "$unit_log" | grep -oE "^[0-9]+" | paste -sd+ | bc || true)
  if ! grep -qE "test cases? out of" "$unit_log"; then
    say "the unit tests did not finish:"; tail -n 20 "$unit_log" >&2; failed=$(( ${failed:-0} + 1 ))
  fi
  say "unit tests: ${passed:-0} passed, ${failed:-0} failed"
  say "tests against diffusers and transformers, and of the program"
  # Two files at a time: most tests wait for a program of one or two ranks.
  DUALPARAL_BUILD=$build OMP_NUM_THREADS=1 "$python" -m pytest -q -p no:cacheprovider -n 2 --dist loadfile tests 2>&1 | tee "$parity_log" || true
  local summary python_passed python_failed python_errors
  summary=$(tail -n 1 "$parity_log")
  count() { grep -oE "[0-9]+ $1" <<<"$summary" | grep -oE "[0-9]+" || echo 0; }
  python_passed=$(count passed) python_failed=$(count failed) python_errors=$(count "errors?")
  [ "$python_passed" -gt 0 ] || python_failed=$((python_failed + 1))
  passed=$(( ${passed:-0} + python_passed )) failed=$(( ${failed:-0} + python_failed + python_errors ))
  echo "$passed passed, $failed failed"
  [ "$failed" -eq 0 ]
}
