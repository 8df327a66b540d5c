#include "mpi_link.hpp"

#include <optional>
#include <string>

#include "fusionllm/util/error.hpp"

#include "byte_type.hpp"

namespace fusionllm::detail {
namespace {

//! An MPI request with the buffer that it reads or writes.
class Transfer {
public:
    Transfer(Buffer buffer, std::size_t block_bytes)
        : buffer_(std::move(buffer)), type_(buffer_.size(), block_bytes) {}

    ~Transfer() {
        if (request_ != MPI_REQUEST_NULL) {
            // MPI still uses the bytes.
            static_cast<void>(new Buffer(std::move(buffer_)));
        }
    }

    Transfer(const Transfer&) = delete;
    Transfer& operator=(const Transfer&) = delete;

    void send(int to, int tag, MPI_Comm communicator) {
        FUSIONLLM_MPI_CALL(MPI_Isend(buffer_.data(),
                                     type_.count(),
                                     type_.get(),
                                     to,
                                     tag,
                                     communicator,
                                     &request_));
    }

    void receive(MPI_Message message) {
        FUSIONLLM_MPI_CALL(MPI_Imrecv(
            buffer_.data(), type_.count(), type_.get(), &message, &request_));
    }

    bool test() {
        int is_done = 1;
        if (request_ != MPI_REQUEST_NULL) {
            FUSIONLLM_MPI_CALL(
                MPI_Test(&request_, &is_done, MPI_STATUS_IGNORE));
        }
        return is_done != 0;
    }

    Buffer& buffer() { return buffer_; }

private:
    Buffer buffer_;
    ByteType type_;
    MPI_Request request_ = MPI_REQUEST_NULL;
};

std::string describe(const std::string& what,
                     int own_rank,
                     const Peer& peer,
                     Channel channel,
                     const mpi::Error& reason) {
    return fmt::format(
        "rank {} could not {} rank {} on {}: {}; check that the rank is alive "
        "and the network is up",
        own_rank,
        what,
        peer.rank,
        to_text(channel),
        reason.what());
}

class MpiSend final : public Operation {
public:
    MpiSend(int own_rank,
            const Peer& to,
            Channel channel,
            Buffer message,
            std::size_t block_bytes)
        : own_rank_(own_rank),
          to_(to),
          channel_(channel),
          transfer_(std::move(message), block_bytes) {}

    void start(MPI_Comm communicator) {
        call([&] {
            transfer_.send(to_.rank_in_group, tag_of(channel_), communicator);
            return true;
        });
    }

    bool test() override {
        return call([&] { return transfer_.test(); });
    }

    Buffer take() override {
        FUSIONLLM_EXPECTS(transfer_.test());
        return Buffer();
    }

    void leak() override {}  // The transfer knows when it must.

private:
    template <class Call>
    bool call(const Call& mpi_call) {
        try {
            return mpi_call();
        } catch (const mpi::Error& error) {
            const auto what =
                fmt::format("send {} bytes to", transfer_.buffer().size());
            throw Error(describe(what, own_rank_, to_, channel_, error));
        }
    }

    int own_rank_;
    Peer to_;
    Channel channel_;
    Transfer transfer_;
};

}  // namespace

//! A message that is expected, then on its way, then there. The link shares
//! it, so that a receive that is given up still takes its message.
class Arrival {
public:
    Arrival(std::size_t max_bytes, std::size_t block_bytes)
        : max_bytes_(max_bytes), block_bytes_(block_bytes) {}

    //! A message that is too long is received too, so that its sender and
    //! those behind it get on.
    void start(MPI_Message message, std::size_t num_bytes) {
        transfer_.emplace(Buffer(num_bytes), block_bytes_);
        transfer_->receive(message);
    }

