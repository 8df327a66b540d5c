// Does the decoder survive messages that nobody meant?
//
//     decoder_fuzz N SEED
//
// Makes valid messages of every codec, changes them N times (bits, bytes,
// lengths, parts of other messages, fields of headers with a CRC that is right
// again) and decodes header and payload as a receiver does. A message is
// accepted, or refused by fusionllm::Error; anything else is a failure: status
// 1. With AddressSanitizer reads and writes out of range end the program, for
// messages and tensors have exactly their size.
//
//     cmake --preset asan && ninja -C build/asan decoder_fuzz
//     build/asan/bin/decoder_fuzz 1000000 1
//
// Equal arguments make equal changes.

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "fusionllm/codec/codec.hpp"
#include "fusionllm/codec/kokkos_scope.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/hash.hpp"
#include "fusionllm/wire/message_header.hpp"

namespace {

using namespace fusionllm;

constexpr std::size_t crc_offset = 124;
constexpr std::size_t payload_bytes_offset = 104;
// A tensor that a changed header asks for is made only if it is this small.
constexpr std::uint64_t most_elements = 1 << 16;

using Bytes = std::vector<std::byte>;

//! Numbers that repeat; the standard's distributions differ by library.
class Dice {
public:
    explicit Dice(std::uint64_t seed) : engine_(seed) {}
    //! Below `end`, which is not 0
    std::uint64_t roll(std::uint64_t end) { return engine_() % end; }
    std::byte roll_byte() { return static_cast<std::byte>(roll(256)); }
    std::uint64_t roll_word() { return engine_(); }

private:
    std::mt19937_64 engine_;
};

void put(Bytes& message, std::size_t offset, std::uint64_t value, int size) {
    for (int i = 0; i < size && offset < message.size(); ++i, ++offset) {
        message[offset] = static_cast<std::byte>(value >> (8 * i));
    }
}

void repair_crc(Bytes& message) {
    if (message.size() >= header_bytes) {
        put(message,
            crc_offset,
            crc32c(std::span<const std::byte>(message).first(crc_offset)),
            4);
    }
}

//! One value at a fence, both its ends, and its messages.
struct Subject {
    CodecChoice choice;
    TensorType type;
    std::unique_ptr<Codec> before;
    std::unique_ptr<Codec> after;
    std::vector<float> numbers;
    Bytes messages[2];  //!< forward, backward
};

MessageHeader make_header(const Subject& subject,
                          Direction direction,
                          const CodecSpec& spec) {
    MessageHeader header;
    header.kind = direction == Direction::forward ? MessageKind::activation
                                                  : MessageKind::gradient;
    header.codec = spec;
    header.step = 3;
    header.micro_batch = 1;
    header.value = 17;
    header.type = subject.type;
    for (std::size_t dim = 0; dim < subject.type.sizes.size(); ++dim) {
        header.stride_order.push_back(static_cast<std::uint8_t>(dim));
    }
    header.payload_bytes = payload_bytes(spec, matrix_shape(subject.type));
    return header;
}

CodecKey make_key() {
    CodecKey key;
    key.micro_batch = 1;
    key.random = 99;
    return key;
}

Bytes make_message(const Subject& subject, Codec& codec, Direction direction) {
    const CodecSpec spec = codec.spec(direction, make_key());
    const auto head = encode_header(make_header(subject, direction, spec));
    Bytes message(head.begin(), head.end());
    message.resize(header_bytes +
                   payload_bytes(spec, matrix_shape(subject.type)));
    codec.encode(direction,
                 make_key(),
                 subject.numbers,
                 std::span(message).subspan(header_bytes));
    return message;
}

//! Both ends as after a forward message: they have their masks and bases.
void prepare(Subject& subject) {
    const MatrixShape shape = matrix_shape(subject.type);
    subject.before = make_codec(subject.choice, shape, MemorySpace::host);
    subject.after = make_codec(subject.choice, shape, MemorySpace::host);
    std::vector<float> decoded(shape.size());
    const CodecSpec spec = subject.before->spec(Direction::forward, make_key());
    subject.messages[0] =
        make_message(subject, *subject.before, Direction::forward);
    subject.after->decode(
        Direction::forward,
        make_key(),
        spec,
        std::span<const std::byte>(subject.messages[0]).subspan(header_bytes),
        decoded);
}

std::vector<Subject> make_subjects(Dice& dice) {
    std::vector<Subject> subjects;
    for (const char* choice : {"fp32",
                               "bf16",
                               "fp16",
                               "int8",
                               "int4/int3s",
                               "int6",
                               "int5",
                               "int3",
                               "int2",
                               "int4+feedback",
                               "top_k(10,int4)",
                               "top_k(2,fp32)",
                               "top_k(60,int8)",
                               "top_k_row(10,int4/int3s)",
                               "top_k(1,bf16)",
                               "top_k(8,int4)+feedback",
                               "paper(7)",
                               "subspace(16,int4)",
                               "subspace(3,graded)",
                               "subspace(3,graded6/int3s)"}) {
        for (const auto& sizes : {std::vector<std::int64_t>{8, 65},
                                  std::vector<std::int64_t>{3, 5, 7, 11},
                                  std::vector<std::int64_t>{2, 1, 128},
                                  std::vector<std::int64_t>{1},
                                  std::vector<std::int64_t>{4, 0}}) {
            Subject subject;
            subject.choice = parse_codec_choice(choice, 1);
            subject.type = {DType::f32, sizes};
            subject.numbers.resize(matrix_shape(subject.type).size());
            for (float& x : subject.numbers) {
                x = static_cast<float>(dice.roll(2001)) - 1000;
            }
            prepare(subject);
            subject.messages[1] =
                make_message(subject, *subject.after, Direction::backward);
            subjects.push_back(std::move(subject));
        }
    }
    return subjects;
}

//! Messages that go round the codecs.
std::vector<Bytes> make_plain_messages() {
    MessageHeader absent;
    absent.kind = MessageKind::gradient;
    absent.has_tensor = false;
    MessageHeader native;
    native.type = {DType::i64, {3, 2}};
    native.stride_order = {1, 0};
    native.payload_bytes = 48;
    std::vector<Bytes> messages;
    for (const MessageHeader& header : {absent, native}) {
        const auto head = encode_header(header);
        messages.emplace_back(head.begin(), head.end());
        messages.back().resize(header_bytes + header.payload_bytes);
    }
    return messages;
}

//! A value that a field may mean something with.
std::uint64_t roll_field(Dice& dice) {
    constexpr std::array<std::uint64_t, 10> interesting = {
        0, 1, 2, 3, 64, 65, 255, 1u << 31, 1ull << 32, 1ull << 40};
    switch (dice.roll(4)) {
        case 0:
            return interesting[dice.roll(interesting.size())];
        case 1:
            return ~std::uint64_t{0} - dice.roll(3);
        case 2:
            return dice.roll(600);
        default:
            return dice.roll_word();
    }
}

void change_header(Bytes& message, Dice& dice) {
    struct Field {
        std::size_t offset;
        int size;
    };
    // The codec's fields oftener than the others.
    constexpr std::array<Field, 24> fields = {
        {{4, 2},  {6, 1},   {7, 1},   {7, 1},   {8, 1},   {9, 1},
         {10, 2}, {12, 4},  {24, 4},  {28, 1},  {28, 1},  {29, 1},
         {30, 1}, {31, 1},  {32, 8},  {40, 8},  {48, 8},  {96, 1},
         {97, 1}, {104, 8}, {104, 8}, {112, 8}, {112, 8}, {120, 4}}};
    const Field field = fields[dice.roll(fields.size())];
    std::uint64_t value = roll_field(dice);
    if (field.size == 1) {
        value = dice.roll(10);
    }
    put(message, field.offset, value, field.size);
    repair_crc(message);
}

//! Behind the header if there is anything.
std::size_t roll_place(const Bytes& message, Dice& dice) {
    if (message.size() > header_bytes && dice.roll(8) != 0) {
        return header_bytes + dice.roll(message.size() - header_bytes);
    }
    return dice.roll(message.size());
}

void change_length(Bytes& message, Dice& dice) {
    if (dice.roll(2) == 0) {
        message.resize(dice.roll(message.size() + 1));
    } else {
        const std::size_t more = 1 + dice.roll(40);
        for (std::size_t i = 0; i < more; ++i) {
            message.push_back(dice.roll_byte());
        }
    }
    if (dice.roll(2) == 0 && message.size() >= header_bytes) {
        put(message, payload_bytes_offset, message.size() - header_bytes, 8);
        repair_crc(message);
    }
}

void splice(Bytes& message, const Bytes& other, Dice& dice) {
    if (other.empty()) {
        return;
    }
    const std::size_t to = roll_place(message, dice);
    const std::size_t from =
        dice.roll(2) == 0 && to < other.size() ? to : dice.roll(other.size());
    const std::size_t most = std::min(message.size() - to, other.size() - from);
    const std::size_t count = 1 + dice.roll(most);
    std::copy_n(other.begin() + static_cast<std::ptrdiff_t>(from),
                count,
                message.begin() + static_cast<std::ptrdiff_t>(to));
}

void change(Bytes& message, const Bytes& other, Dice& dice) {
    if (message.empty()) {
        return;
    }
    const std::size_t place = roll_place(message, dice);
    switch (dice.roll(6)) {
        case 0:
        case 1:
            message[place] ^= static_cast<std::byte>(1u << dice.roll(8));
            break;
        case 2:
            message[place] = dice.roll_byte();
            break;
        case 3:
            change_length(message, dice);
            break;
        case 4:
            splice(message, other, dice);
            break;
        default:
            change_header(message, dice);
            break;
    }
}

//! As a receiver does. True if accepted; throws `Error` if not.
bool receive(Subject& subject, std::span<const std::byte> message) {
    const MessageHeader header = decode_header(message);
    if (!header.has_tensor || header.codec == CodecSpec{}) {
        return true;
    }
    const MatrixShape shape = matrix_shape(header.type);
    const auto direction = header.kind == MessageKind::gradient
                               ? Direction::backward
                               : Direction::forward;
    Codec* codec = direction == Direction::forward ? subject.after.get()
                                                   : subject.before.get();
    std::unique_ptr<Codec> other;
    if (!(shape == matrix_shape(subject.type))) {
        if (shape.size() > most_elements) {
            throw Error("another tensor is expected");
        }
        other = make_codec(subject.choice, shape, MemorySpace::host);
        codec = other.get();
    }
    const auto numbers = std::make_unique<float[]>(shape.size());
    codec->decode(direction,
                  make_key(),
                  header.codec,
                  message.subspan(header_bytes),
                  {numbers.get(), shape.size()});
    return true;
}

bool is_accepted(Subject& subject, const Bytes& message) {
    // Exactly as long, lest what is behind be read unseen.
    const auto exact = std::make_unique<std::byte[]>(message.size());
    std::ranges::copy(message, exact.get());
    try {
        return receive(subject, {exact.get(), message.size()});
    } catch (const Error&) {
        return false;
    }
}

//! Throws `Error` if a valid message is refused.
void check_valid_messages(std::vector<Subject>& subjects) {
    for (Subject& subject : subjects) {
        for (const Bytes& message : subject.messages) {
            if (!is_accepted(subject, message)) {
                throw Error(fmt::format("a valid message of {} is refused",
                                        to_text(subject.choice)));
            }
        }
        prepare(subject);
    }
}

int fuzz(std::uint64_t count, std::uint64_t seed) {
    Dice dice(seed);
    std::vector<Subject> subjects = make_subjects(dice);
    const std::vector<Bytes> plain = make_plain_messages();
    check_valid_messages(subjects);
    std::uint64_t num_accepted = 0;
    for (std::uint64_t i = 0; i < count; ++i) {
        Subject& subject = subjects[dice.roll(subjects.size())];
        const Subject& other = subjects[dice.roll(subjects.size())];
        Bytes message = subject.messages[dice.roll(2)];
        if (dice.roll(50) == 0) {
            message = plain[dice.roll(plain.size())];
        }
        const std::uint64_t num_changes = 1 + dice.roll(3);
        for (std::uint64_t j = 0; j < num_changes; ++j) {
            change(message, other.messages[dice.roll(2)], dice);
        }
        try {
            num_accepted += is_accepted(subject, message) ? 1 : 0;
        } catch (const std::exception& error) {
            fmt::print(stderr,
                       "decoder_fuzz: change {} of a message of {} threw "
                       "something else than Error: {}\n",
                       i,
                       to_text(subject.choice),
                       error.what());
            return 1;
        }
        prepare(subject);  // masks and bases again
    }
    fmt::print("{} changed messages: {} accepted, {} refused\n",
               count,
               num_accepted,
               count - num_accepted);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) {
        fmt::print(stderr, "usage: decoder_fuzz N SEED\n");
        return 2;
    }
    try {
        const KokkosScope kokkos(1);
        return fuzz(std::strtoull(argv[1], nullptr, 10),
                    std::strtoull(argv[2], nullptr, 10));
    } catch (const std::exception& error) {
        fmt::print(stderr, "decoder_fuzz: {}\n", error.what());
        return 1;
    }
}
