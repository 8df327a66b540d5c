#include <array>
#include <cmath>
#include <cstring>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <png.h>
#include <turbojpeg.h>

#include "fusionllm/data/images.hpp"
#include "fusionllm/util/error.hpp"

#include "message_of.hpp"
#include "temporary_folder.hpp"

namespace fusionllm::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

//! Bytes of a file of rows of red, green, blue.
std::string png_of(int width,
                   int height,
                   const std::vector<std::uint8_t>& pixels) {
    png_image image{};
    image.version = PNG_IMAGE_VERSION;
    image.width = static_cast<png_uint_32>(width);
    image.height = static_cast<png_uint_32>(height);
    image.format = PNG_FORMAT_RGB;
    png_alloc_size_t size = 0;
    png_image_write_to_memory(
        &image, nullptr, &size, 0, pixels.data(), 0, nullptr);
    std::string bytes(size, '\0');
    png_image_write_to_memory(
        &image, bytes.data(), &size, 0, pixels.data(), 0, nullptr);
    return bytes;
}

std::string jpeg_of(int width,
                    int height,
                    const std::vector<std::uint8_t>& pixels) {
    const tjhandle jpeg = tjInitCompress();
    unsigned char* made = nullptr;
    unsigned long size = 0;
    tjCompress2(jpeg,
                pixels.data(),
                width,
                0,
                height,
                TJPF_RGB,
                &made,
                &size,
                TJSAMP_444,
                100,
                0);
    const std::string bytes(reinterpret_cast<char*>(made), size);
    tjFree(made);
    tjDestroy(jpeg);
    return bytes;
}

std::vector<std::uint8_t> one_colour(int width,
                                     int height,
                                     std::array<std::uint8_t, 3> colour) {
    std::vector<std::uint8_t> pixels;
    for (int i = 0; i < width * height; ++i) {
        pixels.insert(pixels.end(), colour.begin(), colour.end());
    }
    return pixels;
}

std::vector<int> bytes_of(const std::vector<HostTensor>& sample) {
    const auto& bytes = sample.at(0).bytes;
    std::vector<float> pixels(bytes.size() / sizeof(float));
    std::memcpy(pixels.data(), bytes.data(), bytes.size());
    std::vector<int> numbers;
    for (const float pixel : pixels) {
        numbers.push_back(static_cast<int>(std::lround(pixel * 255)));
    }
    return numbers;
}

std::int64_t label_of(const std::vector<HostTensor>& sample) {
    return std::to_integer<std::int64_t>(sample.at(1).bytes.at(0));
}

class ImageFolderTest : public testing::Test {
protected:
    DatasetSplit make(const ImageShape& shape, double fraction) {
        return make_image_folder_dataset(
            {folder_.path()}, 1, shape, {}, fraction);
    }
    std::string refusal(const std::string& bytes) {
        folder_.write("a/x.png", bytes);
        return message_of<InputError>([&] {
            make({1, 3, 2, 2}, 0.0).train->get(0);
        });
    }

    TemporaryFolder folder_;
};

TEST_F(ImageFolderTest, folders_are_classes_in_the_order_of_their_names) {
    folder_.write("dog/1.JPG", jpeg_of(2, 2, one_colour(2, 2, {9, 9, 9})));
    folder_.write("cat/a/b.png", png_of(2, 2, one_colour(2, 2, {1, 2, 3})));
    folder_.write("cat/notes.txt", "no image");
    folder_.write("notes.png", "in no class");

    const auto split = make({2, 3, 2, 2}, 0.0);

    ASSERT_EQ(split.train->size(), 2u);
    std::set<std::int64_t> labels;
    for (std::size_t i = 0; i < 2; ++i) {
        const auto sample = split.train->get(i);
        const bool is_cat = bytes_of(sample).front() == 1;
        EXPECT_EQ(label_of(sample), is_cat ? 0 : 1);
        labels.insert(label_of(sample));
    }
    EXPECT_EQ(labels, (std::set<std::int64_t>{0, 1}));
}

TEST_F(ImageFolderTest, an_image_of_the_right_size_is_taken_as_it_is) {
    folder_.write("a/x.png",
                  png_of(2, 2, {1, 2, 3, 4, 5, 6, 7, 8, 9, 250, 251, 252}));

    EXPECT_EQ(bytes_of(make({1, 3, 2, 2}, 0.0).train->get(0)),
              (std::vector<int>{1, 4, 7, 250, 2, 5, 8, 251, 3, 6, 9, 252}));
}