    bool is_started() const { return transfer_.has_value(); }
    bool test() { return transfer_ && transfer_->test(); }
    std::size_t max_bytes() const { return max_bytes_; }
    Buffer& buffer() { return transfer_->buffer(); }

private:
    std::size_t max_bytes_;
    std::size_t block_bytes_;
    std::optional<Transfer> transfer_;
};

namespace {

class MpiReceive final : public Operation {
public:
    MpiReceive(std::shared_ptr<MpiLink> link,
               int own_rank,
               const Peer& from,
               Channel channel,
               std::shared_ptr<Arrival> arrival)
        : link_(std::move(link)),
          own_rank_(own_rank),
          from_(from),
          channel_(channel),
          arrival_(std::move(arrival)) {}

    bool test() override {
        if (!make_progress()) {
            return false;
        }
        if (arrival_->buffer().size() > arrival_->max_bytes()) {
            throw Error(describe_too_long(own_rank_,
                                          from_.rank,
                                          channel_,
                                          arrival_->buffer().size(),
                                          arrival_->max_bytes()));
        }
        return true;
    }

    Buffer take() override {
        FUSIONLLM_EXPECTS(arrival_->test());
        return std::move(arrival_->buffer());
    }

    void leak() override {}  // The transfer knows when it must.

private:
    bool make_progress() {
        try {
            if (!arrival_->is_started()) {
                link_->match_arrivals();
            }
            return arrival_->test();
        } catch (const mpi::Error& error) {
            const auto what = fmt::format("receive up to {} bytes from",
                                          arrival_->max_bytes());
            throw Error(describe(what, own_rank_, from_, channel_, error));
        }
    }

    std::shared_ptr<MpiLink> link_;
    int own_rank_;
    Peer from_;
    Channel channel_;
    std::shared_ptr<Arrival> arrival_;
};

}  // namespace

int tag_of(Channel channel) {
    const auto kind = static_cast<std::uint32_t>(channel.kind);
    return static_cast<int>(kind * num_slots + channel.slot);
}

MpiLink::MpiLink(mpi::Communicator communicator,
                 int own_rank,
                 std::size_t block_bytes)
    : communicator_(std::move(communicator)),
      own_rank_(own_rank),
      block_bytes_(block_bytes) {}

Request MpiLink::send(const Peer& to, Channel channel, Buffer message) {
    auto operation = std::make_unique<MpiSend>(
        own_rank_, to, channel, std::move(message), block_bytes_);
    operation->start(communicator_.get());
    return Request(std::move(operation));
}

Request MpiLink::receive(const Peer& from,
                         Channel channel,
                         std::size_t max_bytes) {
    Lane& lane = lanes_[{from.rank_in_group, tag_of(channel)}];
    const auto arrival = std::make_shared<Arrival>(max_bytes, block_bytes_);
    if (lane.early.empty()) {
        lane.waiting.push_back(arrival);
    } else {
        const auto [message, num_bytes] = lane.early.front();
        lane.early.pop_front();
        arrival->start(message, num_bytes);
    }
    return Request(std::make_unique<MpiReceive>(
        shared_from_this(), own_rank_, from, channel, arrival));
}

void MpiLink::match_arrivals() {
    while (true) {
        int has_come = 0;
        MPI_Message message = MPI_MESSAGE_NULL;
        MPI_Status status{};
        FUSIONLLM_MPI_CALL(MPI_Improbe(MPI_ANY_SOURCE,
                                       MPI_ANY_TAG,
                                       communicator_.get(),
                                       &has_come,
                                       &message,
                                       &status));
        if (has_come == 0) {
            return;
        }
        Lane& lane = lanes_[{status.MPI_SOURCE, status.MPI_TAG}];
        const std::size_t num_bytes = received_bytes(status);
        if (lane.waiting.empty()) {
            lane.early.emplace_back(message, num_bytes);
        } else {
            const auto arrival = lane.waiting.front();
            lane.waiting.pop_front();
            arrival->start(message, num_bytes);
        }
    }
}

}  // namespace fusionllm::detail
