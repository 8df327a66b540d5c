// fusionllm-netlab-delay: one-way delays between the sites of a netlab, for
// kernels that have no netem.
//
//   fusionllm-netlab-delay DEVICE TABLE
//
// The router of the netlab sends the packets that are to be delayed into the
// TUN device; each is written back when its time has come, and the router then
// sends it on. A line of TABLE is "FROM TO SECONDS"; FROM and TO are sites,
// which is the third number of an IPv4 address (10.77.SITE.1). Packets of other
// pairs are written back at once. Runs until it gets SIGTERM, then says what it
// has moved and how late.

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <exception>
#include <fstream>
#include <functional>
#include <queue>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::duration_cast;
using std::chrono::nanoseconds;

constexpr std::size_t num_sites = 256;
//! In front of each packet: what is left to do to it, such as dividing it into
//! segments. It goes back as it came, so that large packets pass whole.
constexpr int header_bytes = 10;
constexpr std::size_t largest_packet_bytes = 65536;
constexpr std::size_t largest_queued_bytes = std::size_t{1} << 30;
constexpr int packets_a_turn = 64;

volatile std::sig_atomic_t is_told_to_end = 0;

[[noreturn]] void fail(const std::string& what) {
    throw std::runtime_error(what + ": " + std::strerror(errno));
}

//! The device's other end: packets that the kernel routes into it.
class Tun {
public:
    explicit Tun(const std::string& name)
        : file_(open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC)) {
        if (file_ < 0) {
            fail("cannot open /dev/net/tun");
        }
        ifreq request{};
        name.copy(request.ifr_name, IFNAMSIZ - 1);
        request.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
        int bytes = header_bytes;
        if (ioctl(file_, TUNSETIFF, &request) < 0 ||
            ioctl(file_, TUNSETVNETHDRSZ, &bytes) < 0 ||
            ioctl(file_, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4) < 0) {
            fail("cannot attach to the TUN device " + name);
        }
    }
    ~Tun() { close(file_); }
    Tun(const Tun&) = delete;
    Tun& operator=(const Tun&) = delete;

    //! Bytes read, with the header; 0 if there is nothing to read.
    std::size_t read_into(std::vector<char>& buffer) const {
        const ssize_t bytes = read(file_, buffer.data(), buffer.size());
        return bytes > header_bytes ? static_cast<std::size_t>(bytes) : 0;
    }
    bool write_back(const char* packet, std::size_t bytes) const {
        return write(file_, packet, bytes) == static_cast<ssize_t>(bytes);
    }
    void wait_for_packet(nanoseconds at_most) const {
        pollfd waited{file_, POLLIN, 0};
        const auto ns = std::max<std::int64_t>(at_most.count(), 0);
        const timespec time{ns / 1'000'000'000, ns % 1'000'000'000};
        ppoll(&waited, 1, &time, nullptr);
    }

private:
    int file_;
};

struct Packet {
    Clock::time_point due;
    std::vector<char> bytes;
};

//! One direction between two sites: what goes in first comes out first.
struct Line {
    nanoseconds delay{0};
    std::deque<Packet> packets;
};

using Lines = std::vector<Line>;  // FROM * num_sites + TO

Lines read_table(const std::string& path) {
    std::ifstream file(path);
    Lines lines(num_sites * num_sites);
    std::string text;
    while (std::getline(file, text)) {
        std::istringstream words(text);
        std::size_t from = 0;
        std::size_t to = 0;
        double seconds = 0;
        if (!(words >> from >> to >> seconds) || from >= num_sites ||
            to >= num_sites || seconds < 0) {
            throw std::runtime_error(path + " has the line '" + text +
                                     "'; it should be FROM TO SECONDS");
        }
        lines[from * num_sites + to].delay =
            nanoseconds(static_cast<std::int64_t>(seconds * 1e9));
    }
    if (!file.eof()) {
        fail("cannot read " + path);
    }
    return lines;
}

class Forwarder {
public:
    Forwarder(const Tun& tun, Lines lines)
        : tun_(tun),
          lines_(std::move(lines)),
          buffer_(header_bytes + largest_packet_bytes) {}

