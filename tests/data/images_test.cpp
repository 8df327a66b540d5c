#include "fusionllm/data/images.hpp"

#include <algorithm>
#include <cstring>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fusionllm/util/error.hpp"

#include "message_of.hpp"
#include "temporary_folder.hpp"

namespace fusionllm::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

std::vector<float> pixels_of(const std::vector<HostTensor>& sample) {
    const HostTensor& image = sample.at(0);
    if (image.type.dtype != DType::f32 ||
        image.bytes.size() != num_bytes(image.type)) {
        throw std::logic_error("not f32");
    }
    std::vector<float> pixels(image.bytes.size() / 4);
    std::memcpy(pixels.data(), image.bytes.data(), image.bytes.size());
    return pixels;
}

//! As the bytes they were made of.
std::vector<int> bytes_of(const std::vector<HostTensor>& sample) {
    std::vector<int> bytes;
    for (const float pixel : pixels_of(sample)) {
        bytes.push_back(static_cast<int>(pixel * 255.0F + 0.5F));
    }
    return bytes;
}

std::int64_t label_of(const std::vector<HostTensor>& sample) {
    const HostTensor& labels = sample.at(1);
    if (labels.type != TensorType{DType::i64, {}} || labels.bytes.size() != 8) {
        throw std::logic_error("not i64 ()");
    }
    std::int64_t label = 0;
    std::memcpy(&label, labels.bytes.data(), 8);
    return label;
}

//! A record of CIFAR-10 whose pixel at (c, y, x) is 7 c + y + 3 x + shift.
std::string cifar_record(int label, int shift) {
    std::string record(1, static_cast<char>(label));
    for (int c = 0; c < 3; ++c) {
        for (int y = 0; y < 32; ++y) {
            for (int x = 0; x < 32; ++x) {
                record += static_cast<char>(7 * c + y + 3 * x + shift);
            }
        }
    }
    return record;
}

std::string idx(std::initializer_list<int> sizes, const std::string& values) {
    std::string bytes{0, 0, 8, static_cast<char>(sizes.size())};
    for (const int size : sizes) {
        bytes += {static_cast<char>(size >> 24),
                  static_cast<char>(size >> 16),
                  static_cast<char>(size >> 8),
                  static_cast<char>(size)};
    }
    return bytes + values;
}

class ImagesTest : public testing::Test {
protected:
    //! Images of 1 channel, 2 rows and 3 columns, and their labels.
    DatasetSplit two_by_three(const ImageOptions& options, double fraction) {
        const auto images = folder_.write(
            "images", idx({2, 2, 3}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}));
        const auto labels = folder_.write("labels", idx({2}, {3, 4}));
        return make_idx_dataset({images, labels}, 1, options, fraction);
    }

    std::string idx_refusal(const std::string& images,
                            const std::string& labels) {
        const auto first = folder_.write("images", images);
        const auto second = folder_.write("labels", labels);
        return message_of<InputError>([&] {
            make_idx_dataset({first, second}, 1, {}, 0.0);
        });
    }

    TemporaryFolder folder_;
};

TEST_F(ImagesTest, cifar_10_is_read_in_the_order_of_the_files) {
    folder_.write("b/data_batch_1.bin",
                  cifar_record(3, 0) + cifar_record(9, 5));
    folder_.write("b/data_batch_2.bin", cifar_record(0, 9));
    folder_.write("b/readme.html", "not this one");

    const auto split =
        make_cifar10_dataset({folder_.path() / "b"}, 1, {}, 0.34);

    ASSERT_EQ(split.train->size(), 2u);
    ASSERT_EQ(split.validation->size(), 1u);
    const auto sample = split.train->get(1);
    EXPECT_EQ(sample.size(), 2u);
    EXPECT_EQ(sample.at(0).type, (TensorType{DType::f32, {3, 32, 32}}));
    EXPECT_EQ(label_of(sample), 9);
    EXPECT_EQ(bytes_of(sample).at(0), 5);
    EXPECT_EQ(bytes_of(sample).at((2 * 32 + 31) * 32 + 30), 14 + 31 + 90 + 5);
    EXPECT_EQ(label_of(split.train->get(0)), 3);
    EXPECT_EQ(label_of(split.validation->get(0)), 0);
    EXPECT_EQ(bytes_of(split.validation->get(0)).at(1), 12);
}

