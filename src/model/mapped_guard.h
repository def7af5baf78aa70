// A page of a mapped file that another process cut away: reading it raises SIGBUS, which would end
// this one. Within a guarded mapping such a page reads as zeros instead and the mapping is lost
// from then on; whoever read it asks and answers with an error.
#pragma once

#include <cstddef>
#include <cstdint>

namespace heed {

// From here to unguard_mapping(), which comes before munmap. The first one of a process installs a
// handler of SIGBUS that passes on every fault outside of guarded mappings to the handler before
// it. A program whose own handler comes later keeps that one. False when too many are guarded.
[[nodiscard]] bool guard_mapping(const uint8_t* data, size_t bytes);
void unguard_mapping(const uint8_t* data);

// A page could not be read since guard_mapping().
bool mapping_is_lost(const uint8_t* data);

}  // namespace heed
