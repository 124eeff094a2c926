// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace dualparal {

/// Registers shapes-only versions of the fused operations that LibTorch has for real devices alone, once per process,
/// so that the model runs on meta tensors. Call before the first one.
void register_meta_kernels();

}  // namespace dualparal
