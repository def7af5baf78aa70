// A GGUF file that holds a LoRA adapter, checked as far as it can be without its model.
#pragma once

#include <string_view>
#include <vector>

#include "heed/adapters.h"
#include "model/gguf_file.h"

namespace heed {

inline constexpr std::string_view kTableName = "token_embd.weight";
inline constexpr std::string_view kHeadName = "output.weight";

// The factors of one tensor of the model: a [rank, in], b [out, rank], as ggml has them {in, rank}
// and {rank, out}. Of the table of embeddings, whose rows are looked up, a is {rank, vocabulary}.
struct LoraPair {
  std::string_view target;
  const GgufTensor* a = nullptr;
  const GgufTensor* b = nullptr;

  bool is_table() const { return target == kTableName; }
  int64_t rank() const { return b->ne[0]; }
  // Of the target, as the model's file has it.
  int64_t inputs() const { return is_table() ? b->ne[1] : a->ne[0]; }
  int64_t outputs() const { return is_table() ? a->ne[1] : b->ne[1]; }
};

struct AdapterFile {
  AdapterInfo info;
  std::vector<LoraPair> pairs;  // in the order of the file, which must outlive them

  // What B (A x) is multiplied with, beside the user's scale.
  float scale_of(const LoraPair& pair) const;

  static Result<AdapterFile> read(const GgufFile& file);
};

// kCorrupt when one of n numbers is not finite.
Status check_finite(std::string_view tensor, const float* values, int64_t n);

}  // namespace heed
