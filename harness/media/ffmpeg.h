// SPDX-License-Identifier: Apache-2.0
// Owning pointers and error texts for the FFmpeg libraries.
#pragma once

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/imgutils.h>
#include <libavutil/opt.h>
#include <libswscale/swscale.h>
}

#include <memory>
#include <string>

#include "base/errors.h"

namespace dualparal::ffmpeg {

template <auto Free>
struct Deleter {
  template <class T>
  void operator()(T* p) const {
    if constexpr (std::is_invocable_v<decltype(Free), T**>)
      Free(&p);
    else
      Free(p);
  }
};

using Codec = std::unique_ptr<AVCodecContext, Deleter<avcodec_free_context>>;
using Frame = std::unique_ptr<AVFrame, Deleter<av_frame_free>>;
using Packet = std::unique_ptr<AVPacket, Deleter<av_packet_free>>;
using Scaler = std::unique_ptr<SwsContext, Deleter<sws_freeContext>>;
using Input = std::unique_ptr<AVFormatContext, Deleter<avformat_close_input>>;

inline std::string reason(int code) {
  char text[AV_ERROR_MAX_STRING_SIZE] = "";
  av_strerror(code, text, sizeof text);
  return text;
}

/// Throws Error "`what`: FFmpeg's reason" for a negative code, else returns it.
inline int check_code(int code, const std::string& what) {
  check(code >= 0, "{}: {}", what, reason(code));
  return code;
}

}  // namespace dualparal::ffmpeg
