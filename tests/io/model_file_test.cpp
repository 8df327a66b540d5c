#include "fusionllm/io/model_file.hpp"

#include <cstring>

#include <gtest/gtest.h>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"

#include "message_of.hpp"
#include "temporary_folder.hpp"

namespace fusionllm::test {
namespace {

namespace fs = std::filesystem;

const ModelFileTexts texts{"graph line\ninput %x f32[8,4]\n",
                           {{"head.weight", "wte.weight"}},
                           {"head.weight", "wte.weight", "count"},
                           {{"count", 1}},
                           {"a note", "another"}};

HostTensor make_tensor(const TensorType& type) {
    HostTensor tensor{type, {}};
    for (std::size_t i = 0; i < num_bytes(type); ++i) {
        tensor.bytes.push_back(static_cast<std::byte>(i * 7));
    }
    return tensor;
}

const std::vector<TensorEntry> entries{{"wte.weight", {DType::f32, {5, 3}}},
                                       {"count", {DType::i64, {}}},
                                       {"mask", {DType::boolean, {2, 2}}},
                                       {"none", {DType::f32, {0}}}};

fs::path write_example(const TemporaryFolder& folder) {
    const fs::path file = folder.path() / "model.h5";
    write_model_file(file, texts, entries, [](const std::string& name) {
        for (const TensorEntry& entry : entries) {
            if (entry.name == name) {
                return make_tensor(entry.type);
            }
        }
        throw Error("no such tensor");
    });
    return file;
}

TEST(ModelFile, is_read_as_it_was_written) {
    const TemporaryFolder folder;

    const ModelFileReader reader(write_example(folder));

    EXPECT_EQ(reader.texts(), texts);
    for (const TensorEntry& entry : entries) {
        EXPECT_TRUE(reader.has(entry.name));
        EXPECT_EQ(reader.type(entry.name), entry.type);
        EXPECT_EQ(reader.read(entry.name), make_tensor(entry.type));
    }
    EXPECT_FALSE(reader.has("head.weight"));
}

TEST(ModelFile, may_have_no_texts) {
    const TemporaryFolder folder;
    const fs::path file = folder.path() / "model.h5";

    write_model_file(file, {}, {}, {});

    EXPECT_EQ(ModelFileReader(file).texts(), ModelFileTexts());
}

TEST(ModelFile, is_as_before_if_it_cannot_be_written) {
    const TemporaryFolder folder;
    const fs::path file = folder.write("model.h5", "old");

    EXPECT_THROW(write_model_file(file,
                                  texts,
                                  entries,
                                  [](const std::string&) -> HostTensor {
                                      throw InputError("the source is damaged");
                                  }),
                 InputError);

    EXPECT_EQ(read_file(file), "old");
    EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1);
}

TEST(ModelFile, refuses_names_that_would_be_folders) {
    const TemporaryFolder folder;

    for (const char* name : {"", ".", "../x", "a/b", "a\nb"}) {
        EXPECT_THROW(write_model_file(folder.path() / "model.h5",
                                      {},
                                      {{name, {DType::f32, {1}}}},
                                      [](const std::string&) {
                                          return make_tensor({DType::f32, {1}});
                                      }),
                     InputError)
            << name;
    }
}

TEST(ModelFile, says_what_is_wrong_with_it) {
    const TemporaryFolder folder;
    const fs::path good = write_example(folder);
    const std::string bytes = read_file(good);

    EXPECT_THROW(ModelFileReader(folder.path() / "none.h5"), InputError);
    EXPECT_NE(message_of<InputError>([&] {
                  ModelFileReader(folder.write("bad.h5", "no HDF5"));
              }).find("is no model file"),
              std::string::npos);
    EXPECT_THROW(
        ModelFileReader(folder.write("short.h5", bytes.substr(0, 900))),
        InputError);
    EXPECT_NE(message_of<InputError>([&] {
                  ModelFileReader(good).read("wte.wieght");
              }).find("wte.wieght"),
              std::string::npos);
}

}  // namespace
}  // namespace fusionllm::test
