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

Status fill(int fd, const std::string& path, const gguf_context* source, ggml_context* tensors,
            const gguf_context* copy, const F32Copy::Options& options) {
  const File in(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (in.fd() < 0) return error(Code::kIo, path, ": ", std::strerror(errno));
  std::vector<char> meta(gguf_get_meta_size(copy));
  gguf_get_meta_data(copy, meta.data());
  HEED_TRY(write_at(fd, meta.data(), meta.size(), 0));
  CopyJob job{.in = in.fd(),
              .out = fd,
              .in_data = gguf_get_data_offset(source),
              .out_data = meta.size(),
              .options = options};
  for (int64_t i = 0; i < gguf_get_n_tensors(copy); ++i) job.total += gguf_get_tensor_size(copy, i);
  for (int64_t i = 0; i < gguf_get_n_tensors(source); ++i) {
    const ggml_tensor* tensor = ggml_get_tensor(tensors, gguf_get_tensor_name(source, i));
    HEED_TRY(copy_tensor(job, tensor, gguf_get_tensor_offset(source, i),
                         gguf_get_tensor_offset(copy, i)));
  }
  return Status::ok();
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
  // heed's own reader first: ggml's may abort on what a damaged header says.
  HEED_TRY(Model::inspect(path).status());
  route_library_logs();
  take_library_error();
  ggml_context* raw = nullptr;
  const Gguf source(gguf_init_from_file(path.c_str(), {.no_alloc = true, .ctx = &raw}));
  const Tensors tensors(raw);
  if (source == nullptr) {
    return error(Code::kCorrupt, path, " is not a readable GGUF file: ", take_library_error());
  }
  if (gguf_find_key(source.get(), "split.count") >= 0) {
    return error(Code::kUnsupported, path,
                 " is one part of a split model; merge the parts first with llama.cpp: "
                 "llama-gguf-split --merge FIRST_PART MERGED.gguf");
  }
  const Gguf copy(gguf_init_empty());
  gguf_set_kv(copy.get(), source.get());
  // The copy is laid out with the default alignment, whatever the source says of its own.
  gguf_remove_key(copy.get(), "general.alignment");
  gguf_set_val_u32(copy.get(), "general.file_type", 0);  // ALL_F32
  for (int64_t i = 0; i < gguf_get_n_tensors(source.get()); ++i) {
    const char* name = gguf_get_tensor_name(source.get(), i);
    gguf_add_tensor(copy.get(), ggml_get_tensor(tensors.get(), name));
    if (becomes_f32(gguf_get_tensor_type(source.get(), i))) {
      gguf_set_tensor_type(copy.get(), name, GGML_TYPE_F32);
    }
  }
  uint64_t bytes = gguf_get_meta_size(copy.get());
  const int64_t last = gguf_get_n_tensors(copy.get()) - 1;
  if (last >= 0) {
    bytes += gguf_get_tensor_offset(copy.get(), last) +
             GGML_PAD(gguf_get_tensor_size(copy.get(), last), gguf_get_alignment(copy.get()));
  }
  HEED_ASSIGN(const int fd, make_nameless_file(bytes));
  F32Copy result(fd);
  HEED_TRY(fill(fd, path, source.get(), tensors.get(), copy.get(), options));
  return result;
}

}  // namespace heed::eval
