// SPDX-License-Identifier: Apache-2.0
// The mp4 around encoded frames: it plays while it grows, and when its program was killed.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/files.h"
#include "harness/media/ffmpeg.h"
#include "harness/media/video_file.h"

namespace dualparal {

/// Fragments of a second (ISO/IEC 14496-12, movie fragments) in growing_path(target), each on disk as soon as it is
/// whole; nothing is kept in memory of those that are written. finish() makes the file at `target` of them.
class GrowingMp4 {
 public:
  /// Takes the growing file. What an earlier run has left there stays until the first frame comes. Error if the target
  /// cannot be written, or another run is writing there. chapters, frames: see VideoFile.
  GrowingMp4(const std::filesystem::path& target, std::vector<Chapter> chapters, int64_t frames);
  /// Without finish(), a file with fragments stays.
  ~GrowingMp4();
  GrowingMp4(const GrowingMp4&) = delete;
  GrowingMp4& operator=(const GrowingMp4&) = delete;

  /// The next packet of an encoder, whose times are in codec.time_base; always the same one.
  void write(const AVCodecContext& codec, AVPacket& packet);
  /// whole: with one index of all frames, at the front, in which players find every place at once, and chapters as a
  /// track; memory for it grows with the video. Else the fragments, with nothing read again.
  void finish(VideoIndex index);

 private:
  void begin(const AVCodecContext& codec);
  void rewrite() const;

  std::string name_;
  PendingFile file_;
  std::filesystem::path growing_;
  std::vector<Chapter> chapters_;
  int64_t frames_;
  int lock_ = -1;  // the growing file, open and locked
  AVRational frame_time_{};
  AVFormatContext* format_ = nullptr;  // once the first packet has come
};

}  // namespace dualparal
