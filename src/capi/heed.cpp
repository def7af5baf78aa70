// include/heed.h over include/heed/engine.h. No exception leaves, and no pointer is taken on trust
// that may be NULL.
#include "heed.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/guard.h"
#include "base/text.h"
#include "heed/engine.h"
#include "heed/version.h"

struct heed_model {
  std::shared_ptr<heed::Model> model;
};

struct heed_engine {
  std::unique_ptr<heed::Engine> engine;
};

namespace {

using heed::Code;
using heed::Result;
using heed::Status;

static_assert(HEED_OK == static_cast<int>(Code::kOk) &&
              HEED_INVALID_ARGUMENT == static_cast<int>(Code::kInvalidArgument) &&
              HEED_NOT_FOUND == static_cast<int>(Code::kNotFound) &&
              HEED_OUT_OF_RANGE == static_cast<int>(Code::kOutOfRange) &&
              HEED_RESOURCE_EXHAUSTED == static_cast<int>(Code::kResourceExhausted) &&
              HEED_UNSUPPORTED == static_cast<int>(Code::kUnsupported) &&
              HEED_CORRUPT == static_cast<int>(Code::kCorrupt) &&
              HEED_IO == static_cast<int>(Code::kIo) &&
              HEED_CANCELLED == static_cast<int>(Code::kCancelled) &&
              HEED_INTERNAL == static_cast<int>(Code::kInternal));

constexpr heed_sequence kNoSequence = -1;

// The length of the whole characters among the first `limit` bytes.
size_t whole_characters(std::string_view text, size_t limit) {
  if (text.size() <= limit) return text.size();
  size_t length = limit;
  // The byte behind the cut must begin a character, or be no UTF-8 at all.
  while (length > limit - 3 && (static_cast<unsigned char>(text[length]) & 0xC0) == 0x80) --length;
  return length;
}

heed_code tell(heed_error* error, Code code, std::string_view message) noexcept {
  if (error != nullptr) {
    error->code = static_cast<heed_code>(code);
    const size_t length = whole_characters(message, sizeof error->message - 1);
    std::memcpy(error->message, message.data(), length);
    error->message[length] = '\0';
  }
  return static_cast<heed_code>(code);
}

// Every call of the header runs in here.
template <class Call>
heed_code guarded(heed_error* error, Call&& call) noexcept {
  const Status status = heed::guarded("this call", call);
  return tell(error, status.code(), status.message());
}

Status given(const void* pointer, const char* name) {
  return pointer != nullptr ? Status::ok() : heed::error(Code::kInvalidArgument, name, " is NULL");
}

// Copies what fits as a whole; else says how much room it needs.
template <class T>
Status hand_over(std::span<const T> from, T* to, size_t capacity, size_t* count, const char* what) {
  *count = from.size();
  if (from.size() > capacity) {
    return heed::error(Code::kOutOfRange, from.size(), " ", what, " do not fit into ", capacity);
  }
  if (!from.empty()) HEED_TRY(given(to, what));
  std::copy(from.begin(), from.end(), to);
  return Status::ok();
}

Status formats_of(const heed_engine_options& from, heed::EngineOptions& to) {
  if (from.k_format != nullptr) {
    HEED_ASSIGN(to.k, heed::parse_format(from.k_format));
  }
  if (from.v_format != nullptr) {
    HEED_ASSIGN(to.v, heed::parse_format(from.v_format));
  }
  return Status::ok();
}

}  // namespace

const char* heed_version(void) { return heed::version(); }

heed_code heed_model_load(const char* path, const heed_model_options* options, heed_model** model,
                          heed_error* error) {
  return guarded(error, [&]() -> Status {
    HEED_TRY(given(model, "model"));
    *model = nullptr;
    HEED_TRY(given(path, "path"));
    heed::ModelOptions load;
    if (options != nullptr) load.threads = options->threads;
    auto made = std::make_unique<heed_model>();
    HEED_ASSIGN(made->model, heed::Model::load(path, load));
    *model = made.release();
    return Status::ok();
  });
}

void heed_model_free(heed_model* model) { delete model; }

int32_t heed_model_vocab(const heed_model* model) {
  return model == nullptr ? 0 : model->model->info().vocab;
}

int64_t heed_model_context(const heed_model* model) {
  return model == nullptr ? 0 : model->model->info().trained_context;
}

int heed_model_is_end(const heed_model* model, heed_token token) {
  return model != nullptr && model->model->is_end(token) ? 1 : 0;
}

