# SPDX-License-Identifier: Apache-2.0
# LibTorch from the PyTorch wheel, as one imported target.
#
# find_package(Torch) asks for the CUDA toolkit whenever the wheel was built for CUDA. The project
# needs only libtorch_cpu and libc10 at link time: the CUDA backend is loaded at run time when a
# CUDA device is asked for (base/device.cpp), so one binary serves machines with and without.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
if(NOT DUALPARAL_TORCH_DIR)
  execute_process(
    COMMAND ${Python3_EXECUTABLE} -c "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])"
    OUTPUT_VARIABLE DUALPARAL_TORCH_DIR OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE torch_missing ERROR_QUIET)
  if(torch_missing)
    message(FATAL_ERROR "No PyTorch in ${Python3_EXECUTABLE}. Run ./run setup, or pass "
                        "-DPython3_EXECUTABLE=... of an environment with torch, or -DDUALPARAL_TORCH_DIR=.../torch")
  endif()
endif()
set(DUALPARAL_TORCH_DIR ${DUALPARAL_TORCH_DIR} CACHE PATH "folder with LibTorch's include/ and lib/")

add_library(dualparal_torch INTERFACE)
target_include_directories(dualparal_torch SYSTEM INTERFACE
  ${DUALPARAL_TORCH_DIR}/include ${DUALPARAL_TORCH_DIR}/include/torch/csrc/api/include)
target_compile_definitions(dualparal_torch INTERFACE FMT_HEADER_ONLY)
target_link_libraries(dualparal_torch INTERFACE
  ${DUALPARAL_TORCH_DIR}/lib/libtorch_cpu.so ${DUALPARAL_TORCH_DIR}/lib/libc10.so)
# DT_RPATH, not RUNPATH: the CUDA backend is dlopen'ed by us and must find its own neighbours.
target_link_options(dualparal_torch INTERFACE -Wl,--disable-new-dtags)
list(APPEND CMAKE_BUILD_RPATH ${DUALPARAL_TORCH_DIR}/lib)
set(CMAKE_BUILD_RPATH ${CMAKE_BUILD_RPATH})

find_package(OpenMP COMPONENTS CXX)
file(READ ${DUALPARAL_TORCH_DIR}/version.py torch_version_py)
string(REGEX MATCH "__version__ = '([^']*)'" _ "${torch_version_py}")
message(STATUS "LibTorch ${CMAKE_MATCH_1} in ${DUALPARAL_TORCH_DIR}")
