// SPDX-License-Identifier: Apache-2.0
#include "harness/media/growing_mp4.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace dualparal {
namespace fs = std::filesystem;
namespace {

constexpr const char* kFragmentMicroseconds = "1000000";

struct Output {
  AVFormatContext* format = nullptr;

  ~Output() { close(); }
  // Only closing tells of a full disk: libavformat buffers.
  int close() {
    const int code = format && format->pb ? avio_closep(&format->pb) : 0;
    avformat_free_context(format);
    format = nullptr;
    return code;
  }
};

// FFmpeg frees them with the rest of its context.
void add_chapters(AVFormatContext& format, const std::vector<Chapter>& chapters, int64_t frames,
                  AVRational frame_time) {
  if (chapters.empty()) return;
  format.chapters = static_cast<AVChapter**>(av_calloc(chapters.size(), sizeof(AVChapter*)));
  check(format.chapters != nullptr, "out of memory for {} chapters", chapters.size());
  for (size_t i = 0; i < chapters.size(); ++i) {
    auto* chapter = static_cast<AVChapter*>(av_mallocz(sizeof(AVChapter)));
    check(chapter != nullptr, "out of memory for {} chapters", chapters.size());
    format.chapters[format.nb_chapters++] = chapter;
    chapter->id = static_cast<int64_t>(i);
    chapter->time_base = frame_time;
    chapter->start = chapters[i].frame;
    chapter->end = i + 1 < chapters.size() ? chapters[i + 1].frame : std::max(frames, chapters[i].frame + 1);
    av_dict_set(&chapter->metadata, "title", chapters[i].title.c_str(), 0);
  }
}

// An mp4 with one video stream. options: of the muxer.
AVFormatContext* open_mp4(const fs::path& path, const AVCodecParameters& codec, AVRational frame_time,
                          const std::string& name) {
  AVFormatContext* format = nullptr;
  ffmpeg::check_code(avformat_alloc_output_context2(&format, nullptr, "mp4", path.c_str()), name);
  Output owned{format};
  AVStream* stream = avformat_new_stream(format, nullptr);
  check(stream != nullptr, "{}: out of memory", name);
  ffmpeg::check_code(avcodec_parameters_copy(stream->codecpar, &codec), name);
  stream->codecpar->codec_tag = 0;  // the muxer's own
  stream->time_base = frame_time;
  ffmpeg::check_code(avio_open(&format->pb, path.c_str(), AVIO_FLAG_WRITE), name);
  owned.format = nullptr;
  return format;
}

void write_header(AVFormatContext& format, std::vector<std::pair<const char*, const char*>> settings,
                  const std::string& name) {
  AVDictionary* options = nullptr;
  for (const auto& [key, value] : settings) av_dict_set(&options, key, value, 0);
  const int code = avformat_write_header(&format, &options);
  av_dict_free(&options);
  ffmpeg::check_code(code, name);
}

}  // namespace

fs::path growing_path(const fs::path& target) {
  return target.parent_path() / (target.stem().string() + ".partial" + target.extension().string());
}

void remove_empty_growing(const fs::path& target) {
  std::error_code none;
  if (fs::file_size(growing_path(target), none) == 0 && !none) fs::remove(growing_path(target), none);
}

