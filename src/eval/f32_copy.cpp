#include "eval/f32_copy.h"

#include <fcntl.h>
#include <ggml.h>
#include <gguf.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include "base/text.h"
#include "model/library_log.h"
#include "model/split_set.h"

namespace heed::eval {
namespace {

constexpr size_t kPieceBytes = size_t{4} << 20;  // of F32 written at once

struct FreeGguf {
  void operator()(gguf_context* gguf) const { gguf_free(gguf); }
};
struct FreeGgml {
  void operator()(ggml_context* context) const { ggml_free(context); }
};
using Gguf = std::unique_ptr<gguf_context, FreeGguf>;
using Tensors = std::unique_ptr<ggml_context, FreeGgml>;

class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

Status read_at(int fd, void* data, size_t bytes, uint64_t offset) {
  auto* at = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t got = pread(fd, at, bytes, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return error(Code::kIo, "reading the model: ", std::strerror(errno));
    if (got == 0) return error(Code::kCorrupt, "the model file ends inside a tensor");
    at += got, offset += static_cast<uint64_t>(got), bytes -= static_cast<size_t>(got);
  }
  return Status::ok();
}

Status write_at(int fd, const void* data, size_t bytes, uint64_t offset) {
  const auto* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t put = pwrite(fd, at, bytes, static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return error(Code::kIo, "writing the F32 copy: ", std::strerror(errno));
    at += put, offset += static_cast<uint64_t>(put), bytes -= static_cast<size_t>(put);
  }
  return Status::ok();
}

// Integer tensors (none in the models heed runs) have no floating-point form and stay as they are.
bool becomes_f32(ggml_type type) {
  return type == GGML_TYPE_F32 || ggml_get_type_traits(type)->to_float != nullptr;
}

struct CopyJob {
  int in = -1, out = -1;
  uint64_t in_data = 0, out_data = 0;  // offsets of the data sections
  uint64_t written = 0, total = 0;     // bytes of F32
  const F32Copy::Options& options;
};

Status copy_tensor(CopyJob& job, const ggml_tensor* tensor, uint64_t in_at, uint64_t out_at) {
  const int64_t row = tensor->ne[0];
  const auto to_float = ggml_get_type_traits(tensor->type)->to_float;
  const size_t in_row = ggml_row_size(tensor->type, row);
  const bool expand = becomes_f32(tensor->type);
  const size_t out_row = expand ? static_cast<size_t>(row) * sizeof(float) : in_row;
  const auto rows = static_cast<size_t>(ggml_nrows(tensor));
  const size_t step = std::max<size_t>(1, kPieceBytes / out_row);
  std::vector<char> in(step * in_row);
  std::vector<float> out(expand ? step * static_cast<size_t>(row) : 0);
  for (size_t r = 0; r < rows; r += step) {
    if (job.options.cancel != nullptr && job.options.cancel->cancelled()) {
      return error(Code::kCancelled, "the F32 copy was cancelled");
    }
    const size_t n = std::min(step, rows - r);
    HEED_TRY(read_at(job.in, in.data(), n * in_row, job.in_data + in_at + r * in_row));
    const void* piece = in.data();
    if (expand && to_float != nullptr && tensor->type != GGML_TYPE_F32) {
      to_float(in.data(), out.data(), static_cast<int64_t>(n) * row);
      piece = out.data();
    }
    HEED_TRY(write_at(job.out, piece, n * out_row, job.out_data + out_at + r * out_row));
    job.written += n * out_row;
    if (job.options.progress) {
      job.options.progress(static_cast<double>(job.written) / static_cast<double>(job.total));
    }
  }
  return Status::ok();
}

// An unlinked file with `bytes` reserved: without the reservation a full disk would show only as a
// signal when an engine reads its mapping.
Result<int> make_nameless_file(uint64_t bytes) {
  std::error_code code;
  std::filesystem::path folder = std::filesystem::temp_directory_path(code);
  if (code) folder = "/tmp";
  std::string name = (folder / "heed-f32-XXXXXX").string();
  const int fd = mkostemp(name.data(), O_CLOEXEC);
  if (fd < 0) {
    return error(Code::kIo, "no temporary file in ", folder.string(), ": ", std::strerror(errno),
                 "; set TMPDIR to a folder that can be written");
  }
  unlink(name.c_str());
  const int failed = posix_fallocate(fd, 0, static_cast<off_t>(bytes));
  if (failed == 0) return fd;
  close(fd);
  return error(Code::kResourceExhausted, "the F32 copy takes ", bytes >> 20, " MiB in ",
               folder.string(), ": ", std::strerror(failed),
               "; set TMPDIR to a folder with that much room");
}

// One file of a model, which may have several.
struct Part {
  std::string path;
  Gguf gguf;
  Tensors tensors;

