/* heed for C: language models in GGUF files, on ordinary CPUs.
 *
 * Load a model, create an engine, prefill a prompt into a sequence, read its logits, choose a token
 * and decode it, free what was made. examples/generate.c does it in ninety lines.
 *
 * A call that can fail returns HEED_OK or the kind of failure and, when `error` is not NULL, says
 * there what went wrong. Nothing throws, aborts or prints, whatever a file or an argument contains;
 * a pointer must be NULL or valid. After a failure what the call worked on is as it was before it
 * (a prefill may keep finished chunks: see heed_sequence_length), and what it would have made is
 * NULL, of a sequence -1.
 *
 * Options of zeros, or NULL for them, are the defaults. Calls on a model and on its engines come
 * from one thread at a time; the engine's own threads are below them. Needs C99.
 */
#ifndef HEED_H
#define HEED_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* "0.1.0". While the first number is 0, a change of the second one may change this header. */
const char* heed_version(void);

typedef enum heed_code {
  HEED_OK,
  HEED_INVALID_ARGUMENT,   /* what the caller passed can never work */
  HEED_NOT_FOUND,          /* a file, sequence or name does not exist */
  HEED_OUT_OF_RANGE,       /* a number is outside its stated limits */
  HEED_RESOURCE_EXHAUSTED, /* memory or context is not enough */
  HEED_UNSUPPORTED,        /* valid, but heed cannot do it */
  HEED_CORRUPT,            /* a file contradicts itself */
  HEED_IO,                 /* the operating system refused */
  HEED_CANCELLED,
  HEED_INTERNAL /* a bug in heed */
} heed_code;

/* What went wrong in one call. The message is UTF-8 and ends with a zero byte; it names the thing,
 * the value, the limit and the way out, and is empty behind HEED_OK. A longer one is cut. */
typedef struct heed_error {
  heed_code code;
  char message[1024];
} heed_error;

typedef int32_t heed_token;

/* --- models --------------------------------------------------------------------------------- */

typedef struct heed_model heed_model;

typedef struct heed_model_options {
  int threads; /* 0: the cores this process may use */
} heed_model_options;

/* Reads `path`, a GGUF file; of a split model any part. */
heed_code heed_model_load(const char* path, const heed_model_options* options, heed_model** model,
                          heed_error* error);
/* NULL is allowed. An engine keeps what it needs of its model, so the order does not matter. */
void heed_model_free(heed_model* model);

int32_t heed_model_vocab(const heed_model* model);   /* tokens, and so logits of a position */
int64_t heed_model_context(const heed_model* model); /* positions it was trained for */
/* 1: the token ends an answer; else 0. */
int heed_model_is_end(const heed_model* model, heed_token token);

/* UTF-8 text to tokens, as the model's file says. `add_special`: with the token that begins a text,
 * where the model has one; `parse_special`: "<|im_end|>" and the like in the text are tokens.
 * `count` receives how many tokens there are; when they are more than `capacity` the call fails
 * with HEED_OUT_OF_RANGE and writes none, so a capacity of 0 asks for the number. */
heed_code heed_tokenize(const heed_model* model, const char* text, int add_special,
                        int parse_special, heed_token* tokens, size_t capacity, size_t* count,
                        heed_error* error);
/* The bytes of one token, which may be a part of a UTF-8 character; no zero byte behind them.
 * `count` and `capacity`, in bytes, as above. */
heed_code heed_piece(const heed_model* model, heed_token token, char* bytes, size_t capacity,
                     size_t* count, heed_error* error);

/* --- engines and sequences ------------------------------------------------------------------ */

typedef struct heed_engine heed_engine;
typedef int32_t heed_sequence; /* of one engine, 0 or more */

typedef struct heed_engine_options {
  int64_t context;       /* positions a sequence may reach; 0: the trained context */
  int chunk;             /* prompt tokens a step, up to 8192; 0: 512 */
  int max_sequences;     /* decoded together, up to 1024; 0: 64 */
  uint64_t max_kv_bytes; /* of keys and values of all sequences; 0: no limit */
  const char* k_format;  /* of stored keys, "f32", "f16" or "bf16"; NULL: the model's own */
  const char* v_format;  /* of stored values */
} heed_engine_options;

heed_code heed_engine_create(heed_model* model, const heed_engine_options* options,
                             heed_engine** engine, heed_error* error);
/* NULL is allowed. Its sequences go with it. */
void heed_engine_free(heed_engine* engine);

heed_code heed_sequence_create(heed_engine* engine, heed_sequence* sequence, heed_error* error);
/* A second sequence of the same tokens and logits; what is stored for them is shared. */
heed_code heed_sequence_fork(heed_engine* engine, heed_sequence sequence, heed_sequence* fork,
                             heed_error* error);
/* Keeps the first `length` tokens. The logits are gone until the next token. */
heed_code heed_sequence_truncate(heed_engine* engine, heed_sequence sequence, int64_t length,
                                 heed_error* error);
heed_code heed_sequence_drop(heed_engine* engine, heed_sequence sequence, heed_error* error);
/* Tokens that it holds; 0 too where there is no such sequence. */
int64_t heed_sequence_length(const heed_engine* engine, heed_sequence sequence);

/* Puts `count` tokens, at least one, behind what the sequence holds, chunk after chunk. */
heed_code heed_prefill(heed_engine* engine, heed_sequence sequence, const heed_token* tokens,
                       size_t count, heed_error* error);

typedef struct heed_next {
  heed_sequence sequence;
  heed_token token;
} heed_next;

/* One token behind each of `count` different sequences, in one step. On failure none has moved. */
heed_code heed_decode(heed_engine* engine, const heed_next* next, size_t count, heed_error* error);

/* The logits of what follows the last token of the sequence: heed_model_vocab() natural-logarithm
 * scores before the softmax. They stay valid until the next call that names the sequence. */
heed_code heed_logits(const heed_engine* engine, heed_sequence sequence, const float** logits,
                      heed_error* error);

#ifdef __cplusplus
}
#endif

#endif
