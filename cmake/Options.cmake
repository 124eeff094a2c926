# SPDX-License-Identifier: Apache-2.0
# Compiler settings shared by every target of the project.
add_library(dualparal_options INTERFACE)
# The two exceptions: GCC 12 sees overflows in std::string that are not there.
target_compile_options(dualparal_options INTERFACE -Wall -Wextra -Wno-unused-parameter -Wno-stringop-overflow -Wno-restrict)
if(DUALPARAL_WERROR)
  target_compile_options(dualparal_options INTERFACE -Werror)
endif()
if(DUALPARAL_SANITIZE)
  target_compile_options(dualparal_options INTERFACE -fsanitize=address,undefined -fno-omit-frame-pointer)
  target_link_options(dualparal_options INTERFACE -fsanitize=address,undefined)
endif()

find_program(DUALPARAL_CCACHE ccache)
if(DUALPARAL_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${DUALPARAL_CCACHE})
  target_compile_options(dualparal_options INTERFACE -fpch-preprocess)
endif()
find_program(DUALPARAL_MOLD mold)
if(DUALPARAL_MOLD)
  target_link_options(dualparal_options INTERFACE -fuse-ld=mold)
endif()
