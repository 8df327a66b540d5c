#pragma once

#include <memory>

#include <gtest/gtest.h>

#include "fusionllm/codec/kokkos_scope.hpp"

namespace fusionllm::test {

//! Kokkos from before the first test to after the last one.
class KokkosEnvironment final : public testing::Environment {
public:
    void SetUp() override { scope_ = std::make_unique<KokkosScope>(1); }
    void TearDown() override { scope_.reset(); }

private:
    std::unique_ptr<KokkosScope> scope_;
};

//! Every test program that includes this has it.
inline const testing::Environment* const kokkos_environment =
    testing::AddGlobalTestEnvironment(new KokkosEnvironment);

}  // namespace fusionllm::test
