#include "aotiny/core/status.h"

#include <gtest/gtest.h>

#include <cstring>
#include <new>
#include <stdexcept>
#include <thread>

namespace aotiny {
namespace {

TEST(Status, ValuesAreThoseOfExecuTorch) {
  EXPECT_EQ(static_cast<int32_t>(Status::Internal), 0x01);
  EXPECT_EQ(static_cast<int32_t>(Status::InvalidArgument), 0x12);
  EXPECT_EQ(static_cast<int32_t>(Status::InvalidProgram), 0x23);
  EXPECT_STREQ(status_name(Status::OperatorMissing), "OperatorMissing");
  EXPECT_STREQ(status_name(static_cast<Status>(77)), "unknown status");
  EXPECT_STRNE(status_message(Status::NotFound), status_message(Status::AccessFailed));
}

TEST(Status, GuardedTurnsExceptionsIntoCodes) {
  EXPECT_EQ(guarded([] {}), 0);
  EXPECT_EQ(guarded([] { fail(Status::InvalidType, "rank ", 3, " of ", 2.5); }), 0x13);
  EXPECT_STREQ(last_error(), "rank 3 of 2.5");
  EXPECT_EQ(guarded([] {}), 0);
  EXPECT_STREQ(last_error(), "rank 3 of 2.5") << "a success leaves the last error alone";
  EXPECT_EQ(guarded([] { throw std::bad_alloc(); }), 0x21);
  EXPECT_EQ(guarded([] { throw std::runtime_error("what it said"); }), 0x01);
  EXPECT_STREQ(last_error(), "what it said");
  EXPECT_EQ(guarded([] { throw 7; }), 0x01);
  EXPECT_GT(std::strlen(last_error()), 0u);
}

TEST(Status, TheLastErrorIsTheThreads) {
  set_last_error("mine");
  std::thread([] {
    EXPECT_STREQ(last_error(), "");
    set_last_error("theirs");
  }).join();
  EXPECT_STREQ(last_error(), "mine");
}

}  // namespace
}  // namespace aotiny
