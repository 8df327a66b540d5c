#include "fusionllm/runtime/fence_codecs.hpp"

#include <algorithm>
#include <cstring>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "fusionllm/util/error.hpp"

#include "training.hpp"

namespace fusionllm::test {
namespace {

//! One value of a GPT-2 at a cut, and what both ends of a fence there do.
class FenceCodecsTest : public testing::Test {
protected:
    void SetUp() override { start_kokkos(); }

    Gpt2Options options() const {
        Gpt2Options options;
        options.layers = 2;
        options.width = 32;
        options.heads = 2;
        options.context = 64;
        options.vocabulary = 64;
        return options;
    }

    OpGraph graph_ = make_gpt2(options(), 2);
    std::size_t cut_ = graph_.ops().size() / 2;
    ValueId value_ = compressible_values(graph_, cut_).at(0);

    std::vector<Fence> fences(const char* codec) const {
        return {{cut_, value_, parse_codec_choice(codec, 1)}};
    }
    FenceCodecs whole(const char* codec) const {
        return {graph_, fences(codec), {0, graph_.ops().size()}, {}};
    }
    FenceCodecs before(const char* codec) const {
        return {graph_, fences(codec), {0, cut_}, {}};
    }
    FenceCodecs behind(const char* codec) const {
        return {graph_, fences(codec), {cut_, graph_.ops().size()}, {}};
    }

    //! Of a step that asks for no new basis.
    FenceKey key(Direction direction,
                 CodecKey::Use use = CodecKey::Use::training) const {
        return {cut_, value_, direction, 3, 0, use};
    }
    MessageHeader header() const {
        MessageHeader header;
        header.step = 3;
        header.value = value_.get();
        header.type = graph_.value(value_).type;
        return header;
    }
    //! Most of it lies in few directions.
    at::Tensor make_numbers() const {
        at::manual_seed(1);
        const at::Tensor scales =
            at::exp2(-at::arange(32, at::TensorOptions().dtype(at::kFloat)));
        return at::randn(graph_.value(value_).type.sizes) * scales;
    }