heed_code heed_tokenize(const heed_model* model, const char* text, int add_special,
                        int parse_special, heed_token* tokens, size_t capacity, size_t* count,
                        heed_error* error) {
  return guarded(error, [&]() -> Status {
    HEED_TRY(given(model, "model"));
    HEED_TRY(given(text, "text"));
    HEED_TRY(given(count, "count"));
    HEED_ASSIGN(const std::vector<heed::Token> all,
                model->model->tokenize(text, add_special != 0, parse_special != 0));
    return hand_over<heed::Token>(all, tokens, capacity, count, "tokens");
  });
}

heed_code heed_piece(const heed_model* model, heed_token token, char* bytes, size_t capacity,
                     size_t* count, heed_error* error) {
  return guarded(error, [&]() -> Status {
    HEED_TRY(given(model, "model"));
    HEED_TRY(given(count, "count"));
    HEED_ASSIGN(const std::string piece, model->model->piece(token));
    return hand_over<char>(piece, bytes, capacity, count, "bytes");
  });
}

heed_code heed_engine_create(heed_model* model, const heed_engine_options* options,
                             heed_engine** engine, heed_error* error) {
  return guarded(error, [&]() -> Status {
    HEED_TRY(given(engine, "engine"));
    *engine = nullptr;
    HEED_TRY(given(model, "model"));
    heed::EngineOptions own;
    if (options != nullptr) {
      own.context = options->context;
      if (options->chunk != 0) own.chunk = options->chunk;
      if (options->max_sequences != 0) own.max_sequences = options->max_sequences;
      own.max_kv_bytes = options->max_kv_bytes;
      HEED_TRY(formats_of(*options, own));
    }
    auto made = std::make_unique<heed_engine>();
    HEED_ASSIGN(made->engine, heed::Engine::create(model->model, own));
    *engine = made.release();
    return Status::ok();
  });
}

void heed_engine_free(heed_engine* engine) { delete engine; }

heed_code heed_sequence_create(heed_engine* engine, heed_sequence* sequence, heed_error* error) {
  return guarded(error, [&]() -> Status {
    HEED_TRY(given(sequence, "sequence"));
    *sequence = kNoSequence;
    HEED_TRY(given(engine, "engine"));
    HEED_ASSIGN(*sequence, engine->engine->create_sequence());
    return Status::ok();
  });
}

heed_code heed_sequence_fork(heed_engine* engine, heed_sequence sequence, heed_sequence* fork,
                             heed_error* error) {
  return guarded(error, [&]() -> Status {
    HEED_TRY(given(fork, "fork"));
    *fork = kNoSequence;
    HEED_TRY(given(engine, "engine"));
    HEED_ASSIGN(*fork, engine->engine->fork(sequence));
    return Status::ok();
  });
}

heed_code heed_sequence_truncate(heed_engine* engine, heed_sequence sequence, int64_t length,
                                 heed_error* error) {
  return guarded(error, [&]() -> Status {
    HEED_TRY(given(engine, "engine"));
    return engine->engine->truncate(sequence, length);
  });
}

heed_code heed_sequence_drop(heed_engine* engine, heed_sequence sequence, heed_error* error) {
  return guarded(error, [&]() -> Status {
    HEED_TRY(given(engine, "engine"));
    return engine->engine->drop(sequence);
  });
}

int64_t heed_sequence_length(const heed_engine* engine, heed_sequence sequence) {
  return engine == nullptr ? 0 : engine->engine->length(sequence);
}

heed_code heed_prefill(heed_engine* engine, heed_sequence sequence, const heed_token* tokens,
                       size_t count, heed_error* error) {
  return guarded(error, [&]() -> Status {
    HEED_TRY(given(engine, "engine"));
    HEED_TRY(given(tokens, "tokens"));
    return engine->engine->prefill(sequence, {tokens, count});
  });
}

heed_code heed_decode(heed_engine* engine, const heed_next* next, size_t count, heed_error* error) {
  return guarded(error, [&]() -> Status {
    HEED_TRY(given(engine, "engine"));
    HEED_TRY(given(next, "next"));
    std::vector<heed::SeqToken> tokens(count);
    std::transform(next, next + count, tokens.begin(), [](const heed_next& n) {
      return heed::SeqToken{n.sequence, n.token};
    });
    return engine->engine->decode(tokens);
  });
}

heed_code heed_logits(const heed_engine* engine, heed_sequence sequence, const float** logits,
                      heed_error* error) {
  return guarded(error, [&]() -> Status {
    HEED_TRY(given(logits, "logits"));
    *logits = nullptr;
    HEED_TRY(given(engine, "engine"));
    HEED_ASSIGN(const std::span<const float> row, engine->engine->logits(sequence));
    *logits = row.data();
    return Status::ok();
  });
}
