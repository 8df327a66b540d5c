#pragma once

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fusionllm/importers/import.hpp"
#include "fusionllm/util/error.hpp"

#include "message_of.hpp"
#include "temporary_folder.hpp"
#include "zip_writer.hpp"

namespace fusionllm::test {

//! An archive of one module without tensors, whose forward(x) has this body.
inline ZipContents archive_of(const std::string& body) {
    using namespace std::string_literals;
    return {{"m/data.pkl",
             "\x80\x02"
             "c__torch__\nNet\n)\x81}X\x08\x00\x00\x00training"
             "\x88sb."s},
            {"m/code/__torch__.py",
             "class Net(Module):\n"
             "  __parameters__ = []\n"
             "  __buffers__ = []\n"
             "  training : bool\n"
             "  def forward(self: __torch__.Net,\n"
             "    x: Tensor) -> Tensor:\n" +
                 body}};
}

inline ZipContents contents_of(const std::string& name) {
    const ZipArchive archive(FUSIONLLM_ARCHIVES "/" + name + ".pt");
    ZipContents contents;
    for (const auto& [entry, place] : archive.entries()) {
        contents.emplace_back("m/" + entry, archive.read(entry));
    }
    return contents;
}

//! "aten::add.Tensor" for each op.
inline std::vector<std::string> operators_of(const OpGraph& graph) {
    std::vector<std::string> operators;
    for (const Op& op : graph.ops()) {
        operators.push_back(op.target + "." + op.overload);
    }
    return operators;
}

class ImportTorchScript : public testing::Test {
protected:
    ImportedModel import(const ZipContents& contents,
                         const std::vector<TensorType>& inputs) {
        return import_torchscript(folder_.write("m.pt", make_zip(contents)),
                                  inputs);
    }
    //! Of forward(x) of x f32[2,6].
    ImportedModel import_body(const std::string& body) {
        return import(archive_of(body), {{DType::f32, {2, 6}}});
    }
    std::string refusal(const std::string& body) {
        return message_of<InputError>([&] { import_body(body); });
    }
    TensorType output_of(const std::string& body) {
        const OpGraph graph = import_body(body).graph;
        return graph.value(graph.signature().output.value()).type;
    }

    TemporaryFolder folder_;
};

}  // namespace fusionllm::test
