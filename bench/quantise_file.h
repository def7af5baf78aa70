// A model file through llama.cpp's own quantiser; what the programs in this folder write.
#pragma once

#include <llama.h>

#include <cstdio>
#include <filesystem>
#include <string>
#include <system_error>
#include <thread>

#include "heed/engine.h"
#include "model/library_log.h"

namespace heed::bench {

// False with the reason on stderr. `to` appears whole or not at all.
inline bool quantise_file(const std::string& from, const std::string& to, llama_ftype ftype) {
  const auto info = Model::inspect(from);  // says what is wrong with the file, if anything
  if (!info.is_ok()) {
    std::fprintf(stderr, "%s\n", info.message().c_str());
    return false;
  }
  route_library_logs();
  llama_model_quantize_params params = llama_model_quantize_default_params();
  params.ftype = ftype;
  params.allow_requantize = true;
  params.nthread = static_cast<int>(std::thread::hardware_concurrency());
  const std::string partial = to + ".partial";
  std::error_code code;
  if (llama_model_quantize(from.c_str(), partial.c_str(), &params) != 0) {
    std::fprintf(stderr, "%s: llama.cpp cannot quantise it: %s\n", from.c_str(),
                 take_library_error().c_str());
    std::filesystem::remove(partial, code);
    return false;
  }
  std::filesystem::rename(partial, to, code);
  if (!code) return true;
  std::fprintf(stderr, "%s: %s\n", to.c_str(), code.message().c_str());
  std::filesystem::remove(partial, code);
  return false;
}

}  // namespace heed::bench
