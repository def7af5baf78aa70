// Comparisons in which one engine may use more instructions than the other.
#include "eval/peer_isa.h"

#include <gtest/gtest.h>

#include "eval/machine.h"

namespace heed::eval {
namespace {

TEST(PeerIsa, heed_takes_no_instructions_that_its_peer_may_not) {
  for (int own = 0; own < kIsaCount; ++own) {
    for (int peer = 0; peer < kIsaCount; ++peer) {
      const Status status = check_peer_isa(static_cast<Isa>(own), static_cast<Isa>(peer));
      EXPECT_EQ(status.is_ok(), own <= peer) << own << " beside " << peer;
    }
  }
  const Status refused = check_peer_isa(Isa::kAvx512, Isa::kAvx2);
  EXPECT_EQ(refused.code(), Code::kUnsupported);
  EXPECT_NE(refused.message().find("HEED_ISA=avx2"), std::string::npos) << refused.message();
}

TEST(PeerIsa, reports_name_what_ggml_was_built_for) {
  const auto machine = describe_machine(1);
  ASSERT_TRUE(machine.is_ok()) << machine.message();
  EXPECT_EQ(machine->ggml, isa_name(peer_isa()));
  // A ggml with more than the processor would not have started.
  EXPECT_TRUE(isa_supported(peer_isa())) << machine->ggml;
}

}  // namespace
}  // namespace heed::eval
