#include "fusionllm/util/pickle.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fusionllm/util/error.hpp"

#include "message_of.hpp"

namespace fusionllm::test {
namespace {

using testing::HasSubstr;
using namespace std::string_literals;

const PickleRules rules{
    "the pickle", "make it again", [](auto name) { return name == "a.Point"; }};

std::string refusal(const std::string& bytes) {
    return message_of<InputError>([&] { Pickle(bytes, rules); });
}

//! pickle.dumps([True, -2, 300, 2**40, 0.5, "é", b"\0", None], protocol)
TEST(Pickles, of_protocols_2_and_4_are_plain_values) {
    const std::string two =
        "\x80\x02]q\x00(\x88J\xfe\xff\xff\xffM,\x01\x8a\x06\x00\x00\x00\x00"
        "\x00\x01G?\xe0\x00\x00\x00\x00\x00\x00X\x02\x00\x00\x00\xc3\xa9q"
        "\x01"
        "C\x01\x00Ne."s;
    const std::string four =
        "\x80\x04\x95\x2e\x00\x00\x00\x00\x00\x00\x00]\x94(\x88J\xfe\xff\xff"
        "\xffM,\x01\x8a\x06\x00\x00\x00\x00\x00\x01G?\xe0\x00\x00\x00\x00\x00"
        "\x00\x8c\x02\xc3\xa9\x94"
        "C\x01\x00\x94Ne."s;

    for (const std::string& bytes : {two, four}) {
        const Pickle pickle(bytes, rules);
        const auto& items = pickle.root()->get<PickleList>()->items;

        ASSERT_EQ(items.size(), 8u);
        EXPECT_EQ(*items[0]->get<bool>(), true);
        EXPECT_EQ(*items[1]->get<std::int64_t>(), -2);
        EXPECT_EQ(*items[2]->get<std::int64_t>(), 300);
        EXPECT_EQ(*items[3]->get<std::int64_t>(), std::int64_t{1} << 40);
        EXPECT_EQ(*items[4]->get<double>(), 0.5);
        EXPECT_EQ(*items[5]->get<std::string_view>(), "\xc3\xa9");
        EXPECT_EQ(*items[6]->get<std::string_view>(), "\0"s);
        EXPECT_NE(items[7]->get<PickleNone>(), nullptr);
    }
}

TEST(Pickles, write_down_what_would_be_called) {
    const std::string bytes =
        "\x80\x02"
        "ca\nPoint\n"
        "K\x01K\x02\x86R}X\x01\x00\x00\x00xK\x03sb."s;

    const Pickle pickle(bytes, rules);

    const auto* point = pickle.root()->get<PickleObject>();
    ASSERT_NE(point, nullptr);
    EXPECT_EQ(point->callable, "a.Point");
    EXPECT_EQ(point->arguments->get<PickleList>()->items.size(), 2u);
    ASSERT_NE(point->state, nullptr);
    EXPECT_EQ(point->state->get<PickleDict>()->items.size(), 1u);
}

TEST(Pickles, name_nothing_that_is_not_known) {
    EXPECT_EQ(refusal("\x80\x02"
                      "cos\nsystem\n(X\x04\x00\x00\x00true\x85R."s),
              "the pickle cannot be read: it names 'os.system', which would "
              "run code; make it again");
    EXPECT_THAT(refusal("\x80\x04\x8c\x02os\x8c\x06system\x93."s),
                HasSubstr("it names 'os.system'"));
}

TEST(Pickles, that_are_damaged_are_refused) {
    for (const std::string& bytes : {""s,
                                     "."s,
                                     "("s,
                                     "(."s,
                                     "\x80"s,
                                     "K"s,
                                     "X\xff\xff\xff\xff."s,
                                     "ca"s,
                                     "u."s,
                                     "}s."s,
                                     "h\x07."s,
                                     "tR."s,
                                     "K\x01K\x02R."s,
                                     "K\x01Nb."s,
                                     "(e."s,
                                     "]K\x01u."s,
                                     "\x8d\xff\xff\xff\xff\xff\xff\xff\xff."s,
                                     "I1\n."s}) {
        EXPECT_THAT(refusal(bytes), HasSubstr("the pickle cannot be read"))
            << testing::PrintToString(bytes);
    }
}

}  // namespace
}  // namespace fusionllm::test
