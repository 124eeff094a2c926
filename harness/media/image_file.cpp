// SPDX-License-Identifier: Apache-2.0
// PNG images and reading videos back, through the FFmpeg libraries.
#include "base/files.h"
#include "harness/media/ffmpeg.h"
#include "harness/media/video_file.h"

namespace dualparal {
namespace {

ffmpeg::Frame rgb_frame(int width, int height, const std::string& name) {
  ffmpeg::Frame frame(av_frame_alloc());
  frame->format = AV_PIX_FMT_RGB24;
  frame->width = width;
  frame->height = height;
  ffmpeg::check_code(av_frame_get_buffer(frame.get(), 0), name);
  return frame;
}

}  // namespace

void write_png(const std::filesystem::path& path, const at::Tensor& image) {
  const std::string name = path.string();
  check(image.dim() == 3 && image.size(2) == 3 && image.scalar_type() == at::kByte,
        "{}: expected an image [height, width, 3] of uint8, got [{}]", name, fmt::join(image.sizes(), ", "));
  const auto height = static_cast<int>(image.size(0)), width = static_cast<int>(image.size(1));
  const AVCodec* png = avcodec_find_encoder(AV_CODEC_ID_PNG);
  check(png != nullptr, "{}: this FFmpeg has no PNG encoder", name);
  ffmpeg::Codec codec(avcodec_alloc_context3(png));
  codec->width = width;
  codec->height = height;
  codec->pix_fmt = AV_PIX_FMT_RGB24;
  codec->time_base = {1, 1};
  ffmpeg::check_code(avcodec_open2(codec.get(), png, nullptr), name);
  const ffmpeg::Frame frame = rgb_frame(width, height, name);
  const at::Tensor rows = image.cpu().contiguous();
  const uint8_t* source[4] = {rows.const_data_ptr<uint8_t>()};
  const int strides[4] = {3 * width};
  av_image_copy(frame->data, frame->linesize, source, strides, AV_PIX_FMT_RGB24, width, height);
  ffmpeg::check_code(avcodec_send_frame(codec.get(), frame.get()), name);
  ffmpeg::check_code(avcodec_send_frame(codec.get(), nullptr), name);
  const ffmpeg::Packet packet(av_packet_alloc());
  ffmpeg::check_code(avcodec_receive_packet(codec.get(), packet.get()), name);
  write_file(path, std::string(reinterpret_cast<const char*>(packet->data), packet->size));
}

at::Tensor read_video(const std::filesystem::path& path) {
  av_log_set_level(AV_LOG_ERROR);  // it warns of any JPEG's usual colours
  const std::string name = path.string();
  AVFormatContext* opened = nullptr;
  ffmpeg::check_code(avformat_open_input(&opened, path.c_str(), nullptr, nullptr), name);
  const ffmpeg::Input input(opened);
  ffmpeg::check_code(avformat_find_stream_info(opened, nullptr), name);
  const AVCodec* decoder = nullptr;
  const int index = ffmpeg::check_code(av_find_best_stream(opened, AVMEDIA_TYPE_VIDEO, -1, -1, &decoder, 0), name);
  ffmpeg::Codec codec(avcodec_alloc_context3(decoder));
  ffmpeg::check_code(avcodec_parameters_to_context(codec.get(), opened->streams[index]->codecpar), name);
  ffmpeg::check_code(avcodec_open2(codec.get(), decoder, nullptr), name);
  const ffmpeg::Packet packet(av_packet_alloc());
  const ffmpeg::Frame frame(av_frame_alloc());
  ffmpeg::Scaler scaler;
  std::vector<at::Tensor> images;
  const auto receive = [&] {
    while (avcodec_receive_frame(codec.get(), frame.get()) == 0) {
      if (!scaler)
        scaler.reset(sws_getContext(frame->width, frame->height, static_cast<AVPixelFormat>(frame->format),
                                    frame->width, frame->height, AV_PIX_FMT_RGB24,
                                    SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT, nullptr, nullptr, nullptr));
      at::Tensor image = at::empty({frame->height, frame->width, 3}, at::kByte);
      uint8_t* rows[4] = {image.mutable_data_ptr<uint8_t>()};
      const int strides[4] = {3 * frame->width};
      sws_scale(scaler.get(), frame->data, frame->linesize, 0, frame->height, rows, strides);
      images.push_back(image);
    }
  };
  while (av_read_frame(opened, packet.get()) >= 0) {
    if (packet->stream_index == index) {
      ffmpeg::check_code(avcodec_send_packet(codec.get(), packet.get()), name);
      receive();
    }
    av_packet_unref(packet.get());
  }
  avcodec_send_packet(codec.get(), nullptr);
  receive();
  check(!images.empty(), "{}: the video has no frames", name);
  return at::stack(images);
}

at::Tensor read_image(const std::filesystem::path& path) {
  const std::string other = no_file(path);
  check(other.empty(), "{}: it is {}, expected an image file", path.string(), other);
  check(std::filesystem::exists(path), "{}: no such file", path.string());
  const at::Tensor frames = read_video(path);
  check(frames.size(0) == 1, "{}: expected an image, got a video of {} frames", path.string(), frames.size(0));
  return frames[0];
}

}  // namespace dualparal
