// --session of `heed run`: a file that spares the next run the part of the prompt that it shares.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>

#include "cli/run_options.h"
#include "heed/adapters.h"
#include "heed/session.h"

namespace heed::cli {

struct RunSession {
  std::string path;
  int64_t prompt = 0;  // tokens
  StartedSequence started;
  SavedSession saved;
  double restore_s = 0, save_s = 0;
  bool kept = false;  // it was saved, or held everything

  // A sequence with what the file has of the prompt; says how much that is.
  Status start(Engine& engine, std::span<const Token> tokens, const RunOptions& options,
               std::shared_ptr<const Adaptation> adaptation);
  Status save(Engine& engine, const RunOptions& options);
};

// Before anything is computed: whether --session's file can be written at all.
Status check_session_place(const RunOptions& options);

nlohmann::ordered_json to_json(const RunSession& session);

}  // namespace heed::cli