TEST_F(ImagesTest, refuses_what_is_not_cifar_10) {
    const auto refuse = [&](const std::string& bytes) {
        const auto file = folder_.write("x.bin", bytes);
        return message_of<InputError>(
            [&] { make_cifar10_dataset({file}, 1, {}, 0.0); });
    };

    EXPECT_THAT(refuse(std::string(3072, 'x')), HasSubstr("has 3072 bytes"));
    EXPECT_THAT(refuse(cifar_record(1, 0) + cifar_record(10, 0)),
                HasSubstr("image 1 of"));
    EXPECT_THAT(refuse(""), HasSubstr("there are no images"));
    fs::create_directory(folder_.path() / "empty");
    EXPECT_THAT(message_of<InputError>([&] {
                    make_cifar10_dataset(
                        {folder_.path() / "empty"}, 1, {}, 0.0);
                }),
                HasSubstr("no .bin file"));
    EXPECT_THAT(
        message_of<InputError>([&] { make_cifar10_dataset({}, 1, {}, 0.0); }),
        HasSubstr("no path"));
}

TEST_F(ImagesTest, idx_files_are_read) {
    const auto split = two_by_three({}, 0.5);

    ASSERT_EQ(split.train->size(), 1u);
    EXPECT_EQ(split.train->get(0).at(0).type,
              (TensorType{DType::f32, {1, 2, 3}}));
    EXPECT_EQ(bytes_of(split.train->get(0)),
              (std::vector<int>{1, 2, 3, 4, 5, 6}));
    EXPECT_EQ(label_of(split.train->get(0)), 3);
    EXPECT_EQ(bytes_of(split.validation->get(0)),
              (std::vector<int>{7, 8, 9, 10, 11, 12}));
    EXPECT_EQ(label_of(split.validation->get(0)), 4);
    EXPECT_NE(split.train->content_hash(), split.validation->content_hash());
}

TEST_F(ImagesTest, several_pairs_of_idx_files_follow_each_other) {
    const auto a = folder_.write("a", idx({1, 2, 1, 1}, {1, 2}));
    const auto b = folder_.write("b", idx({2, 2, 1, 1}, {3, 4, 5, 6}));
    const auto a_labels = folder_.write("al", idx({1}, {7}));
    const auto b_labels = folder_.write("bl", idx({2}, {8, 9}));

    const auto train =
        make_idx_dataset({a, b, a_labels, b_labels}, 1, {}, 0.0).train;

    ASSERT_EQ(train->size(), 3u);
    EXPECT_EQ(bytes_of(train->get(2)), (std::vector<int>{5, 6}));
    EXPECT_EQ(label_of(train->get(0)), 7);
    EXPECT_EQ(label_of(train->get(1)), 8);
    EXPECT_EQ(label_of(train->get(2)), 9);
    EXPECT_EQ(train->get(0).at(0).type, (TensorType{DType::f32, {2, 1, 1}}));
}

TEST_F(ImagesTest, refuses_idx_files_that_do_not_fit) {
    const std::string images = idx({1, 1, 2}, {1, 2});
    const std::string labels = idx({1}, {1});

    EXPECT_EQ(idx_refusal(images, labels), "");
    EXPECT_THAT(idx_refusal("\x1f\x8b some", labels), HasSubstr("gunzip"));
    EXPECT_THAT(idx_refusal("", labels), HasSubstr("is no IDX file"));
    EXPECT_THAT(idx_refusal("PNG", labels), HasSubstr("is no IDX file"));
    EXPECT_THAT(idx_refusal(images.substr(0, 9), labels),
                HasSubstr("is no IDX file"));
    EXPECT_THAT(idx_refusal(images + "x", labels),
                HasSubstr("does not fit the 3 bytes"));
    EXPECT_THAT(idx_refusal(idx({-1, -1, -1}, "x"), labels),
                HasSubstr("does not fit"));
    EXPECT_THAT(idx_refusal(idx({0, 0, 2}, ""), idx({0}, "")),
                HasSubstr("1 x 0 x 2 pixels"));
    EXPECT_THAT(idx_refusal(idx({0, 1, 2}, ""), idx({0}, "")),
                HasSubstr("no images to train on"));
    EXPECT_THAT(idx_refusal(images, idx({2}, {1, 2})),
                HasSubstr("has 1 images, but"));
    EXPECT_THAT(idx_refusal(images, images),
                HasSubstr("2 IDX files of images and 0 of labels"));
}

