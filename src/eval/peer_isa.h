// The instructions that the ggml (and with it llama.cpp) inside this program was built for.
#pragma once

#include "heed/cpu.h"

namespace heed::eval {

// In heed's levels: the highest whose instructions ggml may use too.
Isa peer_isa();

// kUnsupported where heed's kernels would use instructions that this ggml may not: a ratio between
// the two would say nothing.
Status check_peer_isa(Isa own, Isa peer);
Status check_peer_isa();  // of choose_isa() and peer_isa()

}  // namespace heed::eval
