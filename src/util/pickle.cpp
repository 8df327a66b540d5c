#include "fusionllm/util/pickle.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>

#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

static_assert(std::endian::native == std::endian::little,
              "numbers of pickles are read as they are");

class Machine {
public:
    Machine(std::string_view bytes,
            const PickleRules& rules,
            std::deque<PickleValue>& values)
        : rest_(bytes), rules_(rules), values_(values) {}

    PickleRef run() {
        while (step()) {
        }
        return pop();
    }

private:
    [[noreturn]] void fail(std::string_view why) const {
        throw InputError(fmt::format(
            "{} cannot be read: {}; {}", rules_.what, why, rules_.advice));
    }

    template <class T>
    const T& as(PickleRef value) const {
        const T* data = value->get<T>();
        if (data == nullptr) {
            fail("a value is not of the kind that is expected there");
        }
        return *data;
    }

    std::string_view take(std::uint64_t count) {
        if (count > rest_.size()) {
            fail("the pickle is cut short");
        }
        const std::string_view bytes = rest_.substr(0, count);
        rest_.remove_prefix(count);
        return bytes;
    }
    template <class Number>
    Number take_number() {
        Number number;
        std::memcpy(&number, take(sizeof number).data(), sizeof number);
        return number;
    }
    std::string_view take_line() {
        const std::size_t end = rest_.find('\n');
        const std::string_view line = take(end == rest_.npos ? end : end + 1);
        return line.substr(0, end);
    }

    template <class T>
    void push(T value) {
        values_.push_back({std::move(value)});
        stack_.push_back(&values_.back());
    }
    PickleRef pop() {
        if (stack_.empty() || stack_.back() == nullptr) {
            fail("it uses a value that is not there");
        }
        const PickleRef top = stack_.back();
        stack_.pop_back();
        return top;
    }
    PickleValue& top() {
        if (stack_.empty() || stack_.back() == nullptr) {
            fail("it uses a value that is not there");
        }
        return const_cast<PickleValue&>(*stack_.back());
    }
    //! A mark is a null on the stack.
    std::vector<PickleRef> pop_to_mark() {
        const auto mark =
            std::find(stack_.rbegin(), stack_.rend(), PickleRef());
        if (mark == stack_.rend()) {
            fail("it uses a value that is not there");
        }
        std::vector<PickleRef> items(mark.base(), stack_.end());
        stack_.erase(mark.base() - 1, stack_.end());
        return items;
    }
    void push_tuple(std::size_t count) {
        PickleList tuple;
        for (std::size_t i = 0; i < count; ++i) {
            tuple.items.insert(tuple.items.begin(), pop());
        }
        push(std::move(tuple));
    }

    bool step() {
        const auto code = static_cast<unsigned char>(take(1).front());
        if (code == '.') {
            return false;
        }
        if (!step_number(code) && !step_text(code) && !step_container(code) &&
            !step_memo(code)) {
            step_call(code);
        }
        return true;
    }

    bool step_number(unsigned char code) {
        switch (code) {
            case 'N':
                push(PickleNone{});
                return true;
            case 0x88:
                push(true);
                return true;
            case 0x89:
                push(false);
                return true;
            case 'J':
                push(std::int64_t{take_number<std::int32_t>()});
                return true;
            case 'K':
                push(std::int64_t{take_number<std::uint8_t>()});
                return true;
            case 'M':
                push(std::int64_t{take_number<std::uint16_t>()});
                return true;
            case 0x8a:
                push_long();
                return true;
            case 'G':
                push_double();
                return true;
            default:
                return false;
        }
    }
    void push_long() {
        const std::string_view bytes = take(take_number<std::uint8_t>());
        if (bytes.size() > 8) {
            fail("a number is too large");
        }
        std::uint64_t number = 0;
        for (std::size_t i = 0; i < bytes.size(); ++i) {
            number |= std::uint64_t{static_cast<unsigned char>(bytes[i])}
                      << (8 * i);
        }
        // Two's complement of as many bytes as there are.
        if (!bytes.empty() && bytes.size() < 8 && (bytes.back() & 0x80) != 0) {
            number |= ~std::uint64_t{0} << (8 * bytes.size());
        }
        push(static_cast<std::int64_t>(number));
    }
    void push_double() {
        const std::string_view bytes = take(sizeof(double));
        std::uint64_t bits = 0;
        for (const char byte : bytes) {
            bits = bits << 8 | static_cast<unsigned char>(byte);
        }
        push(std::bit_cast<double>(bits));
    }