    static bool has_basis(const FenceCodecs& codecs) {
        bool is_there = false;
        for (const NamedTensor& entry : codecs.state()) {
            is_there |= entry.name.ends_with("/basis") &&
                        std::ranges::any_of(
                            entry.tensor.bytes,
                            [](std::byte b) { return b != std::byte{0}; });
        }
        return is_there;
    }
};

LoadTensor load_from(std::vector<NamedTensor> tensors) {
    return [tensors = std::move(tensors)](
               const std::string& name) -> std::optional<HostTensor> {
        const auto found = std::ranges::find(tensors, name, &NamedTensor::name);
        return found == tensors.end() ? std::nullopt
                                      : std::optional(found->tensor);
    };
}

constexpr const char* finer = "subspace(4,graded6/int4s)";
constexpr const char* coarser = "subspace(4,graded5/int3s)";

TEST_F(FenceCodecsTest, both_ends_leave_a_basis_that_has_the_bits_of_another) {
    for (const auto& [from, to] :
         {std::pair(finer, coarser), std::pair(coarser, finer)}) {
        SCOPED_TRACE(to);
        FenceCodecs old_before = before(from);
        FenceCodecs old_behind = behind(from);
        const at::Tensor numbers = make_numbers();
        old_behind.decode(
            key(Direction::forward),
            old_before.encode(key(Direction::forward), header(), numbers),
            header());
        FenceCodecs new_before = before(to);
        FenceCodecs new_behind = behind(to);

        new_before.take_state(old_before);
        new_behind.take_state(old_behind);

        EXPECT_FALSE(has_basis(new_before));
        const Buffer message =
            new_before.encode(key(Direction::forward), header(), numbers);
        EXPECT_TRUE(decode_header(message.span()).codec.carries_basis);
        FenceCodecs fresh = whole(to);
        EXPECT_TRUE(at::equal(
            new_behind.decode(key(Direction::forward), message, header()),
            fresh.cross(key(Direction::forward), numbers)));
    }
}

TEST_F(FenceCodecsTest, a_checkpoint_of_another_grade_does_the_same) {
    for (const auto& [from, to] :
         {std::pair(finer, coarser), std::pair(coarser, finer)}) {
        SCOPED_TRACE(to);
        FenceCodecs old = whole(from);
        old.cross(key(Direction::forward), make_numbers());
        ASSERT_TRUE(has_basis(old));
        const LoadTensor load = load_from(old.state());
        FenceCodecs next = whole(to);
        FenceCodecs same = whole(from);

        next.load_state(load, fences(from));
        same.load_state(load, fences(from));

        EXPECT_FALSE(has_basis(next));
        EXPECT_TRUE(has_basis(same));
    }
}

TEST_F(FenceCodecsTest, a_basis_outlives_a_change_of_what_it_is_not_made_for) {
    const char* feedback = "subspace(4,graded6/int3s)+feedback";
    FenceCodecs old = whole(feedback);
    old.cross(key(Direction::forward), make_numbers());
    FenceCodecs gradients = whole("subspace(4,graded6/int4s)+feedback");
    FenceCodecs grades = whole("subspace(4,graded5/int3s)+feedback");

    gradients.take_state(old);
    grades.take_state(old);

    const auto residual = [](const FenceCodecs& codecs) {
        const auto states = codecs.state();
        return std::ranges::find_if(
                   states,
                   [](const NamedTensor& entry) {
                       return entry.name.ends_with("/forward_residual");
                   })
            ->tensor;
    };
    EXPECT_TRUE(has_basis(gradients));
    EXPECT_FALSE(has_basis(grades));
    EXPECT_EQ(residual(gradients), residual(old));
    EXPECT_EQ(residual(grades), residual(old));
}

TEST_F(FenceCodecsTest, refuses_a_damaged_basis_of_the_same_codec) {
    FenceCodecs old = whole(coarser);
    old.cross(key(Direction::forward), make_numbers());
    auto state = old.state();
    const float bits = 6;  // what a finer codec could have
    auto& bytes = state.at(0).tensor.bytes;
    ASSERT_TRUE(state.at(0).name.ends_with("/basis"));
    const std::size_t kept = 8;
    for (std::size_t j = 0; j < kept; ++j) {
        std::memcpy(&bytes[bytes.size() - 4 * (j + 1)], &bits, 4);
    }
    FenceCodecs next = whole(coarser);

    EXPECT_THROW(next.load_state(load_from(state), fences(coarser)),
                 InputError);
}

TEST_F(FenceCodecsTest, reports_what_training_did_and_no_evaluation) {
    const at::Tensor numbers = make_numbers();
    const auto pass = [&](FenceCodecs& codecs, CodecKey::Use use) {
        codecs.cross(key(Direction::forward, use), numbers);
    };
    FenceCodecs training = whole("int8");
    pass(training, CodecKey::Use::training);
    const auto expected = training.take_reports();
    FenceCodecs both = whole("int8");

    pass(both, CodecKey::Use::evaluation);
    EXPECT_TRUE(both.take_reports().empty());
    pass(both, CodecKey::Use::evaluation);
    pass(both, CodecKey::Use::training);

    const auto reports = both.take_reports();
    ASSERT_EQ(reports.size(), 1U);
    EXPECT_EQ(reports[0].bytes, expected.at(0).bytes);
    EXPECT_EQ(reports[0].dense_bytes, numbers.nbytes());
}

TEST_F(FenceCodecsTest, reports_no_messages_of_evaluations) {
    const auto evaluation = key(Direction::forward, CodecKey::Use::evaluation);
    FenceCodecs sender = before("int8");
    FenceCodecs receiver = behind("int8");

    receiver.decode(evaluation,
                    sender.encode(evaluation, header(), make_numbers()),
                    header());

    EXPECT_TRUE(sender.take_reports().empty());
    EXPECT_TRUE(receiver.take_reports().empty());
}

}  // namespace
}  // namespace fusionllm::test
