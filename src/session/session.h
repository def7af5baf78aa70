// What tests of saved sessions reach behind heed/session.h.
#pragma once

#include <string>

#include "base/new_file.h"
#include "heed/session.h"

namespace heed {

// save_session() with faults before the calls that write.
Result<SavedSession> save_session_with(Engine& engine, SeqId seq, const std::string& path,
                                       const WriteFaults* faults);

}  // namespace heed
