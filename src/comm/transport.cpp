#include "fusionllm/comm/transport.hpp"

#include <exception>
#include <utility>

#include "fusionllm/comm/wait.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm {

Request::Request(std::unique_ptr<detail::Operation> operation)
    : operation_(std::move(operation)) {}

Request::Request(Request&&) noexcept = default;

Request& Request::operator=(Request&& other) noexcept {
    const Request replaced(std::exchange(operation_, nullptr));
    operation_ = std::move(other.operation_);
    return *this;
}

Request::~Request() {
    if (!operation_) {
        return;
    }
    if (std::uncaught_exceptions() > 0) {
        operation_->leak();
        return;
    }
    try {
        wait(*this);
    } catch (...) {
        // The failure was, or will be, reported by the request that the caller
        // tests; a destructor has nobody to tell.
        operation_->leak();
    }
}

bool Request::test() {
    FUSIONLLM_EXPECTS(operation_ != nullptr);
    return operation_->test();
}

std::size_t Request::received_bytes() const {
    FUSIONLLM_EXPECTS(operation_ != nullptr);
    return operation_->received_bytes();
}

Buffer Request::take() {
    FUSIONLLM_EXPECTS(operation_ != nullptr);
    const auto finished = std::exchange(operation_, nullptr);
    return finished->take();
}

}  // namespace fusionllm
