// SPDX-License-Identifier: Apache-2.0
#include "harness/media/codecs.h"

#include "harness/media/ffmpeg.h"

namespace dualparal {

std::vector<CodecUse> codec_uses() {
  return {{"libx264 encoder", "videos (--output)", avcodec_find_encoder_by_name("libx264") != nullptr},
          {"PNG encoder", "frames (--save-frames)", avcodec_find_encoder(AV_CODEC_ID_PNG) != nullptr},
          {"PNG decoder", "images (--image)", avcodec_find_decoder(AV_CODEC_ID_PNG) != nullptr},
          {"JPEG decoder", "images (--image)", avcodec_find_decoder(AV_CODEC_ID_MJPEG) != nullptr}};
}

std::string ffmpeg_version() { return av_version_info(); }

}  // namespace dualparal
