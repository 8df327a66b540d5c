#include "fusionllm/exec/memory.hpp"

#include <thread>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

namespace fusionllm::test {
namespace {

long page_faults_of_this_thread() {
    rusage usage{};
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_minflt;
}

//! Make, fill and free 128 MiB of tensors, as a step does.
void use_memory() {
    std::vector<at::Tensor> tensors;
    for (int i = 0; i < 16; ++i) {
        tensors.push_back(at::ones({2 << 20}));
    }
}

TEST(KeptMemory, is_not_fetched_from_the_system_again) {
    keep_freed_memory();
    long num_faults = 0;

    // On a thread of its own, as ops run.
    std::thread([&] {
        // It takes some rounds until the heap's blocks have the right sizes.
        for (int round = 0; round < 12; ++round) {
            use_memory();
        }
        const long before = page_faults_of_this_thread();
        use_memory();
        num_faults = page_faults_of_this_thread() - before;
    }).join();

    // 128 MiB are 32,768 pages; without the call about 22,500 come anew.
    EXPECT_LT(num_faults, 32768 / 8);
}

}  // namespace
}  // namespace fusionllm::test