TEST_F(ImageFolderTest, the_middle_of_a_scaled_image_is_taken) {
    // Two columns of 100 between columns of 0 and 200, all twice as large.
    std::vector<std::uint8_t> pixels;
    for (int y = 0; y < 4; ++y) {
        for (const std::uint8_t grey : {0, 0, 100, 100, 100, 100, 200, 200}) {
            pixels.insert(pixels.end(), 3, grey);
        }
    }
    folder_.write("a/x.png", png_of(8, 4, pixels));

    const auto image = bytes_of(make({1, 3, 2, 2}, 0.0).train->get(0));

    ASSERT_EQ(image.size(), 12u);
    // A triangle of two pixels' reach sees the neighbours with 1 of 8.
    EXPECT_EQ(image[0], 88);
    EXPECT_EQ(image[1], 113);
    EXPECT_EQ(image[2], 88);
}

TEST_F(ImageFolderTest, one_channel_is_grey) {
    folder_.write("a/x.png", png_of(1, 1, {80, 80, 80}));

    EXPECT_EQ(bytes_of(make({1, 1, 3, 3}, 0.0).train->get(0)),
              std::vector<int>(9, 80));
}

TEST_F(ImageFolderTest, validation_has_images_of_all_classes) {
    const auto image = png_of(1, 1, {1, 1, 1});
    for (int i = 0; i < 40; ++i) {
        folder_.write("a/" + std::to_string(i) + ".png", image);
        folder_.write("b/" + std::to_string(i) + ".png", image);
    }

    const auto split = make({2, 3, 1, 1}, 0.5);

    int num_a = 0;
    for (std::size_t i = 0; i < split.validation->size(); ++i) {
        num_a += label_of(split.validation->get(i)) == 0 ? 1 : 0;
    }
    EXPECT_GT(num_a, 8);
    EXPECT_LT(num_a, 32);
    EXPECT_EQ(split.train->content_hash(),
              make({2, 3, 1, 1}, 0.5).train->content_hash());
}

TEST_F(ImageFolderTest, more_classes_than_the_model_has_are_refused) {
    folder_.write("a/x.png", png_of(1, 1, {1, 1, 1}));
    folder_.write("b/x.png", png_of(1, 1, {1, 1, 1}));

    EXPECT_THAT(
        message_of<InputError>([&] {
            make({1, 3, 1, 1}, 0.0);
        }),
        HasSubstr("there are 2 folders of classes, but the model has 1"));
    EXPECT_THAT(message_of<InputError>([&] {
                    make({2, 4, 1, 1}, 0.0);
                }),
                HasSubstr("3 channels or 1, but the model takes 4"));
}

TEST_F(ImageFolderTest, a_folder_without_images_is_refused) {
    folder_.write("a/notes.txt", "");

    EXPECT_THAT(message_of<InputError>([&] {
                    make({1, 3, 1, 1}, 0.0);
                }),
                HasSubstr("there is no .png, .jpg or .jpeg file"));
}

TEST_F(ImageFolderTest, damaged_images_are_named) {
    const auto png = png_of(8, 8, one_colour(8, 8, {1, 2, 3}));
    const auto jpeg = jpeg_of(64, 64, one_colour(64, 64, {1, 2, 3}));

    for (const std::string& bytes : {std::string(),
                                     std::string("text"),
                                     png.substr(0, 20),
                                     png.substr(0, png.size() - 20),
                                     jpeg.substr(0, 100),
                                     jpeg.substr(0, jpeg.size() - 20)}) {
        EXPECT_THAT(refusal(bytes), HasSubstr("a/x.png' cannot be read: "));
    }
}

TEST_F(ImageFolderTest, enormous_sizes_take_no_memory) {
    // The widths and heights of the headers, changed; PNG with its checksum
    // left as it was would be refused for that.
    std::string jpeg = jpeg_of(64, 64, one_colour(64, 64, {1, 2, 3}));
    const auto frame = jpeg.find("\xff\xc0");
    ASSERT_NE(frame, jpeg.npos);
    jpeg.replace(frame + 5, 4, "\x7f\xff\x7f\xff");

    EXPECT_THAT(refusal(jpeg), HasSubstr("32767 x 32767 pixels"));
}

TEST_F(ImageFolderTest, changed_bytes_give_a_sentence_or_an_image) {
    const auto png = png_of(8, 8, one_colour(8, 8, {1, 2, 3}));
    const auto jpeg = jpeg_of(8, 8, one_colour(8, 8, {1, 2, 3}));

    for (const std::string& good : {png, jpeg}) {
        for (std::size_t at = 0; at < good.size(); ++at) {
            std::string bytes = good;
            bytes[at] = static_cast<char>(bytes[at] ^ 0x81);
            const std::string message = refusal(bytes);
            EXPECT_TRUE(message.empty() ||
                        message.find("x.png") != message.npos)
                << message;
        }
    }
}

}  // namespace
}  // namespace fusionllm::test
