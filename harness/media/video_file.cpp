// SPDX-License-Identifier: Apache-2.0
#include "harness/media/video_file.h"

#include "harness/media/ffmpeg.h"
#include "harness/media/growing_mp4.h"

namespace dualparal {

struct VideoFile::Encoder {
  Encoder(const std::filesystem::path& path, int64_t height, int64_t width, int64_t fps,
          const std::vector<Chapter>& chapters, int64_t frames)
      : name(path.string()), file(path, chapters, frames), height(height), width(width) {
    av_log_set_level(AV_LOG_ERROR);
    const AVCodec* h264 = avcodec_find_encoder_by_name("libx264");
    check(h264 != nullptr, "{}: this FFmpeg has no libx264 encoder", name);
    codec.reset(avcodec_alloc_context3(h264));
    // 4:2:0 colour needs even sides; a missing row or column repeats its neighbour.
    codec->width = static_cast<int>(width + width % 2);
    codec->height = static_cast<int>(height + height % 2);
    codec->time_base = {1, static_cast<int>(fps)};
    codec->framerate = {static_cast<int>(fps), 1};
    codec->pix_fmt = AV_PIX_FMT_YUV420P;
    codec->color_range = AVCOL_RANGE_MPEG;
    codec->colorspace = AVCOL_SPC_SMPTE170M;
    codec->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;  // as mp4 has it
    av_opt_set(codec->priv_data, "crf", "15", 0);
    av_opt_set(codec->priv_data, "preset", "veryfast", 0);
    codec->thread_count = 1;  // decoding the next frames has better use for the cores
    ffmpeg::check_code(avcodec_open2(codec.get(), h264, nullptr), name);
    allocate(source, AV_PIX_FMT_RGB24);
    allocate(frame, codec->pix_fmt);
    scaler.reset(sws_getContext(codec->width, codec->height, AV_PIX_FMT_RGB24, codec->width, codec->height,
                                AV_PIX_FMT_YUV420P, SWS_BICUBIC | SWS_ACCURATE_RND, nullptr, nullptr, nullptr));
    check(scaler != nullptr, "{}: no colour conversion for {} x {}", name, width, height);
    packet.reset(av_packet_alloc());
  }

  // A null frame flushes the encoder.
  void encode(const AVFrame* picture) {
    ffmpeg::check_code(avcodec_send_frame(codec.get(), picture), name);
    for (;;) {
      const int code = avcodec_receive_packet(codec.get(), packet.get());
      if (code == AVERROR(EAGAIN) || code == AVERROR_EOF) return;
      ffmpeg::check_code(code, name);
      file.write(*codec, *packet);
    }
  }

  void allocate(ffmpeg::Frame& target, int format) const {
    target.reset(av_frame_alloc());
    target->format = format;
    target->width = codec->width;
    target->height = codec->height;
    ffmpeg::check_code(av_frame_get_buffer(target.get(), 0), name);
  }

  void write(const at::Tensor& image) {  // [height, width, 3]
    ffmpeg::check_code(av_frame_make_writable(frame.get()), name);
    // The conversion reads some bytes past the end of the picture, which a frame of FFmpeg's has and a tensor does not.
    av_image_copy_plane(source->data[0], source->linesize[0], image.const_data_ptr<uint8_t>(),
                        static_cast<int>(image.stride(0)), 3 * codec->width, codec->height);
    sws_scale(scaler.get(), source->data, source->linesize, 0, codec->height, frame->data, frame->linesize);
    frame->pts = next_frame++;
    encode(frame.get());
  }

  std::string name;
  GrowingMp4 file;
  int64_t height, width;
  int64_t next_frame = 0;
  ffmpeg::Codec codec;
  ffmpeg::Frame source, frame;  // RGB; as it is encoded
  ffmpeg::Packet packet;
  ffmpeg::Scaler scaler;
};

VideoFile::VideoFile(const std::filesystem::path& path, int64_t height, int64_t width, int64_t fps,
                     const std::vector<Chapter>& chapters, int64_t frames)
    : encoder_(std::make_unique<Encoder>(path, height, width, fps, chapters, frames)) {}

VideoFile::~VideoFile() = default;

void VideoFile::write(const at::Tensor& frames) {
  check(frames.dim() == 4 && frames.size(1) == encoder_->height && frames.size(2) == encoder_->width &&
            frames.size(3) == 3 && frames.scalar_type() == at::kByte,
        "{}: expected frames [frames, {}, {}, 3] of uint8, got [{}] of {}", encoder_->name, encoder_->height,
        encoder_->width, fmt::join(frames.sizes(), ", "), c10::toString(frames.scalar_type()));
  for (int64_t i = 0; i < frames.size(0); ++i) {
    at::Tensor image = frames[i];
    if (encoder_->width % 2) image = at::cat({image, image.slice(1, encoder_->width - 1)}, 1);
    if (encoder_->height % 2) image = at::cat({image, image.slice(0, encoder_->height - 1)}, 0);
    encoder_->write(image.contiguous());
  }
}

void VideoFile::finish(VideoIndex index) {
  encoder_->encode(nullptr);
  encoder_->file.finish(index);
}

at::Tensor to_uint8_frames(const at::Tensor& pixels) {
  check(pixels.dim() == 5 && pixels.size(0) == 1 && pixels.size(1) == 3,
        "video: expected pixels [1, 3, frames, height, width], got [{}]", fmt::join(pixels.sizes(), ", "));
  return pixels[0]
      .permute({1, 2, 3, 0})
      .mul(0.5)
      .add(0.5)
      .clamp_(0, 1)
      .mul_(255)
      .round_()
      .to(at::kByte)
      .cpu()
      .contiguous();
}

}  // namespace dualparal
