// The shared object that holds SentencePiece, apart from the program: its own
// copy of Protocol Buffers and LibTorch's would take each other's functions.

#include <algorithm>
#include <string_view>
#include <vector>

#include <sentencepiece_processor.h>

#include "../data/sentencepiece_library.hpp"

namespace {

using fusionllm::detail::SentencePieceLibrary;
using sentencepiece::SentencePieceProcessor;

const SentencePieceProcessor& processor(const void* model) {
    return *static_cast<const SentencePieceProcessor*>(model);
}

void* open_model(const char* bytes,
                 std::size_t size,
                 char* why,
                 std::size_t why_size) {
    auto model = std::make_unique<SentencePieceProcessor>();
    const auto status = model->LoadFromSerializedProto({bytes, size});
    if (status.ok()) {
        return model.release();
    }
    const std::string text = status.ToString();
    why[text.copy(why, why_size - 1)] = '\0';
    return nullptr;
}

SentencePieceLibrary::Piece piece_of(const void* model, int token) {
    const SentencePieceProcessor& known = processor(model);
    const std::string& piece = known.IdToPiece(token);
    const auto kind = known.IsByte(token)      ? SentencePieceLibrary::byte
                      : known.IsUnknown(token) ? SentencePieceLibrary::unknown
                      : known.IsControl(token) ? SentencePieceLibrary::control
                                               : SentencePieceLibrary::text;
    return {piece.data(), piece.size(), kind};
}

void encode(const void* model,
            const char* text,
            std::size_t size,
            void* taker,
            SentencePieceLibrary::Take take) {
    const std::vector<int> tokens = processor(model).EncodeAsIds({text, size});
    take(taker, tokens.data(), tokens.size());
}

constexpr SentencePieceLibrary library{
    open_model,
    [](void* model) { delete static_cast<SentencePieceProcessor*>(model); },
    [](const void* model) { return processor(model).GetPieceSize(); },
    [](const void* model) { return processor(model).eos_id(); },
    piece_of,
    encode};

}  // namespace

extern "C" __attribute__((visibility("default"))) const SentencePieceLibrary*
fusionllm_sentencepiece() {
    return &library;
}
