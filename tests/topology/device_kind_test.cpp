#include "fusionllm/topology/device_kind.hpp"

#include <set>

#include <gtest/gtest.h>

#include "fusionllm/util/error.hpp"

namespace fusionllm::test {
namespace {

TEST(OpKindTest, every_kind_has_a_name_of_its_own_that_reads_back) {
    std::set<std::string_view> names;

    for (std::size_t i = 0; i < num_op_kinds; ++i) {
        const auto kind = static_cast<OpKind>(i);
        names.insert(to_text(kind));
        EXPECT_EQ(parse_op_kind(to_text(kind)), kind);
    }

    EXPECT_EQ(names.size(), num_op_kinds);
    EXPECT_EQ(to_text(OpKind::contraction), "contraction");
    EXPECT_EQ(to_text(OpKind::view), "view");
}

TEST(OpKindTest, a_wrong_name_is_told_the_nearest) {
    try {
        parse_op_kind("contration");
        FAIL() << "no error";
    } catch (const InputError& error) {
        EXPECT_NE(std::string(error.what()).find("mean 'contraction'"),
                  std::string::npos)
            << error.what();
    }
}

}  // namespace
}  // namespace fusionllm::test