    bool step_text(unsigned char code) {
        switch (code) {
            case 'U':   // text of Python 2
            case 'C':   // bytes
            case 0x8c:  // text
                push(take(take_number<std::uint8_t>()));
                return true;
            case 'T':
            case 'B':
            case 'X':
                push(take(take_number<std::uint32_t>()));
                return true;
            case 0x8d:
            case 0x8e:
                push(take(take_number<std::uint64_t>()));
                return true;
            default:
                return false;
        }
    }

    bool step_container(unsigned char code) {
        switch (code) {
            case '}':
                push(PickleDict{});
                return true;
            case ']':
            case ')':
                push(PickleList{});
                return true;
            case '(':
                stack_.push_back(nullptr);
                return true;
            case 't':
                push(PickleList{pop_to_mark()});
                return true;
            case 0x85:
                push_tuple(1);
                return true;
            case 0x86:
                push_tuple(2);
                return true;
            case 0x87:
                push_tuple(3);
                return true;
            case 's': {
                const PickleRef value = pop();
                const PickleRef key = pop();
                set_items({key, value});
                return true;
            }
            case 'u':
                set_items(pop_to_mark());
                return true;
            case 'a':
                append({pop()});
                return true;
            case 'e':
                append(pop_to_mark());
                return true;
            default:
                return false;
        }
    }
    void set_items(const std::vector<PickleRef>& items) {
        auto* dict = std::get_if<PickleDict>(&top().data);
        if (auto* object = std::get_if<PickleObject>(&top().data)) {
            dict = &object->items;
        }
        if (dict == nullptr || items.size() % 2 != 0) {
            fail("a value is not of the kind that is expected there");
        }
        for (std::size_t i = 0; i < items.size(); i += 2) {
            dict->items.emplace_back(items[i], items[i + 1]);
        }
    }
    void append(const std::vector<PickleRef>& items) {
        auto* list = std::get_if<PickleList>(&top().data);
        if (list == nullptr) {
            fail("a value is not of the kind that is expected there");
        }
        list->items.insert(list->items.end(), items.begin(), items.end());
    }

    bool step_memo(unsigned char code) {
        switch (code) {
            case 0x80:
                take(1);
                return true;  // protocol
            case 0x95:
                take(8);
                return true;  // frame
            case 'q':
                memo_[take_number<std::uint8_t>()] = &top();
                return true;
            case 'r':
                memo_[take_number<std::uint32_t>()] = &top();
                return true;
            case 0x94:
                memo_[static_cast<std::uint32_t>(memo_.size())] = &top();
                return true;
            case 'h':
                recall(take_number<std::uint8_t>());
                return true;
            case 'j':
                recall(take_number<std::uint32_t>());
                return true;
            default:
                return false;
        }
    }
    void recall(std::uint32_t number) {
        const auto found = memo_.find(number);
        if (found == memo_.end()) {
            fail("it uses a value that is not there");
        }
        stack_.push_back(found->second);
    }

    void step_call(unsigned char code) {
        switch (code) {
            case 'c': {
                const std::string module(take_line());
                push_global(module + "." + std::string(take_line()));
                return;
            }
            case 0x93: {
                const std::string name(as<std::string_view>(pop()));
                push_global(std::string(as<std::string_view>(pop())) + "." +
                            name);
                return;
            }
            case 'Q':
                push(PickleOutside{pop()});
                return;
            case 'R':
            case 0x81: {
                const PickleRef arguments = pop();
                as<PickleList>(arguments);
                const auto& callable = as<PickleGlobal>(pop());
                push(PickleObject{callable.name, arguments, nullptr, {}});
                return;
            }
            case 'b': {
                const PickleRef state = pop();
                auto* object = std::get_if<PickleObject>(&top().data);
                if (object == nullptr) {
                    fail("a value is not of the kind that is expected there");
                }
                object->state = state;
                return;
            }
            default:
                fail(fmt::format(
                    "it uses the instruction {}, which data does not need",
                    code));
        }
    }
    void push_global(std::string name) {
        if (!rules_.is_known(name)) {
            fail(fmt::format("it names '{}', which would run code", name));
        }
        push(PickleGlobal{std::move(name)});
    }

    std::string_view rest_;
    const PickleRules& rules_;
    std::deque<PickleValue>& values_;
    std::vector<PickleRef> stack_;
    std::map<std::uint32_t, PickleRef> memo_;
};

}  // namespace

Pickle::Pickle(std::string_view bytes, const PickleRules& rules) {
    root_ = Machine(bytes, rules, values_).run();
}

}  // namespace fusionllm
