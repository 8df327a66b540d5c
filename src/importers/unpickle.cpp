#include "unpickle.hpp"

#include <deque>
#include <map>
#include <variant>

#include "fusionllm/util/error.hpp"

#include "bytes.hpp"

namespace fusionllm::detail {
namespace {

struct Object;
// Objects live as long as the machine, so that they may name one another.
using Ref = const Object*;

struct None {};
struct Mark {};
struct Global {
    std::string name;  // "module.name"
};
struct Sequence {
    std::vector<Ref> items;
};
struct Dict {
    std::vector<std::pair<Ref, Ref>> items;
};
struct Storage {
    DType dtype;
    std::string key;
    std::int64_t elements;
};

struct Object {
    std::variant<None,
                 Mark,
                 bool,
                 std::int64_t,
                 std::string,
                 Global,
                 Sequence,
                 Dict,
                 Storage,
                 StoredTensor>
        value;
};

[[noreturn]] void fail(std::string_view why) {
    throw InputError(fmt::format(
        "the pickled tensors of the archive cannot be read: {}; save the "
        "model again with torch.export.save",
        why));
}

class Machine {
public:
    explicit Machine(std::string_view pickle) : rest_(pickle) {}

    StoredTensors run() {
        while (step()) {
        }
        const auto* dict = std::get_if<Dict>(&pop()->value);
        if (dict == nullptr) {
            fail("they are no dict");
        }
        StoredTensors tensors;
        for (const auto& [key, value] : dict->items) {
            const auto* tensor = std::get_if<StoredTensor>(&value->value);
            if (tensor != nullptr) {
                tensors.emplace_back(as<std::string>(key), *tensor);
                check_stored(tensors.back().first, *tensor);
            }
        }
        return tensors;
    }

private:
    template <class T>
    static const T& as(Ref object) {
        const T* value = std::get_if<T>(&object->value);
        if (value == nullptr) {
            fail("a value is not of the kind that is expected there");
        }
        return *value;
    }

    std::string_view take(std::size_t count) {
        if (count > rest_.size()) {
            fail("they are cut short");
        }
        const std::string_view bytes = rest_.substr(0, count);
        rest_.remove_prefix(count);
        return bytes;
    }
    template <class Number>
    Number take_number() {
        return little_endian<Number>(take(sizeof(Number)), 0);
    }
    std::string take_line() {
        const std::size_t end = rest_.find('\n');
        if (end == std::string_view::npos) {
            fail("they are cut short");
        }
        const std::string line(take(end));
        take(1);
        return line;
    }

    template <class T>
    void push(T value) {
        objects_.push_back({std::move(value)});
        stack_.push_back(&objects_.back());
    }
    Ref pop() {
        if (stack_.empty()) {
            fail("they use a value that is not there");
        }
        const Ref top = stack_.back();
        stack_.pop_back();
        return top;
    }
    Object& top() {
        if (stack_.empty()) {
            fail("they use a value that is not there");
        }
        return const_cast<Object&>(*stack_.back());
    }
    std::vector<Ref> pop_to_mark() {
        std::vector<Ref> items;
        while (true) {
            const Ref item = pop();
            if (std::holds_alternative<Mark>(item->value)) {
                return {items.rbegin(), items.rend()};
            }
            items.push_back(item);
        }
    }
    void push_tuple(std::size_t count) {
        Sequence tuple;
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
        if (!step_constant(code) && !step_container(code) && !step_memo(code)) {
            step_call(code);
        }
        return true;
    }

