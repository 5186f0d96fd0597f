// Proves what is read of a machine, on trees of files that look like some machines'.

#include "system_linux.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

// Files of a machine, in a directory that goes with the test.
class SystemTest : public testing::Test {
 protected:
  SystemTest() : root_(testing::TempDir() + "leakyrelu_system_" + TestName()) {
    std::filesystem::create_directory(root_);
  }
  ~SystemTest() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text << '\n';
  }

  void WriteCache(int index, const std::string& level, const std::string& size) {
    const std::string directory = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index);
    Write(directory + "/level", level);
    Write(directory + "/size", size);
  }

  static std::string TestName() { return testing::UnitTest::GetInstance()->current_test_info()->name(); }

  std::string root_;
};

TEST_F(SystemTest, CacheOfThreeLevels) {
  WriteCache(0, "1", "32K");
  WriteCache(1, "1", "32K");
  WriteCache(2, "2", "1024K");
  WriteCache(3, "3", "32768K");
  EXPECT_EQ(leakyrelu::FindCacheBytes(root_), 32 * kMiB);
}

TEST_F(SystemTest, CacheInMebibytes) {
  WriteCache(0, "1", "64K");
  WriteCache(1, "3", "96M");
  EXPECT_EQ(leakyrelu::FindCacheBytes(root_), 96 * kMiB);
}

TEST_F(SystemTest, CacheWithoutASize) {
  WriteCache(0, "1", "64K");
  WriteCache(1, "2", "");
  EXPECT_EQ(leakyrelu::FindCacheBytes(root_), 64 * 1024);
}

TEST_F(SystemTest, CacheThatIsNotTold) { EXPECT_EQ(leakyrelu::FindCacheBytes(root_), 32 * kMiB); }

TEST_F(SystemTest, MemoryWithoutControlGroups) {
  const int64_t all = leakyrelu::FindMemoryBytes(root_);
  EXPECT_GT(all, 16 * kMiB);
  Write("/proc/self/cgroup", "0::/");
  Write("/sys/fs/cgroup/memory.max", "max");
  EXPECT_EQ(leakyrelu::FindMemoryBytes(root_), all);
}

TEST_F(SystemTest, MemoryOfANestedGroup) {
  Write("/proc/self/cgroup", "0::/user/job");
  Write("/sys/fs/cgroup/user/job/memory.max", "8388608");
  Write("/sys/fs/cgroup/user/memory.max", "max");
  EXPECT_EQ(leakyrelu::FindMemoryBytes(root_), 8 * kMiB);
}

TEST_F(SystemTest, MemoryOfAGroupThatHoldsOurs) {
  Write("/proc/self/cgroup", "0::/user/job");
  Write("/sys/fs/cgroup/user/job/memory.max", "8388608");
  Write("/sys/fs/cgroup/user/memory.max", "4194304");
  EXPECT_EQ(leakyrelu::FindMemoryBytes(root_), 4 * kMiB);
}

TEST_F(SystemTest, MemoryOfAContainerThatSeesItsOwnRootOnly) {
  Write("/proc/self/cgroup", "0::/docker/0123456789abcdef");
  Write("/sys/fs/cgroup/memory.max", "16777216");
  EXPECT_EQ(leakyrelu::FindMemoryBytes(root_), 16 * kMiB);
}

TEST_F(SystemTest, MemoryOfControlGroupsVersion1) {
  Write("/proc/self/cgroup", "9:name=systemd:/\n4:memory:/docker/job\n1:cpu,cpuacct:/\n0::/");
  Write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712");
  Write("/sys/fs/cgroup/memory/docker/job/memory.limit_in_bytes", "2097152");
  EXPECT_EQ(leakyrelu::FindMemoryBytes(root_), 2 * kMiB);
}

TEST_F(SystemTest, LinesThatAreNoControlGroup) {
  const int64_t all = leakyrelu::FindMemoryBytes(root_);
  Write("/proc/self/cgroup", "\nnonsense\n1:\n:::\n0::relative");
  EXPECT_EQ(leakyrelu::FindMemoryBytes(root_), all);
}

TEST_F(SystemTest, CoresWithoutAQuota) {
  const int32_t all = leakyrelu::FindCores(root_);
  EXPECT_GE(all, 1);
  Write("/proc/self/cgroup", "1:cpu,cpuacct:/\n0::/");
  Write("/sys/fs/cgroup/cpu.max", "max 100000");
  Write("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1");
  Write("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000");
  EXPECT_EQ(leakyrelu::FindCores(root_), all);
}

TEST_F(SystemTest, CoresOfAQuota) {
  Write("/proc/self/cgroup", "0::/user/job");
  Write("/sys/fs/cgroup/user/job/cpu.max", "max 100000");
  Write("/sys/fs/cgroup/user/cpu.max", "50000 100000");
  EXPECT_EQ(leakyrelu::FindCores(root_), 1);
}

TEST_F(SystemTest, CoresOfAQuotaAreRoundedUp) {
  const int32_t all = leakyrelu::FindCores(root_);
  Write("/proc/self/cgroup", "0::/");
  Write("/sys/fs/cgroup/cpu.max", "150000 100000");
  EXPECT_EQ(leakyrelu::FindCores(root_), std::min(all, 2));
}

TEST_F(SystemTest, CoresOfAQuotaOfControlGroupsVersion1) {
  Write("/proc/self/cgroup", "3:cpuset:/\n2:cpu,cpuacct:/docker/job\n");
  Write("/sys/fs/cgroup/cpu/docker/job/cpu.cfs_quota_us", "100000");
  Write("/sys/fs/cgroup/cpu/docker/job/cpu.cfs_period_us", "100000");
  EXPECT_EQ(leakyrelu::FindCores(root_), 1);
}

}  // namespace
