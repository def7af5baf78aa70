// Reads one member of a zip file (a wheel of the Python index) as a stream.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "heed/status.h"

namespace heed {

// Receives consecutive pieces; its error ends the reading and is returned.
using ByteSink = std::function<Status(const void* data, size_t size)>;

// Streams the uncompressed member to `sink` and checks its length and CRC-32. Stored and deflated
// members are read; zip64 and encryption are refused by name. kCorrupt: the archive contradicts
// itself, kNotFound: it holds no such member.
Status read_zip_member(const std::string& path, const std::string& member, const ByteSink& sink);

}  // namespace heed