  int64_t count() const { return gguf_get_n_tensors(gguf.get()); }
  const char* name(int64_t i) const { return gguf_get_tensor_name(gguf.get(), i); }
  ggml_tensor* tensor(int64_t i) const { return ggml_get_tensor(tensors.get(), name(i)); }
};

// heed's own reader first: ggml's may abort on what a damaged header says.
Result<std::vector<Part>> open_parts(const std::string& path) {
  HEED_TRY(Model::inspect(path).status());
  HEED_ASSIGN(const auto file, open_model_file(path));
  route_library_logs();
  take_library_error();
  std::vector<Part> parts;
  for (std::string& of_part : file->paths()) {
    ggml_context* raw = nullptr;
    Gguf gguf(gguf_init_from_file(of_part.c_str(), {.no_alloc = true, .ctx = &raw}));
    Tensors tensors(raw);
    if (gguf == nullptr) {
      return error(Code::kCorrupt, of_part, " is not a readable GGUF file: ", take_library_error());
    }
    parts.push_back({std::move(of_part), std::move(gguf), std::move(tensors)});
  }
  return parts;
}

Status fill(int fd, const std::vector<Part>& parts, const gguf_context* copy,
            const F32Copy::Options& options) {
  std::vector<char> meta(gguf_get_meta_size(copy));
  gguf_get_meta_data(copy, meta.data());
  HEED_TRY(write_at(fd, meta.data(), meta.size(), 0));
  CopyJob job{.out = fd, .out_data = meta.size(), .options = options};
  const int64_t count = gguf_get_n_tensors(copy);
  for (int64_t i = 0; i < count; ++i) job.total += gguf_get_tensor_size(copy, i);
  int64_t done = 0;
  for (const Part& part : parts) {
    const File in(open(part.path.c_str(), O_RDONLY | O_CLOEXEC));
    if (in.fd() < 0) return error(Code::kIo, part.path, ": ", std::strerror(errno));
    job.in = in.fd();
    job.in_data = gguf_get_data_offset(part.gguf.get());
    for (int64_t i = 0; i < part.count(); ++i, ++done) {
      HEED_TRY(copy_tensor(job, part.tensor(i), gguf_get_tensor_offset(part.gguf.get(), i),
                           gguf_get_tensor_offset(copy, done)));
    }
  }
  return Status::ok();
}

// The header of the copy: one file, whatever the model is in.
Gguf make_header(const std::vector<Part>& parts) {
  Gguf copy(gguf_init_empty());
  gguf_set_kv(copy.get(), parts.front().gguf.get());
  // The copy is laid out with the default alignment, whatever the source says of its own.
  for (const char* key : {"general.alignment", "split.no", "split.count", "split.tensors.count"}) {
    gguf_remove_key(copy.get(), key);
  }
  gguf_set_val_u32(copy.get(), "general.file_type", 0);  // ALL_F32
  for (const Part& part : parts) {
    for (int64_t i = 0; i < part.count(); ++i) {
      gguf_add_tensor(copy.get(), part.tensor(i));
      if (becomes_f32(gguf_get_tensor_type(part.gguf.get(), i))) {
        gguf_set_tensor_type(copy.get(), part.name(i), GGML_TYPE_F32);
      }
    }
  }
  return copy;
}

}  // namespace

F32Copy::F32Copy(int fd) : fd_(fd), path_(cat("/proc/self/fd/", fd)) {}
F32Copy::F32Copy(F32Copy&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}
F32Copy& F32Copy::operator=(F32Copy&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(path_, other.path_);
  return *this;
}
F32Copy::~F32Copy() {
  if (fd_ >= 0) close(fd_);
}

Result<F32Copy> F32Copy::make(const std::string& path, const Options& options) {
  HEED_ASSIGN(const std::vector<Part> parts, open_parts(path));
  const Gguf copy = make_header(parts);
  uint64_t bytes = gguf_get_meta_size(copy.get());
  const int64_t last = gguf_get_n_tensors(copy.get()) - 1;
  if (last >= 0) {
    bytes += gguf_get_tensor_offset(copy.get(), last) +
             GGML_PAD(gguf_get_tensor_size(copy.get(), last), gguf_get_alignment(copy.get()));
  }
  HEED_ASSIGN(const int fd, make_nameless_file(bytes));
  F32Copy result(fd);
  HEED_TRY(fill(fd, parts, copy.get(), options));
  return result;
}

}  // namespace heed::eval
