// Transforms text: CortexPrism's example plugin in C++, one capability named `transform`.
//
// Input is JSON at (pointer, length), the answer a pointer to JSON whose length `transform_len`
// tells. The host takes memory for the input from malloc, which the manifest names (it
// calls that `wasi`).

#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "cortex-json.h"
#include "cortex-malloc.h"

namespace {

/// A capital letter range, all of it or every second one, and how far its small letters are.
struct Letters {
    std::uint32_t first, last, step;
    std::int32_t apart;

    constexpr bool holds(std::uint32_t code) const
    {
        return code >= first && code <= last && ((code - first) & (step - 1)) == 0;
    }
};

/// The letters of Europe beyond ASCII: Latin with its accents, Greek and Cyrillic. What needs several
/// characters (`ß` is `SS`) or its neighbours stays as it is.
constexpr auto LETTERS = std::to_array<Letters>({
    {0xc0, 0xd6, 1, 32},     {0xd8, 0xde, 1, 32},    {0x100, 0x12e, 2, 1},   {0x132, 0x136, 2, 1},
    {0x139, 0x147, 2, 1},    {0x14a, 0x176, 2, 1},   {0x178, 0x178, 1, -121}, {0x179, 0x17d, 2, 1},
    {0x386, 0x386, 1, 38},   {0x388, 0x38a, 1, 37},  {0x38c, 0x38c, 1, 64},  {0x38e, 0x38f, 1, 63},
    {0x391, 0x3a1, 1, 32},   {0x3a3, 0x3ab, 1, 32},  {0x400, 0x40f, 1, 80},  {0x410, 0x42f, 1, 32},
    {0x460, 0x480, 2, 1},    {0x48a, 0x4be, 2, 1},   {0x4c0, 0x4c0, 1, 15},  {0x4c1, 0x4cd, 2, 1},
    {0x4d0, 0x52e, 2, 1},    {0x1e00, 0x1e94, 2, 1}, {0x1ea0, 0x1efe, 2, 1},
});

/// Letters with only one way: small ones to the capital of another, and the capital of `ß`.
constexpr auto TO_UPPER = std::to_array<std::pair<std::uint32_t, std::uint32_t>>(
    {{0xb5, 0x39c}, {0x131, 'I'}, {0x17f, 'S'}, {0x3c2, 0x3a3}, {0x1e9b, 0x1e60}});
constexpr auto TO_LOWER = std::to_array<std::pair<std::uint32_t, std::uint32_t>>({{0x1e9e, 0xdf}});

/// Each byte of a word that is from FIRST to LAST, where all are ASCII, by its high bit.
template <unsigned char FIRST, unsigned char LAST>
constexpr std::uint64_t between(std::uint64_t word)
{
    return (word + JSON_ONES * (0x80u - FIRST)) & ~(word + JSON_ONES * (0x7fu - LAST)) & JSON_HIGH;
}

/// What becomes of eight characters of ASCII at once, and of one beyond it. None becomes longer.
struct Upper {
    static constexpr std::uint64_t word(std::uint64_t word) { return word ^ between<'a', 'z'>(word) >> 2; }

    static constexpr std::uint32_t letter(std::uint32_t code)
    {
        for (const auto &letters : LETTERS)
            if (const auto capital = code - static_cast<std::uint32_t>(letters.apart); letters.holds(capital))
                return capital;
        for (const auto &[small, capital] : TO_UPPER)
            if (code == small)
                return capital;
        return code;
    }
};

struct Lower {
    static constexpr std::uint64_t word(std::uint64_t word) { return word ^ between<'A', 'Z'>(word) >> 2; }

    static constexpr std::uint32_t letter(std::uint32_t code)
    {
        for (const auto &letters : LETTERS)
            if (letters.holds(code))
                return code + static_cast<std::uint32_t>(letters.apart);
        for (const auto &[capital, small] : TO_LOWER)
            if (code == capital)
                return small;
        return code;
    }
};

struct Rot13 {
    static constexpr std::uint64_t word(std::uint64_t word)
    {
        const std::uint64_t small = word | JSON_ONES * 0x20;
        return word + (between<'a', 'm'>(small) >> 7) * 13 - (between<'n', 'z'>(small) >> 7) * 13;
    }