    void run() {
        while (is_told_to_end == 0) {
            write_due();
            if (!read_some()) {
                tun_.wait_for_packet(time_to_next());
            }
        }
    }

    void report() const {
        std::fprintf(stderr,
                     "fusionllm-netlab-delay: %llu packets, %llu lost, at most "
                     "%.2f ms late\n",
                     num_packets_,
                     num_lost_,
                     static_cast<double>(latest_.count()) / 1e6);
    }

private:
    using Head = std::pair<Clock::time_point, Line*>;

    void write_due() {
        const auto now = Clock::now();
        while (!heads_.empty() && heads_.top().first <= now) {
            Line& line = *heads_.top().second;
            heads_.pop();
            const Packet& packet = line.packets.front();
            latest_ =
                std::max(latest_, duration_cast<nanoseconds>(now - packet.due));
            write(packet.bytes.data(), packet.bytes.size());
            queued_bytes_ -= packet.bytes.size();
            line.packets.pop_front();
            if (!line.packets.empty()) {
                heads_.push({line.packets.front().due, &line});
            }
        }
    }

    void write(const char* packet, std::size_t bytes) {
        num_lost_ += tun_.write_back(packet, bytes) ? 0 : 1;
    }

    bool read_some() {
        for (int i = 0; i < packets_a_turn; ++i) {
            const std::size_t bytes = tun_.read_into(buffer_);
            if (bytes == 0) {
                return i > 0;
            }
            ++num_packets_;
            take(bytes);
        }
        return true;
    }

    void take(std::size_t bytes) {
        Line& line = line_of_packet();
        if (line.delay.count() == 0) {
            write(buffer_.data(), bytes);
            return;
        }
        if (queued_bytes_ + bytes > largest_queued_bytes) {
            ++num_lost_;
            return;
        }
        const auto due = Clock::now() + line.delay;
        if (line.packets.empty()) {
            heads_.push({due, &line});
        }
        const auto begin = buffer_.begin();
        line.packets.push_back(
            {due, {begin, begin + static_cast<std::ptrdiff_t>(bytes)}});
        queued_bytes_ += bytes;
    }

    Line& line_of_packet() {
        const auto octet = [&](std::size_t offset) {
            return static_cast<unsigned char>(buffer_[header_bytes + offset]);
        };
        const bool is_version_4 = octet(0) >> 4 == 4;
        return is_version_4 ? lines_[octet(14) * num_sites + octet(18)]
                            : lines_[0];
    }

    nanoseconds time_to_next() const {
        return heads_.empty() ? std::chrono::seconds(1)
                              : duration_cast<nanoseconds>(heads_.top().first -
                                                           Clock::now());
    }

    const Tun& tun_;
    Lines lines_;
    std::vector<char> buffer_;
    //! When the first packet of each line that has one is due.
    std::priority_queue<Head, std::vector<Head>, std::greater<>> heads_;
    std::size_t queued_bytes_ = 0;
    unsigned long long num_packets_ = 0;
    unsigned long long num_lost_ = 0;
    nanoseconds latest_{0};
};

//! Packets must not wait until a rank has had its turn on a core.
void run_before_others() {
    const sched_param parameters{10};
    if (sched_setscheduler(0, SCHED_FIFO, &parameters) != 0) {
        std::fprintf(stderr,
                     "fusionllm-netlab-delay: no real-time priority (%s), so "
                     "packets may be late when the processors are busy\n",
                     std::strerror(errno));
    }
    prctl(PR_SET_TIMERSLACK, 1000);
}

void run(const std::string& device, const std::string& table) {
    const Tun tun(device);
    Forwarder forwarder(tun, read_table(table));
    run_before_others();
    std::signal(SIGTERM, [](int) { is_told_to_end = 1; });
    std::signal(SIGINT, SIG_IGN);  // Ctrl-C is for the ranks
    std::puts("ready");
    std::fflush(stdout);
    forwarder.run();
    forwarder.report();
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) {
        std::fputs("usage: fusionllm-netlab-delay DEVICE TABLE\n", stderr);
        return 2;
    }
    try {
        run(argv[1], argv[2]);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "fusionllm-netlab-delay: %s\n", error.what());
        return 1;
    }
    return 0;
}
