#include "mpi_link.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "fusionllm/util/error.hpp"

#include "byte_type.hpp"

namespace fusionllm::detail {
namespace {

//! Bytes of a buffer that MPI sends or fills, in as many messages as it takes.
class Transfer {
public:
    Transfer(Buffer buffer, MessageParts parts)
        : buffer_(std::move(buffer)), parts_(parts) {}

    ~Transfer() {
        if (std::ranges::any_of(requests_, is_open)) {
            // MPI still uses the bytes.
            static_cast<void>(new Buffer(std::move(buffer_)));
        }
    }

    Transfer(const Transfer&) = delete;
    Transfer& operator=(const Transfer&) = delete;

    //! A piece that is shorter than the others, maybe empty, is the last one.
    void send(int to, int tag, MPI_Comm communicator) {
        const std::size_t piece = parts_.piece_bytes;
        std::size_t begin = 0;
        for (; piece > 0 && buffer_.size() - begin >= piece; begin += piece) {
            send_piece(begin, piece, to, tag, communicator);
        }
        send_piece(begin, buffer_.size() - begin, to, tag, communicator);
    }

    void receive(MPI_Message message, std::size_t begin, std::size_t bytes) {
        const ByteType type(bytes, parts_.block_bytes);
        FUSIONLLM_MPI_CALL(
            MPI_Imrecv(buffer_.data() + begin,
                       type.count(),
                       type.get(),
                       &message,
                       &requests_.emplace_back(MPI_REQUEST_NULL)));
    }

    bool test() {
        const std::size_t num_before = num_done_;
        int num_left = requests_.size() > 1 ? tries_.next() : 1;
        while (num_done_ < requests_.size() && num_left > 0) {
            int is_done = 0;
            FUSIONLLM_MPI_CALL(
                MPI_Test(&requests_[num_done_], &is_done, MPI_STATUS_IGNORE));
            num_done_ += is_done != 0 ? 1 : 0;
            num_left -= is_done != 0 ? 0 : 1;
        }
        tries_.count(num_done_ > num_before);
        return num_done_ == requests_.size();
    }

    Buffer& buffer() { return buffer_; }

private:
    static bool is_open(MPI_Request request) {
        return request != MPI_REQUEST_NULL;
    }

    void send_piece(std::size_t begin,
                    std::size_t bytes,
                    int to,
                    int tag,
                    MPI_Comm communicator) {
        const ByteType type(bytes, parts_.block_bytes);
        FUSIONLLM_MPI_CALL(
            MPI_Isend(buffer_.data() + begin,
                      type.count(),
                      type.get(),
                      to,
                      tag,
                      communicator,
                      &requests_.emplace_back(MPI_REQUEST_NULL)));
    }

    Buffer buffer_;
    MessageParts parts_;
    //! As many as pieces; those before `num_done_` are done.
    std::vector<MPI_Request> requests_;
    std::size_t num_done_ = 0;
    Tries tries_;
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
            MessageParts parts)
        : own_rank_(own_rank),
          to_(to),
          channel_(channel),
          transfer_(std::move(message), parts) {}

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
    Arrival(std::size_t max_bytes, MessageParts parts)
        : max_bytes_(max_bytes), parts_(parts) {}

    //! Take the next piece. A message that is too long is received too, so
    //! that its sender and those behind it get on.
    void add(MPI_Message message, std::size_t num_bytes) {
        is_complete_ =
            parts_.piece_bytes == 0 || num_bytes < parts_.piece_bytes;
        if (!transfer_) {
            const std::size_t room =
                is_complete_ ? num_bytes : std::max(num_bytes, max_bytes_);
            transfer_.emplace(Buffer(room), parts_);
        }
        if (num_bytes <= transfer_->buffer().size() - num_bytes_) {
            transfer_->receive(message, num_bytes_, num_bytes);
            num_bytes_ += num_bytes;
        } else {
            excess_.emplace_back(Buffer(num_bytes), parts_)
                .receive(message, 0, num_bytes);
            num_excess_bytes_ += num_bytes;
        }
    }

    //! All of it has come, but maybe MPI is still copying.
    bool is_complete() const { return is_complete_; }
    bool test() {
        return is_complete_ && transfer_->test() &&
               std::ranges::all_of(excess_, &Transfer::test);
    }
    std::size_t max_bytes() const { return max_bytes_; }
    std::size_t num_bytes() const { return num_bytes_ + num_excess_bytes_; }
    Buffer take() {
        transfer_->buffer().shrink(num_bytes_);
        return std::move(transfer_->buffer());
    }

private:
    std::size_t max_bytes_;
    MessageParts parts_;
    bool is_complete_ = false;
    std::optional<Transfer> transfer_;
    std::size_t num_bytes_ = 0;  //!< in the transfer
    std::deque<Transfer> excess_;
    std::size_t num_excess_bytes_ = 0;
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
        if (arrival_->num_bytes() > arrival_->max_bytes()) {
            throw Error(describe_too_long(own_rank_,
                                          from_.rank,
                                          channel_,
                                          arrival_->num_bytes(),
                                          arrival_->max_bytes()));
        }
        return true;
    }

    Buffer take() override {
        FUSIONLLM_EXPECTS(arrival_->test());
        return arrival_->take();
    }

    std::size_t received_bytes() const override {
        return arrival_->is_complete() ? 0 : arrival_->num_bytes();
    }

    void leak() override {}  // The transfer knows when it must.

private:
    bool make_progress() {
        try {
            if (!arrival_->is_complete()) {
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
                 MessageParts parts)
    : communicator_(std::move(communicator)),
      own_rank_(own_rank),
      parts_(parts) {}

Request MpiLink::send(const Peer& to, Channel channel, Buffer message) {
    auto operation = std::make_unique<MpiSend>(
        own_rank_, to, channel, std::move(message), parts_);
    operation->start(communicator_.get());
    return Request(std::move(operation));
}

Request MpiLink::receive(const Peer& from,
                         Channel channel,
                         std::size_t max_bytes) {
    Lane& lane = lanes_[{from.rank_in_group, tag_of(channel)}];
    const auto arrival = std::make_shared<Arrival>(max_bytes, parts_);
    while (!lane.early.empty() && !arrival->is_complete()) {
        const auto [message, num_bytes] = lane.early.front();
        lane.early.pop_front();
        arrival->add(message, num_bytes);
    }
    if (!arrival->is_complete()) {
        lane.waiting.push_back(arrival);
    }
    return Request(std::make_unique<MpiReceive>(
        shared_from_this(), own_rank_, from, channel, arrival));
}

void MpiLink::match_arrivals() {
    int num_left = parts_.piece_bytes > 0 ? tries_.next() : 1;
    bool has_any_come = false;
    while (num_left > 0) {
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
            --num_left;
            continue;
        }
        has_any_come = true;
        Lane& lane = lanes_[{status.MPI_SOURCE, status.MPI_TAG}];
        const std::size_t num_bytes = detail::received_bytes(status);
        received_bytes_[status.MPI_SOURCE] += num_bytes;
        if (lane.waiting.empty()) {
            lane.early.emplace_back(message, num_bytes);
        } else {
            const auto arrival = lane.waiting.front();
            arrival->add(message, num_bytes);
            if (arrival->is_complete()) {
                lane.waiting.pop_front();
            }
        }
    }
    tries_.count(has_any_come);
}

}  // namespace fusionllm::detail
