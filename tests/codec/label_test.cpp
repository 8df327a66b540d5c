// Every kernel of ours can be told from others in a profile.

#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace fusionllm::test {
namespace {

//! Calls of Kokkos kernels whose first argument is not one of our labels.
std::vector<std::string> find_unlabelled(const std::string& source) {
    static const std::regex call(
        R"(\bparallel_(for|reduce|scan)\s*\(\s*(.{0,13}))");
    std::vector<std::string> found;
    for (std::sregex_iterator match(source.begin(), source.end(), call), end;
         match != end;
         ++match) {
        const std::string argument = (*match)[2];
        // Inside a team there is no kernel to label.
        if (!argument.starts_with("\"FusionLLM::") &&
            !argument.starts_with("Kokkos::Team") &&
            !argument.starts_with("Kokkos::Threa")) {
            found.push_back(match->str());
        }
    }
    return found;
}

TEST(Labels, are_on_every_kernel) {
    const std::filesystem::path root = FUSIONLLM_SOURCE_DIR;
    int num_kernels = 0;
    for (const char* folder : {"src", "include"}) {
        for (const auto& entry :
             std::filesystem::recursive_directory_iterator(root / folder)) {
            const auto extension = entry.path().extension();
            if (extension != ".cpp" && extension != ".hpp") {
                continue;
            }
            std::ostringstream source;
            source << std::ifstream(entry.path()).rdbuf();

            EXPECT_EQ(find_unlabelled(source.str()), std::vector<std::string>())
                << entry.path();
            num_kernels +=
                source.str().find("\"FusionLLM::") != std::string::npos ? 1 : 0;
        }
    }
    EXPECT_GT(num_kernels, 0) << "no kernels under " << root;
}

TEST(Labels, are_missed_where_there_are_none) {
    EXPECT_EQ(find_unlabelled("Kokkos::parallel_for(policy, f);").size(), 1U);
    EXPECT_EQ(find_unlabelled("parallel_reduce(\n  \"Other\", f);").size(), 1U);
    EXPECT_EQ(
        find_unlabelled("parallel_for(\n  \"FusionLLM::A::b\", f);").size(),
        0U);
}

}  // namespace
}  // namespace fusionllm::test
