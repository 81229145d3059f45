// Checks, warnings and the gradient mode: what a model tells its thread.
#include <stdexcept>
#include <thread>

#include "shim_test.h"

namespace aotiny {
namespace {

TEST(Check, ThrowsWhatItsContractSays) {
  EXPECT_NO_THROW(aoti_torch_check(true, "f", "f.cpp", 1, "not thrown"));
  try {
    aoti_torch_check(false, "f", "f.cpp", 1, "index 7 is out of range");
    FAIL() << "a failed check must throw";
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "index 7 is out of range");
  }
  EXPECT_THROW(aoti_torch_check(false, nullptr, nullptr, 0, nullptr), std::runtime_error);
}

TEST(Warn, KeepsTheThreadsLastWarningAndPrintsNothing) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  aoti_torch_warn("f", "f.cpp", 1, "first");
  aoti_torch_warn("f", "f.cpp", 2, "second");
  std::thread([] { EXPECT_STREQ(last_warning(), ""); }).join();
  EXPECT_STREQ(last_warning(), "second");
  aoti_torch_warn(nullptr, nullptr, 0, nullptr);
  EXPECT_STREQ(last_warning(), "");
  EXPECT_EQ(testing::internal::GetCapturedStdout() + testing::internal::GetCapturedStderr(), "");
}

TEST(GradMode, BelongsToTheThread) {
  EXPECT_TRUE(aoti_torch_grad_mode_is_enabled());
  aoti_torch_grad_mode_set_enabled(false);
  EXPECT_FALSE(aoti_torch_grad_mode_is_enabled());
  std::thread([] { EXPECT_TRUE(aoti_torch_grad_mode_is_enabled()); }).join();
  aoti_torch_grad_mode_set_enabled(true);
  EXPECT_TRUE(aoti_torch_grad_mode_is_enabled());
}

}  // namespace
}  // namespace aotiny
