# SPDX-License-Identifier: Apache-2.0
# Libraries from the distribution (Debian package names in tools/apt-packages.txt).
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(ZLIB REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(CLI11 2.1 REQUIRED)
pkg_check_modules(YAMLCPP REQUIRED IMPORTED_TARGET yaml-cpp)
pkg_check_modules(SENTENCEPIECE REQUIRED IMPORTED_TARGET sentencepiece)
pkg_check_modules(ICU REQUIRED IMPORTED_TARGET icu-uc)
pkg_check_modules(SIMGRID REQUIRED IMPORTED_TARGET simgrid)
pkg_check_modules(FFMPEG REQUIRED IMPORTED_TARGET libavformat libavcodec libavutil libswscale)

# NVTX 3 is header-only: from the CUDA toolkit, or from the wheel's nvidia packages.
find_path(DUALPARAL_NVTX_DIR nvtx3/nvToolsExt.h
  HINTS /usr/local/cuda/include ${DUALPARAL_TORCH_DIR}/../nvidia/nvtx/include
        ${DUALPARAL_TORCH_DIR}/../nvidia/cu13/include)
