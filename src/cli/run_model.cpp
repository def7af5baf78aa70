#include "cli/run_model.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/clock.h"
#include "base/text.h"
#include "cli/model_source.h"
#include "cli/sampling_report.h"
#include "heed/embed.h"

namespace heed::cli {

Result<RunModel> find_run_model(RunOptions& o) {
  RunModel out;
  std::vector<std::string> adapters;
  HEED_ASSIGN(out.path, model_path(o.model, o.offline, o.progress_mode(), &adapters));
  o.adapters.add_loras(adapters);
  HEED_ASSIGN(out.info, Model::inspect(out.path));
  HEED_TRY(check_decoder(out.info));
  const int64_t trained = out.info.trained_context;
  const int64_t longest = longest_context(out.info, o.engine.rope);
  if (o.context > longest) {
    return error(Code::kOutOfRange, "-c ", o.context, ": the model was trained for ", trained,
                 " tokens; use -c ", longest, " or less, or stretch it with --rope-scaling yarn ",
                 "--rope-scale ", (o.context + trained - 1) / trained);
  }
  if (o.engine.context == 0) o.engine.context = trained;
  o.rope_context = out.info.rope_context;
  HEED_TRY(o.draft.find_model(o.offline, o.progress_mode(), o.engine.context, o.engine.chunk));
  HEED_ASSIGN(out.recommended, take_recommended(out.info, o.sampling.own(), o.sampler));
  if (!o.quiet) note_sampling(out.info, out.recommended);
  return out;
}

Result<ModelOptions> load_options(const RunOptions& options) {
  ModelOptions load;
  load.threads = options.threads;
  HEED_ASSIGN(load.linear, parse_linear(options.linear));
  return load;
}

std::function<void(int64_t done, int64_t total)> show_prefill(ProgressLine& line) {
  const Clock::time_point start = Clock::now();
  return [&line, start](int64_t done, int64_t total) {
    const double rate = static_cast<double>(done) / std::max(seconds_since(start), 1e-9);
    // Later tokens read more keys, so this estimate is a little low for long prompts.
    const double left = static_cast<double>(total - done) / std::max(rate, 1e-9);
    line.show(fmt::format("prompt {} of {} tokens ({:.0f} %), {:.0f} tokens/s, {} left", done,
                          total, 100.0 * static_cast<double>(done) / static_cast<double>(total),
                          rate, seconds_text(left)));
  };
}

}  // namespace heed::cli
