#include "fusionllm/io/safetensors.hpp"

#include <cstring>

#include <gtest/gtest.h>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"

#include "message_of.hpp"
#include "temporary_folder.hpp"

namespace fusionllm::test {
namespace {

namespace fs = std::filesystem;

HostTensor make_floats(std::vector<float> numbers,
                       std::vector<std::int64_t> sizes) {
    HostTensor tensor{{DType::f32, std::move(sizes)}, {}};
    tensor.bytes.resize(numbers.size() * sizeof(float));
    std::memcpy(tensor.bytes.data(), numbers.data(), tensor.bytes.size());
    return tensor;
}

std::string with_length(const std::string& header) {
    const std::uint64_t length = header.size();
    return std::string(reinterpret_cast<const char*>(&length), 8) + header;
}

const std::map<std::string, HostTensor>& examples() {
    static const std::map<std::string, HostTensor> tensors{
        {"a.weight", make_floats({1, 2, 3, 4, 5, 6}, {2, 3})},
        {"b", make_floats({7}, {})},
        {"count", {{DType::i64, {}}, std::vector<std::byte>(8)}},
        {"empty", make_floats({}, {0, 3})},
        {"flags",
         {{DType::boolean, {3}}, {std::byte{1}, std::byte{0}, std::byte{1}}}}};
    return tensors;
}

fs::path write_examples(const TemporaryFolder& folder) {
    std::vector<TensorEntry> entries;
    for (const auto& [name, tensor] : examples()) {
        entries.push_back({name, tensor.type});
    }
    const fs::path file = folder.path() / "x.safetensors";
    write_safetensors(
        file, entries, {{"format", "pt"}}, [](const std::string& name) {
            return examples().at(name);
        });
    return file;
}

TEST(Safetensors, are_read_as_they_were_written) {
    const TemporaryFolder folder;

    const SafetensorsReader reader(write_examples(folder));

    EXPECT_EQ(reader.names().size(), examples().size());
    for (const auto& [name, tensor] : examples()) {
        EXPECT_EQ(reader.type(name), tensor.type) << name;
        EXPECT_EQ(reader.read(name), tensor) << name;
    }
    EXPECT_FALSE(reader.has("c"));
}

TEST(Safetensors, are_the_bytes_that_the_format_wants) {
    const TemporaryFolder folder;
    const fs::path file = folder.path() / "x.safetensors";

    write_safetensors(
        file, {{"b", {DType::f32, {1}}}}, {}, [](const std::string&) {
            return make_floats({7}, {1});
        });

    std::string header =
        R"({"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
    header.resize((header.size() + 7) / 8 * 8, ' ');
    EXPECT_EQ(read_file(file),
              with_length(header) + std::string("\0\0\xe0\x40", 4));
}

TEST(Safetensors, of_other_programs_are_read) {
    const TemporaryFolder folder;
    const fs::path file = folder.write(
        "x.safetensors",
        with_length(R"({"__metadata__":{"format":"pt"},"b":{"shape":[1],)"
                    R"("data_offsets":[4,8],"dtype":"F32"}}  )") +
            std::string("\0\0\0\0\0\0\xe0\x40", 8));

    EXPECT_EQ(SafetensorsReader(file).read("b"), make_floats({7}, {1}));
}

TEST(Safetensors, say_what_is_wrong_with_them) {
    const TemporaryFolder folder;
    const std::string good = read_file(write_examples(folder));
    const auto error_of = [&](const std::string& text) {
        return message_of<InputError>(
            [&] { SafetensorsReader(folder.write("bad", text)); });
    };

    for (const std::string& text :
         {std::string(),
          std::string("short"),
          good.substr(0, 100),
          good.substr(0, good.size() - 1),
          with_length("[]"),
          with_length("{"),
          with_length("{\"a\": 3}"),
          with_length(R"({"a":{"dtype":"F33","shape":[],)"
                      R"("data_offsets":[0,4]}})"),
          with_length(R"({"a":{"dtype":"F32","shape":[-1],)"
                      R"("data_offsets":[0,4]}})"),
          with_length(R"({"a":{"dtype":"F32","shape":[4611686018427387905],)"
                      R"("data_offsets":[0,4]}})") +
              "abcd",
          with_length(R"({"a":{"dtype":"F32","shape":[1],)"
                      R"("data_offsets":[4,0]}})") +
              "abcd",
          std::string(8, '\xff') + "{}"}) {
        EXPECT_NE(error_of(text).find("is no safetensors file"),
                  std::string::npos)
            << text << ": " << error_of(text);
    }
}

TEST(Safetensors, name_the_nearest_tensor) {
    const TemporaryFolder folder;
    const SafetensorsReader reader(write_examples(folder));

    EXPECT_NE(message_of<InputError>([&] {
                  reader.read("a.wieght");
              }).find("did you mean 'a.weight'?"),
              std::string::npos);
}

}  // namespace
}  // namespace fusionllm::test
