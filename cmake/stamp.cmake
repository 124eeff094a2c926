# SPDX-License-Identifier: Apache-2.0
# Run at every build: OUTPUT becomes a header that says of which commit the sources are. It is left as it is while it
# says the same, so that nothing is compiled anew.
execute_process(COMMAND git -C ${SOURCE} rev-parse HEAD OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE
                RESULT_VARIABLE no_git ERROR_QUIET)
# Results are made by the code: writing them anew does not change it.
execute_process(COMMAND git -C ${SOURCE} status --porcelain --untracked-files=no -- ":(top)" ":(top,exclude)results"
                OUTPUT_VARIABLE changed ERROR_QUIET)
if(no_git)
  set(commit "")
endif()
set(dirty false)
if(changed)
  set(dirty true)
endif()
file(CONFIGURE OUTPUT ${OUTPUT} @ONLY CONTENT [[
#pragma once
constexpr const char* kBuiltCommit = "@commit@";  // empty: not built from a Git repository
constexpr bool kBuiltDirty = @dirty@;             // with changes that are not committed
]])