TEST_F(ImagesTest, pixels_are_normalised_by_channel) {
    const auto images = folder_.write("images", idx({1, 2, 1, 1}, {51, 102}));
    const auto labels = folder_.write("labels", idx({1}, {0}));
    const auto make = [&](const ImageOptions& options) {
        return pixels_of(
            make_idx_dataset({images, labels}, 1, options, 0.0).train->get(0));
    };

    EXPECT_THAT(
        make({.mean = {0.1, 0.5}, .deviation = {0.5, 0.25}}),
        testing::ElementsAre(testing::FloatEq(0.2F), testing::FloatEq(-0.4F)));
    EXPECT_THAT(
        make({.mean = {0.1}, .deviation = {}}),
        testing::ElementsAre(testing::FloatEq(0.1F), testing::FloatEq(0.3F)));
}

TEST_F(ImagesTest, refuses_options_that_do_not_fit_the_images) {
    const auto refuse = [&](const ImageOptions& options) {
        return message_of<InputError>([&] { two_by_three(options, 0.0); });
    };

    EXPECT_THAT(refuse({.mean = {0.1, 0.2}, .deviation = {}}),
                HasSubstr("2 numbers for the mean of pixels, but the images "
                          "have 1 channels"));
    EXPECT_THAT(refuse({.mean = {}, .deviation = {0.0}}), HasSubstr("above 0"));
    EXPECT_THAT(refuse({.crop_padding = -1, .mean = {}, .deviation = {}}),
                HasSubstr("padding"));
}

TEST_F(ImagesTest, flips_mirror_some_images_of_every_epoch) {
    const auto split =
        two_by_three({.is_flipped = true, .mean = {}, .deviation = {}}, 0.5);
    int num_flipped = 0;

    for (std::uint64_t epoch = 0; epoch < 200; ++epoch) {
        const auto image = bytes_of(split.train->get_in_epoch(0, epoch));
        if (image == std::vector<int>{3, 2, 1, 6, 5, 4}) {
            ++num_flipped;
        } else {
            EXPECT_EQ(image, (std::vector<int>{1, 2, 3, 4, 5, 6}));
        }
        EXPECT_EQ(bytes_of(split.validation->get_in_epoch(0, epoch)),
                  (std::vector<int>{7, 8, 9, 10, 11, 12}));
    }

    EXPECT_GT(num_flipped, 60);
    EXPECT_LT(num_flipped, 140);
}

TEST_F(ImagesTest, crops_are_windows_of_the_padded_image) {
    const auto train =
        two_by_three({.crop_padding = 1, .mean = {}, .deviation = {}}, 0.0)
            .train;
    const int padded[4][5] = {
        {0, 0, 0, 0, 0}, {0, 1, 2, 3, 0}, {0, 4, 5, 6, 0}, {0, 0, 0, 0, 0}};
    std::set<std::vector<int>> windows;
    for (int top = 0; top < 3; ++top) {
        for (int left = 0; left < 3; ++left) {
            std::vector<int> window;
            for (int y = 0; y < 2; ++y) {
                for (int x = 0; x < 3; ++x) {
                    window.push_back(padded[top + y][left + x]);
                }
            }
            windows.insert(window);
        }
    }

    std::set<std::vector<int>> seen;
    for (std::uint64_t epoch = 0; epoch < 200; ++epoch) {
        seen.insert(bytes_of(train->get_in_epoch(0, epoch)));
    }

    EXPECT_EQ(seen, windows);
}

TEST_F(ImagesTest, padding_is_black_before_normalisation) {
    const auto train =
        two_by_three({.crop_padding = 1024, .mean = {0.5}, .deviation = {0.5}},
                     0.0)
            .train;

    EXPECT_THAT(pixels_of(train->get(0)), testing::Each(-1.0F));
}

