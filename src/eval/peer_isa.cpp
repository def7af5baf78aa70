#include "eval/peer_isa.h"

#include <ggml-cpu.h>

#include "base/text.h"

namespace heed::eval {

// ggml answers with what its compiler was told, not with what the processor has.
Isa peer_isa() {
  if (ggml_cpu_has_avx2() == 0 || ggml_cpu_has_fma() == 0 || ggml_cpu_has_f16c() == 0) {
    return Isa::kScalar;
  }
  if (ggml_cpu_has_avx512() == 0) return Isa::kAvx2;
  if (ggml_cpu_has_avx512_vnni() == 0) return Isa::kAvx512;
  return ggml_cpu_has_avx512_bf16() == 0 ? Isa::kAvx512Vnni : Isa::kAvx512Bf16;
}

Status check_peer_isa(Isa own, Isa peer) {
  if (own <= peer) return Status::ok();
  return error(
      Code::kUnsupported, "heed would run ", isa_name(own),
      " kernels beside a ggml that was built for ", isa_name(peer),
      " at most, which is no comparison; set HEED_ISA=", isa_name(peer),
      " or build with ggml for this processor (scripts/bootstrap, cmake --preset release)");
}

Status check_peer_isa() {
  HEED_ASSIGN(const Isa own, choose_isa());
  return check_peer_isa(own, peer_isa());
}

}  // namespace heed::eval