    bool step_constant(unsigned char code) {
        switch (code) {
            case 'N':
                push(None{});
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
                take(8);
                push(None{});
                return true;
            case 'X':
                push(std::string(take(take_number<std::uint32_t>())));
                return true;
            case 0x8c:
                push(std::string(take(take_number<std::uint8_t>())));
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

    bool step_container(unsigned char code) {
        switch (code) {
            case '}':
                push(Dict{});
                return true;
            case ']':
            case ')':
                push(Sequence{});
                return true;
            case '(':
                push(Mark{});
                return true;
            case 't':
                push(Sequence{pop_to_mark()});
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
                const Ref value = pop();
                const Ref key = pop();
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
    void set_items(const std::vector<Ref>& items) {
        auto* dict = std::get_if<Dict>(&top().value);
        if (dict == nullptr || items.size() % 2 != 0) {
            fail("a value is not of the kind that is expected there");
        }
        for (std::size_t i = 0; i < items.size(); i += 2) {
            dict->items.emplace_back(items[i], items[i + 1]);
        }
    }
    void append(const std::vector<Ref>& items) {
        auto* list = std::get_if<Sequence>(&top().value);
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
            fail("they use a value that is not there");
        }
        stack_.push_back(found->second);
    }

    void step_call(unsigned char code) {
        switch (code) {
            case 'c': {
                const std::string module = take_line();
                push(Global{module + "." + take_line()});
                return;
            }
            case 0x93: {
                const std::string name = as<std::string>(pop());
                push(Global{as<std::string>(pop()) + "." + name});
                return;
            }
            case 'Q':
                push_storage(as<Sequence>(pop()));
                return;
            case 'R': {
                const Sequence& arguments = as<Sequence>(pop());
                call(as<Global>(pop()).name, arguments.items);
                return;
            }
            case 'b': {
                // An ordered dict's attributes, which nobody needs here.
                pop();
                as<Dict>(&top());
                return;
            }
            default:
                fail(fmt::format(
                    "they use the instruction {}, which tensors do not need",
                    code));
        }
    }

    //! ("storage", type, key, device, number of elements)
    void push_storage(const Sequence& id) {
        if (id.items.size() != 5 || as<std::string>(id.items[0]) != "storage") {
            fail("a storage is not written as PyTorch does");
        }
        push(Storage{parse_torch_dtype(as<Global>(id.items[1]).name),
                     as<std::string>(id.items[2]),
                     as<std::int64_t>(id.items[4])});
    }

    void call(const std::string& name, const std::vector<Ref>& arguments) {
        if (name == "collections.OrderedDict" && arguments.empty()) {
            push(Dict{});
        } else if (name == "torch._utils._rebuild_tensor_v2" &&
                   arguments.size() >= 4) {
            push(make_tensor(arguments));
        } else if ((name == "torch._utils._rebuild_parameter" ||
                    name == "torch._utils._rebuild_parameter_with_state") &&
                   !arguments.empty()) {
            as<StoredTensor>(arguments[0]);
            stack_.push_back(arguments[0]);
        } else if (name == "torch.Size" && arguments.size() == 1) {
            as<Sequence>(arguments[0]);
            stack_.push_back(arguments[0]);
        } else {
            fail(fmt::format("they want to call '{}', which would run code",
                             name));
        }
    }

    static std::vector<std::int64_t> integers(Ref list) {
        constexpr std::size_t max_dimensions = 64;
        const std::vector<Ref>& items = as<Sequence>(list).items;
        if (items.size() > max_dimensions) {
            fail("a tensor has more than 64 dimensions");
        }
        std::vector<std::int64_t> numbers;
        for (const Ref item : items) {
            numbers.push_back(as<std::int64_t>(item));
        }
        return numbers;
    }

    static StoredTensor make_tensor(const std::vector<Ref>& arguments) {
        const auto& storage = as<Storage>(arguments[0]);
        return {"data/" + storage.key,
                {storage.dtype, integers(arguments[2])},
                integers(arguments[3]),
                as<std::int64_t>(arguments[1]),
                storage.elements};
    }

    std::string_view rest_;
    std::deque<Object> objects_;
    std::vector<Ref> stack_;
    std::map<std::uint32_t, Ref> memo_;
};

}  // namespace

StoredTensors unpickle_tensors(std::string_view pickle) {
    return Machine(pickle).run();
}

}  // namespace fusionllm::detail