TEST_F(ImagesTest, augmentation_follows_from_seed_image_and_epoch) {
    const ImageOptions options{
        .crop_padding = 4, .is_flipped = true, .mean = {}, .deviation = {}};
    const auto file =
        folder_.write("x.bin", cifar_record(1, 0) + cifar_record(1, 0));
    const auto make = [&](std::uint64_t seed) {
        return make_cifar10_dataset({file}, seed, options, 0.0).train;
    };

    EXPECT_EQ(make(1)->get_in_epoch(0, 3), make(1)->get_in_epoch(0, 3));
    EXPECT_EQ(make(1)->get_in_epoch(0, 0), make(1)->get(0));
    EXPECT_NE(make(1)->get_in_epoch(0, 3), make(2)->get_in_epoch(0, 3));
    EXPECT_NE(make(1)->get_in_epoch(0, 3), make(1)->get_in_epoch(0, 4));
    EXPECT_NE(make(1)->get_in_epoch(0, 3), make(1)->get_in_epoch(1, 3));
    EXPECT_EQ(make(1)->content_hash(), make(2)->content_hash());
}

TEST(SyntheticImages, are_those_of_their_number_and_seed) {
    const ImageShape shape{
        .classes = 3, .channels = 2, .height = 9, .width = 7};
    const auto make = [&](std::uint64_t seed) {
        return make_synthetic_image_dataset(seed, shape, {}, 0.25);
    };
    const auto split = make(1);

    EXPECT_EQ(split.train->size(), 786432u);
    EXPECT_EQ(split.validation->size(), 262144u);
    EXPECT_EQ(split.train->get(5), make(1).train->get(5));
    EXPECT_NE(split.train->get(5), make(2).train->get(5));
    EXPECT_NE(split.train->get(5), split.train->get(6));
    EXPECT_EQ(split.train->get(5).at(0).type,
              (TensorType{DType::f32, {2, 9, 7}}));
    EXPECT_NE(split.train->content_hash(), make(2).train->content_hash());
}

TEST(SyntheticImages, the_nearest_mean_of_a_class_tells_most_labels) {
    const ImageShape shape{
        .classes = 4, .channels = 3, .height = 16, .width = 16};
    const auto train = make_synthetic_image_dataset(1, shape, {}, 0.0).train;
    std::vector<std::vector<double>> means(4, std::vector<double>(768));
    std::vector<int> counts(4);
    for (std::size_t i = 0; i < 400; ++i) {
        const auto sample = train->get(i);
        const auto label = static_cast<std::size_t>(label_of(sample));
        const auto pixels = pixels_of(sample);
        ++counts.at(label);
        for (std::size_t j = 0; j < pixels.size(); ++j) {
            means[label][j] += pixels[j];
        }
    }
    ASSERT_GT(std::ranges::min(counts), 50);

    int num_right = 0;
    for (std::size_t i = 400; i < 600; ++i) {
        const auto sample = train->get(i);
        const auto pixels = pixels_of(sample);
        std::vector<double> distances;
        for (std::size_t label = 0; label < 4; ++label) {
            double distance = 0;
            for (std::size_t j = 0; j < pixels.size(); ++j) {
                const double difference =
                    pixels[j] - means[label][j] / counts[label];
                distance += difference * difference;
            }
            distances.push_back(distance);
        }
        const auto nearest =
            std::ranges::min_element(distances) - distances.begin();
        num_right += nearest == label_of(sample) ? 1 : 0;
    }

    EXPECT_GT(num_right, 150);
}

TEST(SyntheticImages, refuses_sizes_without_sense) {
    const auto refuse = [](const ImageShape& shape) {
        return message_of<InputError>(
            [&] { make_synthetic_image_dataset(1, shape, {}, 0.0); });
    };

    EXPECT_THAT(refuse({.classes = 0}), HasSubstr("0 classes"));
    EXPECT_THAT(refuse({.height = 5000}), HasSubstr("5000 rows"));
    EXPECT_EQ(refuse({.classes = 1, .channels = 1, .height = 1, .width = 1}),
              "");
}

}  // namespace
}  // namespace fusionllm::test
