// One real model beside llama.cpp in the same process; tests/session/full has the others.
#include "real_model.h"

namespace heed {
namespace {

TEST(RealModel, smollm2_is_within_twice_llama_cpps_distance_from_itself) {
  test::expect_within_twice_llama_cpps_distance_from_itself("smollm2:135m");
}

}  // namespace
}  // namespace heed
