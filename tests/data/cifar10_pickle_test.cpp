#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fusionllm/data/images.hpp"
#include "fusionllm/util/error.hpp"

#include "message_of.hpp"
#include "temporary_folder.hpp"

namespace fusionllm::test {
namespace {

using testing::HasSubstr;
using namespace std::string_literals;

std::string size_of_text(std::size_t size) {
    std::string bytes(4, '\0');
    for (std::size_t i = 0; i < 4; ++i) {
        bytes[i] = static_cast<char>(size >> (8 * i) & 0xff);
    }
    return bytes;
}

//! As Python 2 wrote the files of CIFAR-10: two images, of one colour each.
std::string batch(char label, const std::string& callable = "_reconstruct") {
    const std::string pixels =
        std::string(3072, '\x05') + std::string(3072, '\xff');
    return "\x80\x02}q\x01("
           "U\x0b"
           "batch_labelq\x02U\x07oneof 5q\x03"
           "U\x06labelsq\x04]q\x05(K\x03K"s +
           label +
           "eU\x04"
           "dataq\x06"
           "cnumpy.core.multiarray\n"s +
           callable +
           "\nq\x07"
           "cnumpy\nndarray\nq\x08K\x00\x85U\x01"
           "b\x87Rq\x09(K\x01K\x02M\x00\x0c\x86"
           "cnumpy\ndtype\nq\x0aU\x02u1K\x00K\x01\x87Rq\x0b(K\x03U\x01|NNNJ"
           "\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T"s +
           size_of_text(pixels.size()) + pixels + "tbu."s;
}

class Cifar10PickleTest : public testing::Test {
protected:
    DatasetSplit make(const std::string& bytes) {
        return make_cifar10_dataset(
            {folder_.write("data_batch_1", bytes)}, 1, {}, 0.0);
    }
    std::string refusal(const std::string& bytes) {
        return message_of<InputError>([&] { make(bytes); });
    }

    TemporaryFolder folder_;
};

std::int64_t label_of(const std::vector<HostTensor>& sample) {
    return std::to_integer<std::int64_t>(sample.at(1).bytes.at(0));
}

TEST_F(Cifar10PickleTest, a_batch_gives_its_images_and_labels) {
    const auto train = make(batch('\x07')).train;

    ASSERT_EQ(train->size(), 2u);
    EXPECT_EQ(label_of(train->get(0)), 3);
    EXPECT_EQ(label_of(train->get(1)), 7);
    float first = 0;
    std::memcpy(&first, train->get(1).at(0).bytes.data(), sizeof first);
    EXPECT_EQ(first, 1.0F);
    EXPECT_NE(train->content_hash(), make(batch('\x06')).train->content_hash());
}

TEST_F(Cifar10PickleTest, a_folder_of_batches_is_taken_in_their_order) {
    folder_.write("data_batch_2", batch('\x02'));
    folder_.write("data_batch_1", batch('\x01'));
    folder_.write("batches.meta", "something else");

    const auto split = make_cifar10_dataset({folder_.path()}, 1, {}, 0.0);

    ASSERT_EQ(split.train->size(), 4u);
    EXPECT_EQ(label_of(split.train->get(1)), 1);
    EXPECT_EQ(label_of(split.train->get(3)), 2);
}

TEST_F(Cifar10PickleTest, nothing_of_a_pickle_is_called) {
    EXPECT_THAT(refusal(batch('\x07', "system")),
                HasSubstr("names 'numpy.core.multiarray.system', which would "
                          "run code"));
}

TEST_F(Cifar10PickleTest, other_pickles_and_labels_are_refused) {
    EXPECT_THAT(refusal("\x80\x02}."s), HasSubstr("is a pickle of something"));
    EXPECT_THAT(refusal("\x80\x02K\x01."s),
                HasSubstr("is a pickle of something"));
    EXPECT_THAT(refusal(batch('\x0a')), HasSubstr("has the label 10"));
}

TEST_F(Cifar10PickleTest, changed_files_give_a_sentence_or_images) {
    const std::string good = batch('\x07');
    for (std::size_t at = 0; at < 300 && at < good.size(); ++at) {
        for (const unsigned char byte : {0x00, 0x28, 0x52, 0x62, 0x80, 0xff}) {
            std::string bytes = good;
            bytes[at] = static_cast<char>(byte);
            try {
                make(bytes).train->get(0);
            } catch (const InputError&) {
            }
        }
        EXPECT_NE(refusal(good.substr(0, at)), "") << at;
    }
}

}  // namespace
}  // namespace fusionllm::test
