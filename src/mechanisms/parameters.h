// Parameters that several rows have: sinks, a window of the nearest keys, columns and diagonals.
#pragma once

#include "heed/mechanisms.h"

namespace heed {

inline constexpr double kMostListKeys = 1 << 28;  // of a list

inline constexpr Parameter kSinkKeys = {
    .name = "n_init",
    .type = ParameterType::kInt,
    .standard = "128",
    .least = 0,
    .most = kMostListKeys,
    .unit = "tokens",
    .help = "Keys at the beginning that every row reads",
    .aliases = "n_sink start_size init_num num_retained_start_tokens_in_cache",
};

inline constexpr Parameter kWindowKeys = {
    .name = "n_local",
    .type = ParameterType::kInt,
    .standard = "3968",
    .least = 1,
    .most = kMostListKeys,
    .unit = "tokens",
    .help = "Nearest keys that a row reads, itself among them",
    .aliases = "window_size recent_size local_window_num num_retained_recent_tokens_in_cache",
};

inline constexpr Parameter kVerticalKeys = {
    .name = "nv",
    .type = ParameterType::kInt,
    .standard = "1000",
    .least = 1,
    .most = kMostListKeys,
    .unit = "tokens",
    .help = "Columns kept, no fewer than the forced ones",
    .aliases = "vertical vertical_size vertical_topk",
};

inline constexpr Parameter kSlashDistances = {
    .name = "ns",
    .type = ParameterType::kInt,
    .standard = "6096",
    .least = 1,
    .most = kMostListKeys,
    .unit = "tokens",
    .help = "Distances kept, no fewer than the forced ones",
    .aliases = "slash slash_size slash_topk",
};

}  // namespace heed