GrowingMp4::GrowingMp4(const fs::path& target, std::vector<Chapter> chapters, int64_t frames)
    : name_(target.string()),
      file_(target),
      growing_(file_.path().parent_path() / growing_path(target).filename()),  // where a link leads, too
      chapters_(std::move(chapters)),
      frames_(frames) {
  lock_ = ::open(growing_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  const int not_opened = errno;
  check(lock_ >= 0, "{}: cannot write: {}", growing_.string(), std::strerror(not_opened));
  // A file system without locks is no error: then it is the user who must give each run a path of its own.
  if (::flock(lock_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    ::close(lock_);
    fail("{}: another run is writing its video there; give each run an --output of its own", growing_.string());
  }
  if (::lseek(lock_, 0, SEEK_END) == 0) note_pending(growing_);
}

GrowingMp4::~GrowingMp4() {
  Output{format_}.close();  // if it was not finished
  std::error_code ignored;
  if (::lseek(lock_, 0, SEEK_END) == 0) fs::remove(growing_, ignored);
  forget_pending(growing_);
  ::close(lock_);
}

void GrowingMp4::begin(const AVCodecContext& codec) {
  frame_time_ = codec.time_base;
  AVCodecParameters* parameters = avcodec_parameters_alloc();
  check(parameters != nullptr, "{}: out of memory", name_);
  const int code = avcodec_parameters_from_context(parameters, &codec);
  if (code >= 0) format_ = open_mp4(growing_, *parameters, frame_time_, name_);
  avcodec_parameters_free(&parameters);
  ffmpeg::check_code(code, name_);
  forget_pending(growing_);
  add_chapters(*format_, chapters_, frames_, frame_time_);
  format_->flags |= AVFMT_FLAG_FLUSH_PACKETS;
  // No list of the fragments at the end: it would grow in memory.
  write_header(*format_,
               {{"movflags", "+empty_moov+default_base_moof+skip_trailer"}, {"frag_duration", kFragmentMicroseconds}},
               name_);
}

void GrowingMp4::write(const AVCodecContext& codec, AVPacket& packet) {
  if (!format_) begin(codec);
  packet.duration = 1;
  packet.stream_index = 0;
  av_packet_rescale_ts(&packet, frame_time_, format_->streams[0]->time_base);
  ffmpeg::check_code(av_interleaved_write_frame(format_, &packet), name_);
}

void GrowingMp4::finish(VideoIndex index) {
  check(format_ != nullptr, "{}: the video has no frames", name_);
  ffmpeg::check_code(av_write_trailer(format_), name_);
  Output output{std::exchange(format_, nullptr)};
  ffmpeg::check_code(output.close(), name_);
  if (index == VideoIndex::kWhole) {
    rewrite();
    file_.commit();
    fs::remove(growing_);
  } else {
    fs::rename(growing_, file_.path());
    file_.commit();
  }
}

// Packet by packet, nothing is encoded again.
void GrowingMp4::rewrite() const {
  AVFormatContext* opened = nullptr;
  // Nothing is guessed: other formats' readers belong to libraries that a bundle has in name alone.
  ffmpeg::check_code(avformat_open_input(&opened, growing_.c_str(), av_find_input_format("mp4"), nullptr), name_);
  const ffmpeg::Input input(opened);
  const AVStream& from = *input->streams[0];
  Output output{open_mp4(file_.path(), *from.codecpar, frame_time_, name_)};
  AVFormatContext& format = *output.format;
  add_chapters(format, chapters_, frames_, frame_time_);
  write_header(format, {{"movflags", "+faststart"}}, name_);  // plays before it has been loaded whole
  const ffmpeg::Packet packet(av_packet_alloc());
  int64_t first = AV_NOPTS_VALUE;  // fragments begin late by the frames that the encoder looks ahead
  int code = 0;
  while ((code = av_read_frame(input.get(), packet.get())) >= 0) {
    if (packet->stream_index == 0) {
      av_packet_rescale_ts(packet.get(), from.time_base, frame_time_);
      if (first == AV_NOPTS_VALUE) first = packet->pts;
      packet->pts -= first;
      packet->dts -= first;
      packet->duration = 1;
      packet->pos = -1;
      av_packet_rescale_ts(packet.get(), frame_time_, format.streams[0]->time_base);
      ffmpeg::check_code(av_interleaved_write_frame(&format, packet.get()), name_);
    }
    av_packet_unref(packet.get());
  }
  check(code == AVERROR_EOF, "{}: {}", growing_.string(), ffmpeg::reason(code));
  ffmpeg::check_code(av_write_trailer(&format), name_);
  ffmpeg::check_code(output.close(), name_);
}

}  // namespace dualparal
