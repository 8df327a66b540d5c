#pragma once

#include <string>

namespace fusionllm::test {

//! What the action throws, or an empty text.
template <class Exception, class Action>
std::string message_of(Action action) {
    try {
        action();
    } catch (const Exception& error) {
        return error.what();
    }
    return {};
}

}  // namespace fusionllm::test
