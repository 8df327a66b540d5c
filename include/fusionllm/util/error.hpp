#pragma once

#include <stdexcept>
#include <string>

#include <fmt/format.h>

namespace fusionllm {

//! Something failed while running (exit status 1).
class Error : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/*!
 * What the user gave, or the environment, cannot be used (exit status 2).
 *
 * The message is a sentence: what is wrong, where, and what to try.
 */
class InputError : public Error {
public:
    using Error::Error;
};

//! A bug in this program: a function was called against its contract.
class ContractError : public std::logic_error {
public:
    using std::logic_error::logic_error;
};

//! Check input or environment (always): throw `InputError` with the sentence.
#define FUSIONLLM_VALIDATE(CONDITION, ...)                             \
    do {                                                               \
        if (!(CONDITION)) {                                            \
            throw ::fusionllm::InputError(::fmt::format(__VA_ARGS__)); \
        }                                                              \
    } while (false)

//! Check a precondition of a function (in builds without NDEBUG).
#ifdef NDEBUG
// Not evaluated, yet what it names counts as used.
#define FUSIONLLM_EXPECTS(CONDITION) \
    static_cast<void>(sizeof(static_cast<bool>(CONDITION)))
#else
#define FUSIONLLM_EXPECTS(CONDITION)                                    \
    do {                                                                \
        if (!(CONDITION)) {                                             \
            throw ::fusionllm::ContractError(::fmt::format(             \
                "{}:{}: expected {}", __FILE__, __LINE__, #CONDITION)); \
        }                                                               \
    } while (false)
#endif

}  // namespace fusionllm
