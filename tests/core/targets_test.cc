// Proves the table of instruction sets: what is compiled, what this machine supports, which one calls use.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <set>
#include <string>
#include <vector>

#include "kernels.h"
#include "oracle.h"
#include "test_util.h"

namespace {

using oracle::DType;

std::vector<std::string> SupportedNames() {
  std::vector<std::string> names;
  for (const leakyrelu::Kernels* kernels : leakyrelu::SupportedKernels()) names.emplace_back(kernels->target);
  return names;
}

TEST(SupportedKernelsTest, AreAmongTheCompiledOnesInTheSameOrder) {
  const auto targets = leakyrelu::CompiledTargets();
  const std::vector<std::string> compiled(targets.begin(), targets.end());
  auto from = compiled.begin();
  for (const std::string& name : SupportedNames()) {
    const auto found = std::find(from, compiled.end(), name);
    ASSERT_NE(found, compiled.end()) << name;
    from = found + 1;
  }
}

// LEAKYRELU_TARGET chooses by them. Printed for tests/cross/aarch64.sh.
TEST(SupportedKernelsTest, HaveNamesOfTheirOwn) {
  const std::vector<std::string> names = SupportedNames();
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size());
  std::cout << "Kernels, best first:";
  for (const std::string& name : names) std::cout << " " << name;
  std::cout << "\n";
}

TEST(SupportedKernelsTest, EndWithTheOneThatNeedsNoInstructionSet) {
  EXPECT_EQ(SupportedNames().back(), leakyrelu::CompiledTargets().back());
}

TEST(SupportedKernelsTest, AreIndexedByDTypeInTheOracleOrder) {
  for (DType dtype : oracle::kDTypes) {
    EXPECT_EQ(leakyrelu::DTypeIndex(test_util::ApiDType(dtype)), static_cast<size_t>(dtype));
  }
}

TEST(ActiveKernelsTest, AreTheBestUnlessTheEnvironmentNamesOthers) {
  const std::vector<std::string> names = SupportedNames();
  const char* wanted = std::getenv("LEAKYRELU_TARGET");
  const bool has_wanted = wanted != nullptr && std::find(names.begin(), names.end(), wanted) != names.end();
  EXPECT_EQ(leakyrelu::ActiveKernels().target, has_wanted ? std::string(wanted) : names.front());
  const bool ignores = wanted != nullptr && *wanted != '\0' && !has_wanted;
  EXPECT_STREQ(leakyrelu::IgnoredTarget(), ignores ? wanted : nullptr);
}

}  // namespace
