// Which experts a row goes to, and which rows an expert gets.
#pragma once

#include <cstdint>
#include <span>

namespace heed {

inline constexpr int kMostExperts = 1024;

// What experts are chosen by and shares are made of. kLogits: chosen by the logits themselves, with
// the softmax over those of the chosen as shares.
enum class RouterScore : uint8_t { kSoftmax, kSigmoid, kLogits };

// How a router's scores become a choice and its shares.
struct RouterRule {
  RouterScore score = RouterScore::kSoftmax;
  bool normalised = true;  // shares sum to `scale`; else each is its score times that
  float scale = 1;
  // Neighbouring experts form groups, and only those of the groups whose two best sum up highest
  // are chosen from.
  int groups = 1, groups_used = 1;

  bool operator==(const RouterRule&) const = default;
};

// The `chosen.size()` experts with the largest scores, best first, and their shares. `bias` (by
// expert, or null) is added for the choice alone. Of equals the first wins; a NaN counts as the
// largest, so that it is seen. At most kMostExperts logits; groups are of two experts or more and
// those used hold as many as are chosen.
void choose_experts(const RouterRule& rule, std::span<const float> logits, const float* bias,
                    std::span<int32_t> chosen, std::span<float> shares);

// The slots of a step by expert. A row has as many slots as it has experts; slot row * used + rank
// is the row's way through its expert `rank`. Experts that nobody asked have no list.
class ExpertLists {
 public:
  struct Size {
    int experts = 0;
    int64_t slots = 0;
  };
  // What lists of that size lie in, made or to be made.
  ExpertLists(int32_t* memory, const Size& size)
      : count_(memory),
        expert_(memory + 1),
        first_(expert_ + size.experts),
        tile_(first_ + size.experts + 1),
        slot_(tile_ + size.experts),
        size_(size) {}
  static int64_t words(const Size& size) { return 2 + 3 * int64_t{size.experts} + size.slots; }
  // Tiles of packed rows that lists of that size fill at most: each begins a tile of its own.
  static int64_t most_tiles(const Size& size);

  // `chosen` [slots], each below Size::experts.
  void make(const int32_t* chosen);

  int count() const { return *count_; }
  int expert(int i) const { return expert_[i]; }  // ascending
  std::span<const int32_t> slots(int i) const {   // ascending
    return {slot_ + first_[i], static_cast<size_t>(first_[i + 1] - first_[i])};
  }
  int64_t tile(int i) const { return tile_[i]; }  // of the list's first entry
  int64_t all_slots() const { return size_.slots; }

 private:
  int32_t* count_;
  int32_t* expert_;  // [experts]
  int32_t* first_;   // [experts + 1]
  int32_t* tile_;    // [experts]
  int32_t* slot_;    // [slots]
  Size size_;
};

}  // namespace heed
