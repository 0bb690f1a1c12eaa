// For tests of what a loop does: by epoll, and by io_uring where that can be used.
#pragma once
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "base/clock.h"
#include "net/loop.h"

namespace herdgate::net {

class OnEachKernel : public ::testing::TestWithParam<Loop::Kernel> {
 protected:
  static constexpr auto kGiveUp = std::chrono::seconds(10);  // no test waits that long; it fails instead of hanging

  void SetUp() override {
    if (GetParam() != Loop::Kernel::io_uring) return;
    if (const auto usable = ring_usable(); !usable) GTEST_SKIP() << usable.error().text();
  }
  void run() {
    const TimerId guard = loop.after(kGiveUp, [this] {
      ADD_FAILURE() << "nothing stopped the loop";
      loop.stop();
    });
    loop.run();
    loop.cancel(guard);
  }

  SystemClock clock;
  Loop loop{clock, GetParam()};
};

inline const auto kKernels = ::testing::Values(Loop::Kernel::epoll, Loop::Kernel::io_uring);

inline std::string kernel_name(const ::testing::TestParamInfo<Loop::Kernel>& kernel) {
  return kernel.param == Loop::Kernel::epoll ? "epoll" : "io_uring";
}

}  // namespace herdgate::net
