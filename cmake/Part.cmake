# SPDX-License-Identifier: Apache-2.0
# dualparal_part(name SOURCES ... USES ...): the static library of one folder.
function(dualparal_part name)
  cmake_parse_arguments(PART "" "" "SOURCES;USES" ${ARGN})
  add_library(dualparal_${name} STATIC ${PART_SOURCES})
  target_include_directories(dualparal_${name} PUBLIC ${CMAKE_SOURCE_DIR})
  target_link_libraries(dualparal_${name} PUBLIC dualparal_options dualparal_torch Threads::Threads ${PART_USES})
  if(name STREQUAL "runtime")
    target_precompile_headers(dualparal_runtime PRIVATE <ATen/ATen.h> <fmt/format.h> <fmt/ranges.h> <string> <vector> "${CMAKE_SOURCE_DIR}/runtime/json.h")
  else()
    target_precompile_headers(dualparal_${name} REUSE_FROM dualparal_runtime)
  endif()
endfunction()

# dualparal_program(name SOURCES ... USES ...): an executable that shares the precompiled header.
function(dualparal_program name)
  cmake_parse_arguments(PROGRAM "" "" "SOURCES;USES" ${ARGN})
  add_executable(${name} ${PROGRAM_SOURCES})
  target_link_libraries(${name} PRIVATE ${PROGRAM_USES})
  # -fPIC as the libraries were: the header must have been compiled alike. GCC 12 sees reads outside of std::string that
  # are not there (GCC bug 105651).
  target_compile_options(${name} PRIVATE -fPIC -Wno-array-bounds)
  target_precompile_headers(${name} REUSE_FROM dualparal_runtime)
endfunction()
