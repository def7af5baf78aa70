// Embeddings by llama.cpp in the same process, through its public API.
#pragma once

#include <gtest/gtest.h>
#include <llama.h>

#include <memory>
#include <string>
#include <vector>

#include "eval/llama_baseline.h"
#include "heed/embed.h"
#include "oracle_rows.h"

namespace heed::test {

struct LlamaEmbedOptions {
  bool flash = false, repack = false;
  Pooling pooling = Pooling::kNone;
};

// All texts in one batch: a row a text, or with Pooling::kNone a row a token.
inline Rows llama_embeddings(const std::string& path, const std::vector<std::vector<Token>>& texts,
                             const LlamaEmbedOptions& options) {
  const auto model = eval::LlamaModel::load(path, {.repack = options.repack, .cancel = nullptr});
  EXPECT_TRUE(model.is_ok()) << model.message();
  if (!model.is_ok()) return {};
  int32_t total = 0;
  for (const auto& text : texts) total += static_cast<int32_t>(text.size());
  llama_context_params params = llama_context_default_params();
  params.n_seq_max = static_cast<uint32_t>(texts.size());
  // A multiple of the sequences: its reserved graph aborts in the pooling otherwise.
  params.n_ctx = params.n_batch = params.n_ubatch =
      (static_cast<uint32_t>(total) / 256 + 1) * 256 * params.n_seq_max;
  params.n_threads = params.n_threads_batch = 1;
  params.embeddings = true;
  params.pooling_type = static_cast<enum llama_pooling_type>(options.pooling);
  params.flash_attn_type =
      options.flash ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
  params.type_k = params.type_v = GGML_TYPE_F32;
  params.kv_unified = true;
  const std::unique_ptr<llama_context, void (*)(llama_context*)> context(
      llama_init_from_model((*model)->get(), params), llama_free);
  EXPECT_NE(context, nullptr);
  if (context == nullptr) return {};
  llama_batch batch = llama_batch_init(total, 0, 1);
  for (size_t s = 0; s < texts.size(); ++s) {
    for (size_t t = 0; t < texts[s].size(); ++t) {
      const int32_t i = batch.n_tokens++;
      batch.token[i] = texts[s][t];
      batch.pos[i] = static_cast<llama_pos>(t);
      batch.n_seq_id[i] = 1;
      batch.seq_id[i][0] = static_cast<llama_seq_id>(s);
      batch.logits[i] = 1;
    }
  }
  Rows rows;
  const int32_t code = llama_decode(context.get(), batch);
  EXPECT_EQ(code, 0);
  const int n = llama_model_n_embd((*model)->get());
  const int32_t count =
      options.pooling == Pooling::kNone ? total : static_cast<int32_t>(texts.size());
  for (int32_t i = 0; code == 0 && i < count; ++i) {
    const float* row = options.pooling == Pooling::kNone
                           ? llama_get_embeddings_ith(context.get(), i)
                           : llama_get_embeddings_seq(context.get(), i);
    EXPECT_NE(row, nullptr);
    if (row != nullptr) rows.emplace_back(row, row + n);
  }
  llama_batch_free(batch);
  return rows;
}

// heed's, in the same order.
inline Rows embeddings(Engine& engine, const std::vector<std::vector<Token>>& texts,
                       Pooling pooling) {
  EmbedOptions options;
  options.pooling = pooling;
  const auto all = embed(engine, texts, options);
  EXPECT_TRUE(all.is_ok()) << all.message();
  Rows rows;
  if (!all.is_ok()) return rows;
  for (const Embedding& e : *all) {
    const size_t width = e.values.size() / static_cast<size_t>(e.rows);
    for (int64_t r = 0; r < e.rows; ++r) {
      const auto at = e.values.begin() + r * static_cast<int64_t>(width);
      rows.emplace_back(at, at + static_cast<int64_t>(width));
    }
  }
  return rows;
}

}  // namespace heed::test
