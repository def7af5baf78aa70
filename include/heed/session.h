// Sequences that outlive their run or share what they have in common, so that a document is read
// once: saved sessions, shared prefixes.
//
// What may be taken up again is decided by the tokens and by kv_text(): every other fact that keys
// and values depend on.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "heed/engine.h"

namespace heed {

// The tokens that a sequence holds, in order; none for an unknown one. Valid until its next change.
std::span<const Token> sequence_tokens(const Engine& engine, SeqId seq);

// What the keys and values of `seq` depend on besides its tokens, one "name=value" a line: the
// model's file, the formats of pages, rotations, weights and products, adapters. Two sequences with
// one text and one token prefix have one prefix of pages. The first call for a model may hash its
// file at the speed of memory; the hash is kept in $HEED_HOME/hashes for large files.
Result<std::string> kv_text(const Engine& engine, SeqId seq);
// SHA-256 of that text in 64 hexadecimal digits.
Result<std::string> kv_hash(const Engine& engine, SeqId seq);

struct SavedSession {
  int64_t tokens = 0;   // that the file holds
  uint64_t bytes = 0;   // of the file
  bool written = true;  // false: it held all of them already, and is left as it was
};

// Writes `seq` to `path`: tokens, pages, the logits behind the last token. The old file or the new
// one is there whatever happens meanwhile, a crash or a full disk; a link stays one. A session that
// is there is replaced, whatever it is of. Errors: an unknown sequence, a path that is no regular
// file or a file that is no session (kInvalidArgument), another process that writes it, the
// system's.
Result<SavedSession> save_session(Engine& engine, SeqId seq, const std::string& path);

struct RestoreOptions {
  // Only the longest common prefix with these tokens comes back; absent: everything.
  std::optional<std::span<const Token>> prefix_of = {};
  // The new sequence takes the adapters of this one; absent: none.
  std::optional<SeqId> like = {};
  const CancelToken* cancel = nullptr;
};

struct RestoredSession {
  SeqId seq = -1;
  int64_t tokens = 0;  // that the sequence holds
  int64_t saved = 0;   // that the file holds
};

// A new sequence with what the file holds, the same bits as if it had never been away. Errors
// (nothing has changed then): kNotFound for no file, kInvalidArgument for one that is no session,
// kCorrupt for a damaged one, kUnsupported for that of another version or with another kv_text()
// (the message names what differs), kOutOfRange for more tokens than the context has, kCancelled,
// kResourceExhausted.
Result<RestoredSession> restore_session(Engine& engine, const std::string& path,
                                        const RestoreOptions& options = {});

struct SharedPrefix {
  SeqId seq = -1;
  int64_t tokens = 0;  // that it shares; 0: none of the sequences begins like this
};

// A new sequence that shares the pages of the longest common prefix of `tokens` and any sequence
// with the kv_text() of `like` (absent: one without adapters).
Result<SharedPrefix> share_prefix(Engine& engine, std::span<const Token> tokens,
                                  std::optional<SeqId> like = {});

struct StartOptions {
  std::string session;  // file to take up where it is there; empty: none
  std::optional<SeqId> like = {};
  const CancelToken* cancel = nullptr;
};

struct StartedSequence {
  SeqId seq = -1;
  int64_t reused = 0;  // tokens of the prompt that it holds: all but one at most
  bool from_file = false;
};

// A sequence for this prompt with as much of it as a live sequence or the file holds. What is left,
// prompt.subspan(reused), is for prefill() or generate(). A file that cannot be used is an error;
// one that is not there is not.
Result<StartedSequence> start_sequence(Engine& engine, std::span<const Token> prompt,
                                       const StartOptions& options = {});

}  // namespace heed