    static constexpr std::uint32_t letter(std::uint32_t code) { return code; }
};

static_assert(Rot13::word(0x7a5b40416d6e4d4e) == 0x6d5b404e7a615a41);

/// Bytes of malloc's for a result. They stay until the instance ends, which is with the call.
char *bytes_for(std::size_t length)
{
    auto *bytes = static_cast<char *>(std::malloc(length + 1));
    if (bytes == nullptr)
        std::abort();
    return bytes;
}

template <typename Step>
std::string_view map(std::string_view text)
{
    char *const result = bytes_for(text.size());
    char *to = result;
    const char *at = text.data(), *const end = at + text.size();
    while (at < end) {
        for (; end - at >= 8; at += 8, to += 8) {
            std::uint64_t word = json_word(at);
            if ((word & JSON_HIGH) != 0)
                break;
            word = Step::word(word);
            std::memcpy(to, &word, sizeof word);
        }
        if (at == end)
            break;
        if (const auto byte = static_cast<unsigned char>(*at); byte < 0x80) {
            *to++ = static_cast<char>(Step::word(byte));
            at++;
            continue;
        }
        std::uint32_t code = 0;
        const std::size_t length = utf8_read(at, end, &code);
        if (length == 0)
            break;
        at += length;
        to += utf8_write(Step::letter(code), to);
    }
    return {result, static_cast<std::size_t>(to - result)};
}

/// The characters from the last to the first, each with its bytes as they are.
std::string_view reverse(std::string_view text)
{
    char *const result = bytes_for(text.size());
    char *to = result + text.size();
    const char *at = text.data(), *const end = at + text.size();
    while (at < end) {
        for (; end - at >= 8; at += 8) {
            std::uint64_t word = json_word(at);
            if ((word & JSON_HIGH) != 0)
                break;
            word = __builtin_bswap64(word);
            std::memcpy(to -= 8, &word, sizeof word);
        }
        std::uint32_t code = 0;
        const std::size_t length = utf8_read(at, end, &code);
        if (length == 0)
            break;
        to -= length;
        for (std::size_t i = 0; i < length; i++)
            to[i] = at[i];
        at += length;
    }
    return {result, text.size()};
}

/// The document's hash, `sum * 31 + byte` modulo 2^64. Eight bytes at a time wait for the sum
/// before them once and not eight times.
std::uint64_t hash(std::string_view text)
{
    constexpr std::uint64_t TWO = 31 * 31, FOUR = TWO * TWO, EIGHT = FOUR * FOUR;
    const auto *at = reinterpret_cast<const unsigned char *>(text.data()), *const end = at + text.size();
    std::uint64_t sum = 0;
    for (; end - at >= 8; at += 8) {
        const std::uint64_t first = (at[0] * 31u + at[1]) * TWO + (at[2] * 31u + at[3]);
        const std::uint64_t second = (at[4] * 31u + at[5]) * TWO + (at[6] * 31u + at[7]);
        sum = sum * EIGHT + first * FOUR + second;
    }
    for (; at < end; at++)
        sum = sum * 31 + *at;
    return sum;
}

struct Input {
    std::string_view text, mode;
};

/// The input, or nothing where `json.problem` says why.
std::optional<Input> read(json &json)
{
    std::optional<std::string_view> text, mode;
    const auto once = [&json](std::optional<std::string_view> &field, const char *twice) {
        json_text read{};
        if (field)
            json_wrong(&json, twice);
        else if (json_string(&json, &read))
            field.emplace(read.bytes, read.length);
    };
    json_text key{};
    json_enter(&json, '{');
    while (json_key(&json, &key)) {
        const std::string_view name(key.bytes, key.length);
        if (name == "text")
            once(text, "there are two `text`");
        else if (name == "mode")
            once(mode, "there are two `mode`");
        else
            json_skip(&json);
    }
    if (json_end(&json) && !(text && mode))
        json_wrong(&json, text ? "`mode` is missing" : "`text` is missing");
    if (json.problem != nullptr)
        return std::nullopt;
    return Input{*text, *mode};
}

std::string_view apply(const Input &input)
{
    if (input.mode == "reverse")
        return reverse(input.text);
    if (input.mode == "uppercase")
        return map<Upper>(input.text);
    if (input.mode == "lowercase")
        return map<Lower>(input.text);
    if (input.mode == "rot13")
        return map<Rot13>(input.text);
    return input.text;
}

/// The last answer, which the host reads before it calls again.
json_out answer;

} // namespace

extern "C" {

__attribute__((export_name("transform"))) const char *transform(const char *bytes, std::size_t length)
{
    auto json = json_over(bytes, length);
    answer.length = 0;
    if (const auto input = read(json)) {
        const std::string_view result = apply(*input);
        json_reserve(&answer, result.size() + 96);
        json_put(&answer, "{\"result\":");
        json_add_string(&answer, {result.data(), result.size()});
        json_put(&answer, ",\"length\":");
        json_add_number(&answer, result.size());
        json_put(&answer, ",\"hash\":");
        json_add_number(&answer, hash(result));
        json_put(&answer, "}");
    } else {
        json_add_problem(&answer, &json);
    }
    return answer.bytes;
}

__attribute__((export_name("transform_len"))) std::size_t transform_len()
{
    return answer.length;
}
}
