// For tests: by epoll, and by io_uring where that can be used.
#pragma once
#include <gtest/gtest.h>

#include <string>

#include "net/loop.h"

namespace herdgate::net {

class OnEachKernel : public ::testing::TestWithParam<Loop::Kernel> {
 protected:
  void SetUp() override {
    if (GetParam() != Loop::Kernel::io_uring) return;
    if (const auto usable = ring_usable(); !usable) GTEST_SKIP() << usable.error().text();
  }
};

inline const auto kKernels = ::testing::Values(Loop::Kernel::epoll, Loop::Kernel::io_uring);

inline std::string kernel_name(const ::testing::TestParamInfo<Loop::Kernel>& kernel) {
  return kernel.param == Loop::Kernel::epoll ? "epoll" : "io_uring";
}

}  // namespace herdgate::net
