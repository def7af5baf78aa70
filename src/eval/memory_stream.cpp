#include "eval/memory_stream.h"

#include <cstring>

#include "base/clock.h"
#include "base/huge_pages.h"
#include "base/text.h"
#include "heed/cpu.h"

namespace heed::eval {
namespace {

constexpr size_t kThreadBytes = size_t{128} << 20;  // beyond any cache it could sit in

const kernels::Table& widest_table() {
  const kernels::Table* widest = nullptr;
  for (int i = 0; i < kIsaCount; ++i) {
    if (isa_supported(static_cast<Isa>(i))) widest = &kernels::table(static_cast<Isa>(i));
  }
  return *widest;  // the scalar one is always there
}

}  // namespace

MemoryStream::MemoryStream(int threads)
    : table_(widest_table()), team_(threads), any_(static_cast<size_t>(threads)) {}

uint64_t MemoryStream::bytes_of(int threads) {
  return static_cast<uint64_t>(threads) * kThreadBytes;
}

Status MemoryStream::prepare() {
  data_ = allocate_aligned(bytes(), kHugePage);
  if (!data_) return error(Code::kResourceExhausted, "no memory for ", bytes(), " bytes to read");
  advise_huge_pages(data_.get(), bytes());
  std::memset(data_.get(), 1, bytes());
  return Status::ok();
}

Status MemoryStream::round() {
  team_.run([&](int member, int) {
    const auto m = static_cast<size_t>(member);
    any_[m] = table_.stream_read(data_.get() + m * kThreadBytes, kThreadBytes);
  });
  return Status::ok();
}

double MemoryStream::gbps() {
  const auto start = Clock::now();
  (void)round();
  return static_cast<double>(bytes()) / seconds_since(start) * 1e-9;
}

}  // namespace heed::eval
