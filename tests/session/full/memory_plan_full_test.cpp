// The larger models of the catalogue; the quick suite has the smallest.
#include "memory_plan_suite.h"

#ifdef HEED_TEST_RESIDENT_MEMORY
namespace heed::test {

INSTANTIATE_TEST_SUITE_P(Larger, RealMemoryPlan,
                         ::testing::Values("gemma3:270m", "qwen2.5-coder:0.5b"));

}  // namespace heed::test
#endif
