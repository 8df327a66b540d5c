#pragma once

#include <cstddef>

namespace fusionllm::detail {

/*!
 * What we use of SentencePiece, through which alone it is called: its library
 * is in a shared object of its own (see docs/decisions), and nothing but plain
 * numbers crosses over.
 */
struct SentencePieceLibrary {
    enum Kind { text, byte, unknown, control };
    struct Piece {
        const char* bytes;
        std::size_t size;
        Kind kind;
    };
    using Take = void (*)(void* taker, const int* tokens, std::size_t count);

    //! A model from the bytes of its file; null, and why, if it is none.
    void* (*open)(const char* bytes,
                  std::size_t size,
                  char* why,
                  std::size_t why_size);
    void (*close)(void* model);
    int (*size)(const void* model);
    int (*end_of_text)(const void* model);  //!< below 0: none
    //! The bytes are the model's.
    Piece (*piece)(const void* model, int token);
    //! Calls `take` once.
    void (*encode)(const void* model,
                   const char* text,
                   std::size_t size,
                   void* taker,
                   Take take);
};

//! Of the function in the shared object that gives the table.
constexpr const char* sentencepiece_symbol = "fusionllm_sentencepiece";
constexpr const char* sentencepiece_object = "libfusionllm_sentencepiece.so";

}  // namespace fusionllm::detail
