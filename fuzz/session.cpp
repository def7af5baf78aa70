// A saved session: whatever its bytes are, it comes back as a sound sequence or as an error that
// says something, and the store is as it was. Each input is read twice, as it is and with checksums
// that agree, because behind the first wrong one nothing else would be reached.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "heed/cpu.h"
#include "session/session_file.h"

namespace {

heed::Store& store() {
  static heed::Store* const one = [] {
    heed::StoreDesc desc;
    desc.layers = {{1, 2, 2, heed::Format::kF32, heed::Format::kF32},
                   {2, 4, 2, heed::Format::kBf16, heed::Format::kBf16, true}};
    desc.max_bytes = uint64_t{64} << 20;
    const auto isa = heed::choose_isa();
    if (!isa.is_ok()) std::abort();
    desc.isa = *isa;
    auto made = heed::Store::create(desc);
    if (!made.is_ok()) std::abort();
    return made->release();
  }();
  return *one;
}

// Checksums of what the header says is where, as far as it is there.
std::vector<uint8_t> with_true_sums(const uint8_t* data, size_t size) {
  std::vector<uint8_t> bytes(data, data + size);
  heed::SessionHeader header;
  if (size < sizeof(header)) return bytes;
  std::memcpy(&header, data, sizeof(header));
  const auto range = [&](heed::SessionSection section, uint64_t& at) {
    at = header.offset_of(section);
    return at <= size && header.size[section] <= size - at;
  };
  uint64_t lists = 0, sums = 0, pages = 0;
  constexpr size_t kFixed = 16;
  if (range(heed::kOutline, lists) && range(heed::kPageSums, sums) && range(heed::kPages, pages)) {
    uint64_t sum = sums;
    for (uint64_t at = lists + kFixed;
         at + sizeof(heed::ListRecord) <= lists + header.size[heed::kOutline];
         at += sizeof(heed::ListRecord)) {
      heed::ListRecord list;
      std::memcpy(&list, bytes.data() + at, sizeof(list));
      for (int64_t p = 0; p < heed::pages_for(std::max(list.slots, 0)); ++p) {
        if (list.page_bytes > size - pages) break;
        if (sum + sizeof(heed::Hash128) > sums + header.size[heed::kPageSums]) break;
        const heed::Hash128 one = heed::block_hash(data + pages, list.page_bytes, heed::kPages);
        std::memcpy(bytes.data() + sum, &one, sizeof(one));
        sum += sizeof(one);
        pages += list.page_bytes;
      }
    }
  }
  for (int s = 0; s < heed::kPages; ++s) {
    uint64_t at = 0;
    const auto section = static_cast<heed::SessionSection>(s);
    if (!range(section, at)) continue;
    header.sum[section] = heed::block_hash(bytes.data() + at, header.size[section], section);
  }
  header.own = header.own_sum();
  std::memcpy(bytes.data(), &header, sizeof(header));
  return bytes;
}

void read_session(int fd, const uint8_t* data, size_t size, int64_t keep) {
  if (ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != static_cast<ssize_t>(size)) return;
  const uint64_t committed = store().bytes().committed;
  const auto file = heed::SessionFile::from(fd, "fuzz");
  if (!file.is_ok()) {
    if (file.message().empty() || file.code() == heed::Code::kInternal) std::abort();
    return;
  }
  const auto seq = (*file)->restore(store(), keep, nullptr);
  if (seq.is_ok()) {
    if (!store().truncate(*seq, keep).is_ok() || !store().drop(*seq).is_ok()) std::abort();
  } else if (seq.message().empty()) {
    std::abort();
  }
  if (store().bytes().committed != committed || !store().check().is_ok()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const int fd = memfd_create("session", MFD_CLOEXEC);
  if (fd < 0) std::abort();
  // The last byte says how much of the sequence is wanted.
  const int64_t keep = size > 0 ? data[size - 1] : 0;
  read_session(fd, data, size, keep);
  const std::vector<uint8_t> bytes = with_true_sums(data, size);
  read_session(fd, bytes.data(), bytes.size(), keep);
  return 0;
}
