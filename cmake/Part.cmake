# SPDX-License-Identifier: Apache-2.0
# A target for each folder, which sees its own headers and those of the folders that it names: an include path of its own
# (build/views/NAME, a link to the folder) stands for each, so that a wrong include does not build.
function(dualparal_view name folder)
  get_filename_component(parent views/${name}/${folder} DIRECTORY)
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/${parent})
  file(CREATE_LINK ${CMAKE_SOURCE_DIR}/${folder} ${CMAKE_BINARY_DIR}/views/${name}/${folder} SYMBOLIC)
endfunction()

# dualparal_part(name SOURCES ... USES ...): the static library of this folder, dualparal_NAME.
function(dualparal_part name)
  cmake_parse_arguments(PART "" "" "SOURCES;USES" ${ARGN})
  file(RELATIVE_PATH folder ${CMAKE_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR})
  dualparal_view(${name} ${folder})
  add_library(dualparal_${name} STATIC ${PART_SOURCES})
  target_include_directories(dualparal_${name} PUBLIC ${CMAKE_BINARY_DIR}/views/${name})
  target_link_libraries(dualparal_${name} PUBLIC dualparal_options dualparal_torch Threads::Threads ${PART_USES})
  # GCC 12 sees reads outside of std::string that are not there (GCC bug 105651).
  target_compile_options(dualparal_${name} PRIVATE -Wno-array-bounds)
  if(name STREQUAL "base")
    target_precompile_headers(dualparal_base PRIVATE <ATen/ATen.h> <fmt/format.h> <fmt/ranges.h> <string> <vector>
      "${CMAKE_SOURCE_DIR}/base/json.h")
  else()
    target_precompile_headers(dualparal_${name} REUSE_FROM dualparal_base)
  endif()
endfunction()

# dualparal_program(name SOURCES ... USES ...): an executable that shares the precompiled header.
function(dualparal_program name)
  cmake_parse_arguments(PROGRAM "" "" "SOURCES;USES" ${ARGN})
  add_executable(${name} ${PROGRAM_SOURCES})
  target_link_libraries(${name} PRIVATE ${PROGRAM_USES})
  # -fPIC as the libraries were: the header must have been compiled alike. For the warning see above.
  target_compile_options(${name} PRIVATE -fPIC -Wno-array-bounds)
  target_precompile_headers(${name} REUSE_FROM dualparal_base)
endfunction()
