# SPDX-License-Identifier: Apache-2.0
# What the NCCL module is built from: CUDA's and NCCL's headers, from the toolkit or from the wheel's nvidia packages,
# and the wheel's CUDA backend. DUALPARAL_NCCL: whether all of it is there. The program itself needs none of it.
set(nvidia_packages ${DUALPARAL_TORCH_DIR}/../nvidia)
# One folder that has them all: mixing two versions of CUDA's headers does not end well.
find_path(DUALPARAL_CUDA_INCLUDE_DIR NAMES crt/host_defines.h
  HINTS ${nvidia_packages}/cu13/include ${CUDAToolkit_ROOT}/include $ENV{CUDA_HOME}/include /usr/local/cuda/include
  NO_DEFAULT_PATH)
find_path(DUALPARAL_NCCL_INCLUDE_DIR nccl.h
  HINTS ${nvidia_packages}/nccl/include ${DUALPARAL_CUDA_INCLUDE_DIR})
set(DUALPARAL_NCCL OFF)
set(nccl_missing "")
foreach(header cuda_runtime_api.h cublas_v2.h cusparse.h cusolverDn.h)
  if(NOT EXISTS ${DUALPARAL_CUDA_INCLUDE_DIR}/${header})
    list(APPEND nccl_missing ${header})
  endif()
endforeach()
if(NOT DUALPARAL_NCCL_INCLUDE_DIR)
  list(APPEND nccl_missing nccl.h)
endif()
if(NOT EXISTS ${DUALPARAL_TORCH_DIR}/lib/libtorch_cuda.so)
  list(APPEND nccl_missing "libtorch_cuda.so (this LibTorch is for CPUs)")
endif()
if(nccl_missing)
  list(JOIN nccl_missing ", " nccl_missing)
  message(STATUS "NCCL: off, missing: ${nccl_missing}")
else()
  set(DUALPARAL_NCCL ON)
  message(STATUS "NCCL: on, CUDA headers in ${DUALPARAL_CUDA_INCLUDE_DIR}")
endif()
