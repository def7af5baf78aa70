/* Goes on with a text, always with the likeliest token: generate MODEL.gguf "TEXT" [TOKENS].
 * The text goes to stdout, the numbers of the tokens to stderr.
 *
 * cc -std=c99 generate.c $(pkg-config --cflags --libs heed-c) -o generate
 */
#include <heed.h>
#include <stdio.h>
#include <stdlib.h>

static int failed(const char* what, const heed_error* error) {
  fprintf(stderr, "%s: %s\n", what, error->message);
  return 1;
}

static heed_token likeliest(const float* logits, int32_t vocab) {
  heed_token best = 0;
  for (heed_token token = 1; token < vocab; ++token) {
    if (logits[token] > logits[best]) best = token;
  }
  return best;
}

/* Tokens of `text`, to be freed; NULL behind a failure. */
static heed_token* tokens_of(const heed_model* model, const char* text, size_t* count,
                             heed_error* error) {
  heed_tokenize(model, text, 1, 1, NULL, 0, count, NULL); /* asks for the number */
  heed_token* tokens = malloc((*count + 1) * sizeof *tokens);
  if (tokens == NULL) {
    snprintf(error->message, sizeof error->message, "no memory for %zu tokens", *count);
  } else if (heed_tokenize(model, text, 1, 1, tokens, *count, count, error) != HEED_OK) {
    free(tokens);
    tokens = NULL;
  }
  return tokens;
}

static int generate(const heed_model* model, heed_engine* engine, const char* text, int limit) {
  heed_error error;
  heed_sequence sequence;
  size_t count = 0;
  heed_token* prompt = tokens_of(model, text, &count, &error);
  if (prompt == NULL) return failed("tokenize", &error);
  heed_code code = heed_sequence_create(engine, &sequence, &error);
  if (code == HEED_OK) code = heed_prefill(engine, sequence, prompt, count, &error);
  free(prompt);

  for (int i = 0; i < limit && code == HEED_OK; ++i) {
    const float* logits;
    code = heed_logits(engine, sequence, &logits, &error);
    if (code != HEED_OK) break;
    const heed_next next = {sequence, likeliest(logits, heed_model_vocab(model))};
    if (heed_model_is_end(model, next.token)) break;

    char piece[256];
    size_t bytes;
    code = heed_piece(model, next.token, piece, sizeof piece, &bytes, &error);
    if (code != HEED_OK) break;
    fwrite(piece, 1, bytes, stdout);
    fflush(stdout);
    fprintf(stderr, "%d\n", (int)next.token);
    code = heed_decode(engine, &next, 1, &error);
  }
  return code == HEED_OK ? 0 : failed("generate", &error);
}

int main(int count, char** words) {
  if (count < 3) {
    fprintf(stderr, "usage: %s MODEL.gguf \"TEXT\" [TOKENS]\n", words[0]);
    return 2;
  }
  heed_error error;
  heed_model* model;
  heed_engine* engine;
  if (heed_model_load(words[1], NULL, &model, &error) != HEED_OK) {
    return failed("load", &error);
  }
  int code = 1;
  if (heed_engine_create(model, NULL, &engine, &error) != HEED_OK) {
    failed("engine", &error);
  } else {
    code = generate(model, engine, words[2], count > 3 ? atoi(words[3]) : 64);
  }
  heed_engine_free(engine);
  heed_model_free(model);
  return code;
}
