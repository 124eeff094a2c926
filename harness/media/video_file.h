// SPDX-License-Identifier: Apache-2.0
// H.264 mp4, written while frames arrive. Until it is finished, it lies at growing_path() and plays there.
#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace dualparal {

/// A part of a video with a title, up to the next one.
struct Chapter {
  int64_t frame = 0;  ///< with which it begins
  std::string title;
};

/// "out.partial.mp4" for "out.mp4".
std::filesystem::path growing_path(const std::filesystem::path& target);
/// Removes the growing file of a process that was killed before it had any frames.
void remove_empty_growing(const std::filesystem::path& target);

/// How a finished mp4 tells where its frames are: in one index at the front, which is made in the end and takes memory
/// that grows with the video, or in that of each of its fragments.
enum class VideoIndex { kWhole, kFragments };

class VideoFile {
 public:
  /// height, width: pixels (padded to even numbers in the file); fps: frames per second. chapters: ascending; `frames`
  /// is where the last one ends, of a video with some; 0: not known.
  VideoFile(const std::filesystem::path& path, int64_t height, int64_t width, int64_t fps,
            const std::vector<Chapter>& chapters = {}, int64_t frames = 0);
  /// Without finish() what has been encoded stays at growing_path(), until another video grows there.
  ~VideoFile();

  /// frames: [frames, height, width, 3] uint8 on the CPU.
  void write(const at::Tensor& frames);
  /// Completes the file and puts it at its path. Error if it cannot be written, or no frame came.
  void finish(VideoIndex index = VideoIndex::kWhole);

 private:
  struct Encoder;
  std::unique_ptr<Encoder> encoder_;
};

/// Pixels [1, 3, frames, height, width] in -1..1 -> [frames, height, width, 3] uint8 on the CPU, rounded as
/// diffusers' VideoProcessor does.
at::Tensor to_uint8_frames(const at::Tensor& pixels);

/// One PNG image. image: [height, width, 3] uint8 on the CPU.
void write_png(const std::filesystem::path& path, const at::Tensor& image);

/// One image, PNG or JPEG: [height, width, 3] uint8, without its transparency.
at::Tensor read_image(const std::filesystem::path& path);

/// All frames of a video file: [frames, height, width, 3] uint8. For tests and for scoring stored videos.
at::Tensor read_video(const std::filesystem::path& path);

}  // namespace dualparal
