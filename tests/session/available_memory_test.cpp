// What is left of a machine's and of its control groups' memory, read from folders of the test's
// own.
#include "session/available_memory.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace heed {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

class Groups : public testing::Test {
 protected:
  Groups() {
    std::string name = (std::filesystem::temp_directory_path() / "heed-groups-XXXXXX").string();
    root_ = ::mkdtemp(name.data());
    paths_ = {.membership = root_ + "/membership", .mount = root_ + "/mount"};
    std::filesystem::create_directories(paths_.mount);
  }
  ~Groups() override { std::filesystem::remove_all(root_); }

  void member_of(const std::string& lines) { std::ofstream(paths_.membership) << lines; }
  void write(const std::string& file, const std::string& text) {
    const std::filesystem::path path = paths_.mount + "/" + file;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text << "\n";
  }
  void write(const std::string& file, uint64_t mib) { write(file, std::to_string(mib * kMiB)); }
  // MiB, far below what any machine has; 0 when the groups say nothing.
  uint64_t available() {
    const auto bytes = available_memory(paths_);
    EXPECT_TRUE(bytes);
    return bytes && *bytes < 8 * kMiB ? *bytes / kMiB : 0;
  }
  uint64_t limit() { return memory_limit(paths_).value_or(0) / kMiB; }

  std::string root_;
  GroupPaths paths_;
};

TEST_F(Groups, version_2_takes_the_tightest_group_and_counts_droppable_pages_as_free) {
  member_of("0::/outer/inner\n");
  EXPECT_EQ(available(), 0u) << "no limits yet";
  EXPECT_EQ(limit(), 0u);
  write("outer/inner/memory.max", "max");
  write("outer/inner/memory.current", 90);
  EXPECT_EQ(available(), 0u);
  write("outer/memory.max", 100);
  write("outer/memory.current", 97);
  EXPECT_EQ(available(), 3u);
  EXPECT_EQ(limit(), 100u);
  write("outer/memory.stat", "anon 7\ninactive_file " + std::to_string(2 * kMiB) + "\nfile 9");
  EXPECT_EQ(available(), 5u);
  write("outer/inner/memory.max", 91);
  EXPECT_EQ(available(), 1u);
  EXPECT_EQ(limit(), 91u);
}

TEST_F(Groups, a_level_at_which_the_kernel_slows_a_group_down_is_a_limit) {
  member_of("0::/g\n");
  write("g/memory.max", 200);
  write("g/memory.high", 100);
  write("g/memory.current", 98);
  EXPECT_EQ(available(), 2u);
  EXPECT_EQ(limit(), 100u);
}

TEST_F(Groups, a_group_beyond_its_limit_has_nothing_left) {
  member_of("0::/g\n");
  write("g/memory.max", 10);
  write("g/memory.current", 12);
  EXPECT_EQ(available_memory(paths_), std::optional<uint64_t>(0));
}

TEST_F(Groups, version_1_reads_the_memory_controllers_own_mount) {
  member_of("3:cpu,cpuacct:/c\n5:memory:/m\n");
  write("cpu,cpuacct/c/memory.limit_in_bytes", 1);  // of another controller
  write("memory/m/memory.limit_in_bytes", 50);
  write("memory/m/memory.usage_in_bytes", 46);
  write("memory/m/memory.stat", "inactive_file 1\ntotal_inactive_file " + std::to_string(kMiB));
  EXPECT_EQ(available(), 5u);
  EXPECT_EQ(limit(), 50u);
}

// Inside a container the path is the host's and the mount point holds the limit.
TEST_F(Groups, an_invisible_path_leaves_the_mount_points_limit) {
  for (const char* lines : {"0::/docker/0123\n", "5:memory:/docker/0123\n", ""}) {
    member_of(lines);
    const std::string folder = lines[0] == '5' ? "memory/" : "";
    const std::string suffix = lines[0] == '5' ? "limit_in_bytes" : "max";
    write(folder + "memory." + suffix, 20);
    write(folder + (lines[0] == '5' ? "memory.usage_in_bytes" : "memory.current"), 14);
    EXPECT_EQ(available(), 6u) << lines;
    EXPECT_EQ(limit(), 20u) << lines;
  }
}

TEST_F(Groups, controllers_that_share_a_mount_are_found_by_name) {
  member_of("3:cpu,cpuacct:/c\n4:cpuset:/s\n0::/u\n");
  std::vector<std::string> found;
  for (const GroupFolder& folder : group_folders("cpu", paths_)) {
    found.push_back(folder.path.substr(paths_.mount.size()) + "#" + std::to_string(folder.version));
  }
  EXPECT_EQ(found, (std::vector<std::string>{"/cpu,cpuacct/c#1", "/cpu,cpuacct#1", "/u#2", "#2"}));
}

TEST(AvailableMemory, is_below_the_total_and_unknown_keys_are_nothing) {
  const auto total = meminfo("MemTotal");
  const auto available = available_memory();
  ASSERT_TRUE(total && available);
  EXPECT_GT(*available, 0u);
  EXPECT_LE(*available, *total);
  EXPECT_FALSE(meminfo("NoSuchKey"));
}

}  // namespace
}  // namespace heed
