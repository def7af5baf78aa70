// The file of a saved sequence. Sections lie one behind the other without a gap, so every byte is
// under some checksum:
//
//   header       magic, version, bytes and checksum of each section, checksum of all that
//   kv text      kv_text() of the sequence (kv_hash.h)
//   tokens       i32 each
//   outline      i64 first position, i64 length, then {i32 slots, u32 side arrays, u64 page bytes}
//                of every list
//   side arrays  of every list in order, as they lie in memory
//   logits       f32 [vocab] behind the last token, or nothing
//   page sums    16 bytes a page
//   pages        of every list in order, as they lie in memory
//
// Numbers are little-endian. Pages have no checksum as a section: each has its own, so that a
// prefix can be read and verified alone.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/block_hash.h"
#include "base/new_file.h"
#include "heed/kv.h"
#include "heed/model.h"
#include "kv/snapshot.h"

namespace heed {

inline constexpr std::array<char, 8> kSessionMagic = {'h', 'e', 'e', 'd', 's', 'e', 's', 's'};
inline constexpr uint32_t kSessionVersion = 1;

enum SessionSection : uint8_t {
  kKvText,
  kTokens,
  kOutline,
  kSideArrays,
  kLogits,
  kPageSums,
  kPages,
  kSessionSections,
};

struct SessionHeader {
  std::array<char, 8> magic = kSessionMagic;
  uint32_t version = kSessionVersion;
  uint32_t bytes = sizeof(SessionHeader);
  std::array<uint64_t, kSessionSections> size{};
  std::array<Hash128, kPages> sum{};
  Hash128 own;  // of everything before

  uint64_t offset_of(SessionSection section) const;
  uint64_t file_bytes() const;  // saturates
  Hash128 own_sum() const;
};
static_assert(sizeof(SessionHeader) == 184);

struct ListRecord {
  int32_t slots = 0;
  uint32_t side = 0;
  uint64_t page_bytes = 0;
};

// What belongs to a sequence besides the store's part.
struct SessionContent {
  std::string kv;
  std::span<const Token> tokens;
  std::span<const float> logits;  // may be empty
};

// Errors: those of NewFile, memory. Returns the bytes of the file.
Result<uint64_t> write_session(const std::string& path, const Store& store, SeqId seq,
                               const SessionContent& content, const WriteFaults* faults = nullptr);

// A file opened for reading, all of it checked but the pages.
class SessionFile {
 public:
  // Errors: kNotFound, kIo, kCorrupt, kUnsupported (another version), memory.
  static Result<std::unique_ptr<SessionFile>> open(const std::string& path);
  // From a descriptor that stays open as long as this; `name` is for messages.
  static Result<std::unique_ptr<SessionFile>> from(int fd, const std::string& name);
  ~SessionFile();
  SessionFile(const SessionFile&) = delete;
  SessionFile& operator=(const SessionFile&) = delete;

  const std::string& kv() const { return kv_; }
  const std::vector<Token>& tokens() const { return tokens_; }
  const std::vector<float>& logits() const { return logits_; }
  uint64_t bytes() const { return header_.file_bytes(); }

  // A sequence of `store` with the first n tokens (all where they cannot be told apart: the outline
  // says so), each page verified. Nothing has changed on an error: kCorrupt, kCancelled, memory.
  Result<SeqId> restore(Store& store, int64_t n, const CancelToken* cancel) const;

 private:
  SessionFile(int fd, std::string name) : fd_(fd), name_(std::move(name)) {}
  Status read_header();
  Status read_sections();
  Result<std::vector<uint8_t>> read_section(SessionSection section) const;
  Status check_large(SessionSection section) const;
  Status take_outline(std::span<const uint8_t> bytes);
  Status read(uint64_t offset, std::span<iovec> pieces) const;
  Status read_pages(kv::SequenceBuilder& builder, const kv::SequenceOutline& wanted,
                    const CancelToken* cancel) const;
  Status check_store(const Store& store) const;
  Status corrupt(const std::string& what) const;

  int fd_ = -1;
  bool owns_ = false;
  std::string name_;
  SessionHeader header_;
  std::string kv_;
  std::vector<Token> tokens_;
  kv::SequenceOutline outline_;
  std::vector<uint64_t> page_bytes_;  // [lists]
  std::vector<uint8_t> sides_;
  std::vector<float> logits_;
  std::vector<Hash128> page_sums_;
};

// What to do about a file that cannot be used.
inline constexpr const char* kSessionWayOut = "; remove the file or name another";

}  // namespace heed
