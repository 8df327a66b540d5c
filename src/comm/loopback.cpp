#include "fusionllm/comm/loopback.hpp"

#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <tuple>
#include <utility>

#include "fusionllm/util/error.hpp"

#include "channel_check.hpp"
#include "self_transport.hpp"

namespace fusionllm {
namespace {

//! One direction between two ranks on one channel.
struct Lane {
    int source;
    int destination;
    Channel channel;

    friend auto operator<=>(const Lane&, const Lane&) = default;
};

//! The n-th message of a lane is for the n-th receive, whoever tests first.
struct Mailbox {
    std::uint64_t num_sent = 0;
    std::uint64_t num_posted = 0;
    std::map<std::uint64_t, Buffer> messages;
};

//! What the ranks share.
class Hub {
public:
    void deliver(const Lane& lane, Buffer message) {
        const std::lock_guard lock(mutex_);
        Mailbox& mailbox = mailboxes_[lane];
        mailbox.messages.emplace(mailbox.num_sent++, std::move(message));
    }

    std::uint64_t post(const Lane& lane) {
        const std::lock_guard lock(mutex_);
        return mailboxes_[lane].num_posted++;
    }

    //! The message of that receive, once it has come.
    std::optional<Buffer> collect(const Lane& lane, std::uint64_t ticket) {
        const std::lock_guard lock(mutex_);
        auto found = mailboxes_[lane].messages.extract(ticket);
        if (found) {
            return std::move(found.mapped());
        }
        if (failure_) {
            throw Error(*failure_);
        }
        return std::nullopt;
    }

    void abort(int rank, const std::string& reason) {
        const std::lock_guard lock(mutex_);
        if (!failure_) {
            failure_ = fmt::format("rank {} failed: {}", rank, reason);
        }
    }

private:
    std::mutex mutex_;
    std::map<Lane, Mailbox> mailboxes_;
    std::optional<std::string> failure_;
};

class SentMessage final : public detail::Operation {
public:
    bool test() override { return true; }
    Buffer take() override { return Buffer(); }
    void leak() override {}
};

class PostedReceive final : public detail::Operation {
public:
    PostedReceive(std::shared_ptr<Hub> hub,
                  std::shared_ptr<std::vector<std::uint64_t>> received_bytes,
                  Lane lane,
                  std::size_t max_bytes)
        : hub_(std::move(hub)),
          received_bytes_(std::move(received_bytes)),
          lane_(lane),
          ticket_(hub_->post(lane)),
          max_bytes_(max_bytes) {}

    bool test() override {
        if (!message_) {
            message_ = hub_->collect(lane_, ticket_);
            if (message_) {
                received_bytes_->at(static_cast<std::size_t>(lane_.source)) +=
                    message_->size();
            }
        }
        if (message_ && message_->size() > max_bytes_) {
            throw Error(detail::describe_too_long(lane_.destination,
                                                  lane_.source,
                                                  lane_.channel,
                                                  message_->size(),
                                                  max_bytes_));
        }
        return message_.has_value();
    }

    Buffer take() override {
        FUSIONLLM_EXPECTS(message_.has_value());
        return std::move(*message_);
    }

    void leak() override {}

private:
    std::shared_ptr<Hub> hub_;
    std::shared_ptr<std::vector<std::uint64_t>> received_bytes_;
    Lane lane_;
    std::uint64_t ticket_;
    std::size_t max_bytes_;
    std::optional<Buffer> message_;
};

class LoopbackTransport final : public Transport {
public:
    LoopbackTransport(std::shared_ptr<Hub> hub, int rank, int size)
        : hub_(std::move(hub)),
          rank_(rank),
          size_(size),
          received_bytes_(std::make_shared<std::vector<std::uint64_t>>(
              static_cast<std::size_t>(size))) {}

    int rank() const override { return rank_; }
    int size() const override { return size_; }

    Request send(int destination, Channel channel, Buffer message) override {
        detail::check_address(destination, size_, channel);
        hub_->deliver({rank_, destination, channel}, std::move(message));
        return Request(std::make_unique<SentMessage>());
    }

    Request receive(int source,
                    Channel channel,
                    std::size_t max_bytes) override {
        detail::check_address(source, size_, channel);
        return Request(std::make_unique<PostedReceive>(
            hub_, received_bytes_, Lane{source, rank_, channel}, max_bytes));
    }
    std::uint64_t received_bytes(int source) const override {
        return received_bytes_->at(static_cast<std::size_t>(source));
    }

    void abort(const std::string& reason) { hub_->abort(rank_, reason); }

private:
    std::shared_ptr<Hub> hub_;
    int rank_;
    int size_;
    std::shared_ptr<std::vector<std::uint64_t>> received_bytes_;  // by source
};

//! Keeps the exception that was thrown first.
class FirstFailure {
public:
    void keep(std::exception_ptr failure) {
        const std::lock_guard lock(mutex_);
        if (!failure_) {
            failure_ = std::move(failure);
        }
    }

    void rethrow_if_any() const {
        if (failure_) {
            std::rethrow_exception(failure_);
        }
    }

private:
    std::mutex mutex_;
    std::exception_ptr failure_;
};

}  // namespace

std::vector<std::unique_ptr<Transport>> make_loopback(int num_ranks) {
    FUSIONLLM_EXPECTS(num_ranks > 0);
    const auto hub = std::make_shared<Hub>();
    std::vector<std::unique_ptr<Transport>> transports;
    for (int rank = 0; rank < num_ranks; ++rank) {
        transports.push_back(
            std::make_unique<LoopbackTransport>(hub, rank, num_ranks));
    }
    return transports;
}

void abort_loopback(Transport& transport, const std::string& reason) {
    auto* const loopback = dynamic_cast<LoopbackTransport*>(&transport);
    FUSIONLLM_EXPECTS(loopback != nullptr);
    loopback->abort(reason);
}

void run_loopback(int num_ranks, const std::function<void(Transport&)>& body) {
    const auto transports = make_loopback(num_ranks);
    FirstFailure first_failure;
    const auto run_rank = [&](Transport& transport) {
        try {
            body(transport);
        } catch (const std::exception& failure) {
            first_failure.keep(std::current_exception());
            abort_loopback(transport, failure.what());
        } catch (...) {
            first_failure.keep(std::current_exception());
            abort_loopback(transport, "unknown exception");
        }
    };
    {
        std::vector<std::jthread> threads;
        for (const auto& transport : transports) {
            threads.emplace_back(run_rank, std::ref(*transport));
        }
    }
    first_failure.rethrow_if_any();
}

std::unique_ptr<Transport> detail::make_self_transport(int rank,
                                                       int num_ranks) {
    return std::make_unique<LoopbackTransport>(
        std::make_shared<Hub>(), rank, num_ranks);
}

}  // namespace fusionllm
