// Rows of the registry for people: tables of a terminal and a page of the manual.
#pragma once

#include <string>

#include "heed/mechanisms.h"

namespace heed::cli {

// Every mechanism on a line, by stage.
std::string mechanism_table();
// One in full.
std::string mechanism_text(const Mechanism& mechanism);
// All in full: docs/mechanisms.md.
std::string mechanisms_markdown();

}  // namespace heed::cli
