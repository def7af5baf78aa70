#include <thread>

#include "base/clock.h"
#include "base/guard.h"
#include "base/text.h"
#include "heed/model.h"
#include "model/hyperparameters.h"
#include "model/library_log.h"
#include "model/model_impl.h"
#include "model/split_set.h"
#include "model/threads.h"
#include "model/tokenizer.h"
#include "model/weights.h"

namespace heed {

Model::Impl::Impl() = default;
Model::Impl::~Impl() { LlamaModelFree()(vocab); }

Model::Model(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Model::~Model() = default;

const ModelInfo& Model::info() const { return impl_->info; }
int Model::threads() const { return impl_->threads; }

namespace {

Result<std::unique_ptr<Model::Impl>> load_impl(const std::string& path, ModelOptions options) {
  HEED_ASSIGN(options.threads, resolve_threads(options.threads));
  auto impl = std::make_unique<Model::Impl>();
  impl->threads = options.threads;
  HEED_ASSIGN(impl->file,
              open_model_file(path, options.map ? FileAccess::kMap : FileAccess::kRead));
  Result<Hyperparameters> hyper = Hyperparameters::read(*impl->file);
  if (!hyper.is_ok()) return hyper.status().with_context(path);
  impl->hyper = std::make_unique<Hyperparameters>(std::move(*hyper));
  Result<ModelInfo> info = model_info(*impl->file, *impl->hyper);
  if (!info.is_ok()) return info.status().with_context(path);
  impl->info = std::move(*info);
  impl->file->prefetch();
  // The vocabulary takes as long as the weights and needs one thread; its file is checked by now.
  Result<LlamaModelPtr> vocab = Status(Code::kInternal, "the vocabulary was not loaded");
  // A thread that joins itself: the weights may fail by exception, and `vocab` must outlive it.
  std::jthread vocabulary([&] {
    vocab = guarded("loading the vocabulary",
                    [&] { return load_vocabulary(impl->file->path(), options.cancel); });
  });
  auto weights = ModelWeights::load(*impl->file, *impl->hyper, options);
  vocabulary.join();
  if (!weights.is_ok()) return weights.status().with_context(path);
  HEED_TRY(vocab.status());
  impl->vocab = vocab->release();
  impl->weights = std::move(*weights);
  impl->info.linear = impl->weights->linear_kind();
  HEED_TRY(impl->file->unchanged());
  if (options.progress) options.progress(1.0);
  return impl;
}

}  // namespace

Result<std::shared_ptr<Model>> Model::load(const std::string& path, const ModelOptions& options) {
  route_library_logs();
  const Clock::time_point start = Clock::now();
  return guarded("loading the model", [&]() -> Result<std::shared_ptr<Model>> {
    HEED_ASSIGN(auto impl, load_impl(path, options));
    impl->load_s = seconds_since(start);
    return std::shared_ptr<Model>(new Model(std::move(impl)));
  });
}

Result<ModelInfo> Model::inspect(const std::string& path) {
  route_library_logs();
  return guarded("reading the model's header", [&]() -> Result<ModelInfo> {
    HEED_ASSIGN(auto file, open_model_file(path));
    Result<Hyperparameters> hyper = Hyperparameters::read(*file);
    if (!hyper.is_ok()) return hyper.status().with_context(path);
    Result<ModelInfo> info = model_info(*file, *hyper);
    if (!info.is_ok()) return info.status().with_context(path);
    return info;
  });
}

}  // namespace heed
