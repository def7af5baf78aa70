// The real models of the other two descriptions beside llama.cpp in the same process.
#include "real_model.h"

namespace heed {
namespace {

TEST(RealModelFull, gemma3_is_within_twice_llama_cpps_distance_from_itself) {
  test::expect_within_twice_llama_cpps_distance_from_itself("gemma3:270m");
}

TEST(RealModelFull, qwen2_5_coder_is_within_twice_llama_cpps_distance_from_itself) {
  test::expect_within_twice_llama_cpps_distance_from_itself("qwen2.5-coder:0.5b");
}

}  // namespace
}  // namespace heed
