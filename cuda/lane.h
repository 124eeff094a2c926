// SPDX-License-Identifier: Apache-2.0
// A row is shared by the threads of a block, its lanes: each holds some groups of neighbouring numbers in registers, in
// fp32, from the one time that they are read to the one time that they are written. A group is 16 bytes where all lies
// on borders of 16 bytes, so that a warp reads without gaps. What a lane does is written without CUDA, in phases
// between which lanes wait for each other: the tests run all lanes of a row one after the other on a CPU.
#pragma once

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include "cuda/arguments.h"
#include "model/ops/row_math.h"

namespace dualparal::kernels {

/// A token, and the lane that works on it.
struct At {
  int64_t batch, token;
  int lane, lanes;
};

/// How a row is cut: groups of `width` numbers, so many to a lane. packed: a group is read and written at once.
template <class T, int kWidth, int kGroups, bool kIsPacked>
struct Cut {
  using Type = T;
  static constexpr int width = kWidth, groups = kGroups;
  static constexpr bool packed = kIsPacked;
};

/// Where a lane's group begins: groups of neighbouring lanes lie side by side.
template <class Cut>
DUALPARAL_BOTH int place(const At& at, int group) {
  return (group * at.lanes + at.lane) * Cut::width;
}

template <class T>
DUALPARAL_BOTH T* row_of(T* data, const Rows& rows, const At& at) {
  return data + at.batch * rows.batch_stride + at.token * rows.token_stride;
}

template <class T, int kWidth>
struct alignas(sizeof(T) * kWidth < 16 ? sizeof(T) * kWidth : 16) Pack {
  T numbers[kWidth];
};

/// Numbers [place, place + kWidth) of a row of `count`; those that are not there are 0.
template <bool kPacked, int kWidth, class T>
DUALPARAL_BOTH void load(const T* row, int place, int count, float (&numbers)[kWidth]) {
  if constexpr (kPacked) {
    Pack<T, kWidth> pack = {};
    if (place < count) pack = *reinterpret_cast<const Pack<T, kWidth>*>(row + place);
    for (int i = 0; i < kWidth; ++i) numbers[i] = static_cast<float>(pack.numbers[i]);
  } else {
    for (int i = 0; i < kWidth; ++i) numbers[i] = place + i < count ? static_cast<float>(row[place + i]) : 0.0f;
  }
}

template <bool kPacked, int kWidth, class T>
DUALPARAL_BOTH void store(T* row, int place, int count, const float (&numbers)[kWidth]) {
  if constexpr (kPacked) {
    if (place >= count) return;
    Pack<T, kWidth> pack;
    for (int i = 0; i < kWidth; ++i) pack.numbers[i] = static_cast<T>(numbers[i]);
    *reinterpret_cast<Pack<T, kWidth>*>(row + place) = pack;
  } else {
    for (int i = 0; i < kWidth; ++i)
      if (place + i < count) row[place + i] = static_cast<T>(numbers[i]);
  }
}

/// Whether groups of `width` numbers can be read at once.
struct Borders {
  int width;
  bool kept = true;

  template <class T>
  Borders& data(const T* pointer, int64_t bytes) {
    kept = kept && reinterpret_cast<uintptr_t>(pointer) % bytes == 0;
    return *this;
  }
  Borders& stride(int64_t numbers) {
    kept = kept && numbers % width == 0;
    return *this;
  }
  Borders& rows(const Rows& rows) { return stride(rows.batch_stride).stride(rows.token_stride); }
};

/// Lanes for a row of `count` numbers: whole warps. More than 1,024: the row is too long.
template <class Cut>
int lanes_for(int count) {
  const int numbers_of_warp = 32 * Cut::width * Cut::groups;
  return (count + numbers_of_warp - 1) / numbers_of_warp * 32;
}

/// Calls work(Cut) for rows of such numbers, in groups of 16 bytes where packed, else of `loose_width` numbers.
template <int kLooseWidth, class Work>
auto with_cut(Number number, bool packed, Work&& work) {
  constexpr int kLooseGroups = 8 / kLooseWidth;
  switch (number) {
    case Number::kBf16:
      return packed ? work(Cut<c10::BFloat16, 8, 2, true>{})
                    : work(Cut<c10::BFloat16, kLooseWidth, kLooseGroups, false>{});
    case Number::kFp16:
      return packed ? work(Cut<c10::Half, 8, 2, true>{}) : work(Cut<c10::Half, kLooseWidth, kLooseGroups, false>{});
    default:
      return packed ? work(Cut<float, 4, 2, true>{}) : work(Cut<float, kLooseWidth, kLooseGroups, false>{});
  }
}

inline int packed_width(Number number) { return number == Number::kFp32 ? 4 : 8; }

}  // namespace dualparal::kernels
