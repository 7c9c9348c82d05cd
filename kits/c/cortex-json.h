/* The JSON that plugins in C and C++ read and write, whole and in one header.
 *
 * Reading is a walk over the text: enter an object, take its keys one after the other, read or
 * skip each value. The first thing that is wrong stays in `problem`, and from then on every
 * function says false, so that it is enough to look once at the end:
 *
 *     struct json json = json_over(bytes, length);
 *     struct json_text key, name = {0};
 *     json_enter(&json, '{');
 *     while (json_key(&json, &key)) {
 *         if (json_is(key, "name"))
 *             json_string(&json, &name);
 *         else
 *             json_skip(&json);
 *     }
 *     if (!json_end(&json))
 *         ... json.problem, at byte json.at - json.start ...
 *
 * What is read as JSON is JSON: numbers, escapes, pairs of surrogates and UTF-8 are checked, and
 * nothing may follow the value. Nesting ends at JSON_DEPTH levels. */

#ifndef CORTEX_JSON_H
#define CORTEX_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Levels of arrays and objects within each other. */
#define JSON_DEPTH 128

/* Bytes of UTF-8 that may hold NUL, and are owned by somebody else. */
struct json_text {
    const char *bytes;
    size_t length;
};

/* A place in a JSON text. */
struct json {
    const char *start, *at, *end;
    /* What is wrong at `at`; NULL while nothing is. */
    const char *problem;
    /* Whether the next element of an object or array is its first. */
    bool first;
};

/* Bytes that grow. All zeros is an empty one. */
struct json_out {
    char *bytes;
    size_t length, room;
};

/* ---- words: eight bytes at a time -------------------------------------------------------- */

#define JSON_ONES UINT64_C(0x0101010101010101)
#define JSON_HIGH UINT64_C(0x8080808080808080)

static inline uint64_t json_word(const char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/* The high bit of each byte that is zero, if one is; bytes above it may have theirs too. */
static inline uint64_t json_zeros(uint64_t word)
{
    return (word - JSON_ONES) & ~word & JSON_HIGH;
}

/* The high bit of some byte, where one is a quote, a backslash or a control character. */
static inline uint64_t json_special(uint64_t word)
{
    return json_zeros(word ^ (JSON_ONES * '"')) | json_zeros(word ^ (JSON_ONES * '\\')) |
           ((word - JSON_ONES * 0x20) & ~word & JSON_HIGH);
}

/* ---- UTF-8 ------------------------------------------------------------------------------- */

/* Reads the character at `at`: how many bytes it has, 0 where none is. */
static inline size_t utf8_read(const char *at, const char *end, uint32_t *code)
{
    const unsigned char *bytes = (const unsigned char *)at;
    size_t left = (size_t)(end - at);
    if (left == 0)
        return 0;
    uint32_t first = bytes[0];
    size_t length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
    if (length == 0 || length > left)
        return 0;
    uint32_t value = length == 1 ? first : first & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (bytes[i] & 0x3fu);
    }
    /* Not in fewer bytes, no half of a pair, nothing beyond the last character. */
    if ((length == 3 && (value < 0x800 || (value >= 0xd800 && value < 0xe000))) ||
        (length == 4 && (value < 0x10000 || value > 0x10ffff)))
        return 0;
    *code = value;
    return length;
}

/* Writes a character and returns how many bytes it has. */
static inline size_t utf8_write(uint32_t code, char *at)
{
    if (code < 0x80) {
        at[0] = (char)code;
        return 1;
    }
    size_t length = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    /* The last bytes carry six bits each, the first one what is left and the length. */
    for (size_t i = length - 1; i > 0; i--, code >>= 6)
        at[i] = (char)(0x80 | (code & 0x3f));
    at[0] = (char)((0xf00u >> length) | code);
    return length;
}

/* ---- reading ----------------------------------------------------------------------------- */

static inline struct json json_over(const char *bytes, size_t length)
{
    struct json json = {bytes, bytes, bytes + length, NULL, false};
    return json;
}

static inline bool json_wrong(struct json *json, const char *problem)
{
    if (json->problem == NULL)
        json->problem = problem;
    return false;
}

static inline bool json_is(struct json_text text, const char *string)
{
    return text.length == strlen(string) && memcmp(text.bytes, string, text.length) == 0;
}

/* The byte that comes next, blanks aside; 0 at the end, which no JSON has there. */
static inline char json_peek(struct json *json)
{
    while (json->at < json->end &&
           (*json->at == ' ' || *json->at == '\t' || *json->at == '\n' || *json->at == '\r'))
        json->at++;
    return json->at < json->end ? *json->at : '\0';
}

/* Enters an object ('{') or an array ('['). */
static inline bool json_enter(struct json *json, char bracket)
{
    if (json->problem != NULL)
        return false;
    if (json_peek(json) != bracket)
        return json_wrong(json, bracket == '{' ? "expected an object" : "expected an array");
    json->at++;
    json->first = true;
    return true;
}

/* Whether another element follows; false at the bracket that closes, which is passed. */
static inline bool json_more(struct json *json, char bracket)
{
    if (json->problem != NULL)
        return false;
    char next = json_peek(json);
    if (next == bracket) {
        json->at++;
        json->first = false;
        return false;
    }
    if (!json->first) {
        if (next != ',')
            return json_wrong(json, bracket == '}' ? "expected `,` or `}`" : "expected `,` or `]`");
        json->at++;
    }
    json->first = false;
    return true;
}

/* The four digits of an escape at `at`, or -1. */
static inline int32_t json_hex(const char *at, const char *end)
{
    int32_t value = 0;
    if (end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char digit = at[i], letter = (char)(digit | 0x20);
        if (digit >= '0' && digit <= '9')
            value = value * 16 + (digit - '0');
        else if (letter >= 'a' && letter <= 'f')
            value = value * 16 + (letter - 'a' + 10);
        else
            return -1;
    }
    return value;
}

/* Reads the escape at `json->at` into at most four bytes at `out`: how many, 0 where it is wrong. */
static inline size_t json_escape(struct json *json, char *out)
{
    char kind = json->end - json->at > 1 ? json->at[1] : '\0';
    if (kind != 'u') {
        switch (kind) {
        case '"':
        case '\\':
        case '/': *out = kind; break;
        case 'b': *out = '\b'; break;
        case 'f': *out = '\f'; break;
        case 'n': *out = '\n'; break;
        case 'r': *out = '\r'; break;
        case 't': *out = '\t'; break;
        default: return json_wrong(json, "there is no such escape");
        }
        json->at += 2;
        return 1;
    }
    int32_t code = json_hex(json->at + 2, json->end);
    if (code < 0)
        return json_wrong(json, "expected four digits after \\u");
    size_t length = 6;
    if (code >= 0xd800 && code < 0xe000) {
        /* Beyond the first 65536 characters two escapes stand for one. */
        const char *second = json->at + 6;
        bool paired = code < 0xdc00 && json->end - second >= 6 && second[0] == '\\' && second[1] == 'u';
        int32_t low = paired ? json_hex(second + 2, json->end) : -1;
        if (low < 0xdc00 || low >= 0xe000)
            return json_wrong(json, "half a pair of surrogates is no character");
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        length = 12;
    }
    json->at += length;
    return utf8_write((uint32_t)code, out);
}

/* Passes the characters of a text up to its quote or its next backslash, and copies them to
 * `*to` where that is not NULL. */
__attribute__((always_inline)) static inline bool json_pass(struct json *json, char **to)
{
    const char *at = json->at, *end = json->end;
    char *out = to != NULL ? *to : NULL;
    const char *problem = NULL;
    for (;;) {
        for (; end - at >= 8; at += 8) {
            uint64_t word = json_word(at);
            if ((json_special(word) | (word & JSON_HIGH)) != 0)
                break;
            if (to != NULL) {
                memcpy(out, &word, sizeof word);
                out += 8;
            }
        }
        unsigned char byte = at < end ? (unsigned char)*at : 0;
        uint32_t code;
        size_t length = byte < 0x80 ? 1 : utf8_read(at, end, &code);
        if (byte == '"' || byte == '\\')
            break;
        if (byte < 0x20 || length == 0) {
            problem = at == end      ? "the text has no end"
                      : byte < 0x20  ? "a control character in a text must be escaped"
                                     : "it is not UTF-8";
            break;
        }
        for (; length > 0; length--, at++) {
            if (to != NULL)
                *out++ = *at;
        }
    }
    json->at = at;
    if (to != NULL)
        *to = out;
    return problem == NULL || json_wrong(json, problem);
}

/* Reads a text. Where it has no escapes it is the input's own bytes, else memory of malloc's
 * that is as long as the text is in the input and stays until the instance ends or somebody
 * frees it. */
static inline bool json_string(struct json *json, struct json_text *text)
{
    if (json->problem != NULL)
        return false;
    if (json_peek(json) != '"')
        return json_wrong(json, "expected a text");
    const char *from = ++json->at;
    if (!json_pass(json, NULL))
        return false;
    text->bytes = from;
    text->length = (size_t)(json->at - from);
    if (*json->at == '"') {
        json->at++;
        return true;
    }
    /* It ends at the first quote that no backslash is before. */
    const char *end = json->at;
    while (end < json->end && *end != '"')
        end += *end == '\\' && json->end - end > 1 ? 2 : 1;
    char *bytes = (char *)malloc((size_t)(end - from) + 1), *to = bytes;
    if (bytes == NULL)
        return json_wrong(json, "no memory");
    json->at = from;
    bool right = json_pass(json, &to);
    while (right && *json->at != '"') {
        size_t written = json_escape(json, to);
        to += written;
        right = written > 0 && json_pass(json, &to);
    }
    if (!right) {
        free(bytes);
        return false;
    }
    json->at++;
    text->bytes = bytes;
    text->length = (size_t)(to - bytes);
    return true;
}

/* The next key of an object that was entered; false when there is none. Its value must be read
 * or skipped before the next. */
static inline bool json_key(struct json *json, struct json_text *key)
{
    if (!json_more(json, '}') || !json_string(json, key))
        return false;
    if (json_peek(json) != ':')
        return json_wrong(json, "expected `:`");
    json->at++;
    return true;
}

/* Whether there is another element of an array that was entered, which must be read or skipped. */
static inline bool json_element(struct json *json)
{
    return json_more(json, ']');
}

/* ---- skipping: on a pointer of its own, which stays in a register ------------------------- */

static inline const char *json_blanks(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
        at++;
    return at;
}

/* Whether something is wrong at `at`. */
static inline bool json_wrong_at(struct json *json, const char *at, const char *problem)
{
    json->at = at;
    return json_wrong(json, problem);
}

/* How many digits there are, which are passed. */
static inline size_t json_digits(const char **at, const char *end)
{
    const char *from = *at;
    while (*at < end && **at >= '0' && **at <= '9')
        ++*at;
    return (size_t)(*at - from);
}

static inline bool json_number(const char **at, const char *end)
{
    *at += **at == '-';
    const char *from = *at;
    size_t digits = json_digits(at, end);
    if (digits == 0 || (digits > 1 && *from == '0'))
        return false;
    if (*at < end && **at == '.') {
        ++*at;
        if (json_digits(at, end) == 0)
            return false;
    }
    if (*at < end && (**at | 0x20) == 'e') {
        ++*at;
        if (*at < end && (**at == '+' || **at == '-'))
            ++*at;
        if (json_digits(at, end) == 0)
            return false;
    }
    return true;
}

/* The rest of a text, of which something was passed already. */
static inline bool json_rest_of_text(struct json *json)
{
    char escaped[4];
    while (json_pass(json, NULL)) {
        if (*json->at == '"') {
            json->at++;
            return true;
        }
        if (json_escape(json, escaped) == 0)
            return false;
    }
    return false;
}

/* Passes the text whose quote is at `at`. */
static inline bool json_pass_text(struct json *json, const char **at)
{
    const char *here = *at + 1;
    while (json->end - here >= 8) {
        uint64_t word = json_word(here), found = json_special(word) | (word & JSON_HIGH);
        if (found == 0) {
            here += 8;
            continue;
        }
        here += __builtin_ctzll(found) / 8;
        if (*here == '"') {
            *at = here + 1;
            return true;
        }
        if (*here != '\\' || json->end - here < 2 || here[1] == '\0' || strchr("\"\\/bfnrt", here[1]) == NULL)
            break;
        here += 2;
    }
    /* What is no ASCII, escapes of a number, what is wrong, and the last few bytes. */
    json->at = here;
    bool right = json_rest_of_text(json);
    *at = json->at;
    return right;
}

/* Passes a key with its colon. */
static inline bool json_pass_key(struct json *json, const char **at)
{
    *at = json_blanks(*at, json->end);
    if (*at == json->end || **at != '"')
        return json_wrong_at(json, *at, "expected a text");
    if (!json_pass_text(json, at))
        return false;
    *at = json_blanks(*at, json->end);
    if (*at == json->end || **at != ':')
        return json_wrong_at(json, *at, "expected `:`");
    ++*at;
    return true;
}

/* Passes a value that is no text and has none inside it. */
static inline bool json_scalar(const char **at, const char *end)
{
    size_t left = (size_t)(end - *at);
    if (left >= 4 && (memcmp(*at, "true", 4) == 0 || memcmp(*at, "null", 4) == 0)) {
        *at += 4;
        return true;
    }
    if (left >= 5 && memcmp(*at, "false", 5) == 0) {
        *at += 5;
        return true;
    }
    return json_number(at, end);
}

/* Skips the value that comes next, and checks it. */
static inline bool json_skip(struct json *json)
{
    /* A bit for each level that was entered: 1 for an object. */
    uint64_t objects[JSON_DEPTH / 64] = {0};
    size_t depth = 0;
    const char *at = json->at, *end = json->end;
    if (json->problem != NULL)
        return false;
    for (;;) {
        at = json_blanks(at, end);
        char first = at < end ? *at : '\0';
        if (first == '"') {
            if (!json_pass_text(json, &at))
                return false;
        } else if (first == '{' || first == '[') {
            if (depth == JSON_DEPTH)
                return json_wrong_at(json, at, "nested too deeply");
            uint64_t bit = UINT64_C(1) << depth % 64, *level = &objects[depth / 64];
            *level = first == '{' ? *level | bit : *level & ~bit;
            at = json_blanks(at + 1, end);
            if (at == end || *at != (first == '{' ? '}' : ']')) {
                depth++;
                if (first == '{' && !json_pass_key(json, &at))
                    return false;
                continue;
            }
            at++;
        } else if (first == '\0' || !json_scalar(&at, end)) {
            return json_wrong_at(json, at, "expected a value");
        }
        /* Out of every level that has no more, to the next value of the one that has. */
        for (;; depth--, at++) {
            if (depth == 0) {
                json->at = at;
                json->first = false;
                return true;
            }
            at = json_blanks(at, end);
            char next = at < end ? *at : '\0';
            bool object = (objects[(depth - 1) / 64] >> (depth - 1) % 64 & 1) != 0;
            if (next == (object ? '}' : ']'))
                continue;
            if (next != ',')
                return json_wrong_at(json, at, object ? "expected `,` or `}`" : "expected `,` or `]`");
            at++;
            if (object && !json_pass_key(json, &at))
                return false;
            break;
        }
    }
}

/* The next value as it is written, skipped and checked. */
static inline bool json_raw(struct json *json, struct json_text *value)
{
    json_peek(json);
    value->bytes = json->at;
    if (!json_skip(json))
        return false;
    value->length = (size_t)(json->at - value->bytes);
    return true;
}

/* Whether all was right and nothing is left. */
static inline bool json_end(struct json *json)
{
    json_peek(json);
    if (json->problem == NULL && json->at != json->end)
        json_wrong(json, "something follows the value");
    return json->problem == NULL;
}

/* ---- writing ----------------------------------------------------------------------------- */

/* Makes room for this many more bytes. Where there is no memory the instance ends. */
static inline void json_reserve(struct json_out *out, size_t more)
{
    size_t needed = out->length + more;
    if (needed < more)
        abort();
    if (needed <= out->room)
        return;
    /* Twice as much each time, so that many small additions do not copy it all each time. */
    size_t room = needed / 2 > out->room ? needed : out->room + needed;
    out->bytes = (char *)realloc(out->bytes, room);
    if (out->bytes == NULL)
        abort();
    out->room = room;
}

static inline void json_add(struct json_out *out, const char *bytes, size_t length)
{
    json_reserve(out, length);
    if (length > 0)
        memcpy(out->bytes + out->length, bytes, length);
    out->length += length;
}

static inline void json_put(struct json_out *out, const char *string)
{
    json_add(out, string, strlen(string));
}

/* A number, exactly. */
static inline void json_add_number(struct json_out *out, uint64_t number)
{
    char digits[20], *at = digits + sizeof digits;
    do
        *--at = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    json_add(out, at, (size_t)(digits + sizeof digits - at));
}

/* How the text between quotes has a byte that may not stand there itself. */
static inline size_t json_write_escape(unsigned char byte, char *to)
{
    const char *digits = "0123456789abcdef";
    to[0] = '\\';
    switch (byte) {
    case '"':
    case '\\': to[1] = (char)byte; return 2;
    case '\b': to[1] = 'b'; return 2;
    case '\f': to[1] = 'f'; return 2;
    case '\n': to[1] = 'n'; return 2;
    case '\r': to[1] = 'r'; return 2;
    case '\t': to[1] = 't'; return 2;
    default: to[1] = 'u'; to[2] = '0'; to[3] = '0'; to[4] = digits[byte >> 4]; to[5] = digits[byte & 15]; return 6;
    }
}

/* A text with its quotes, escaped where it must be. */
static inline void json_add_string(struct json_out *out, struct json_text text)
{
    const char *at = text.bytes, *end = at + text.length;
    json_add(out, "\"", 1);
    while (at < end) {
        /* All that is left as it is, one escape, and the quote. */
        json_reserve(out, (size_t)(end - at) + 7);
        char *to = out->bytes + out->length;
        for (; end - at >= 8; at += 8, to += 8) {
            uint64_t word = json_word(at);
            if (json_special(word) != 0)
                break;
            memcpy(to, &word, sizeof word);
        }
        while (at < end) {
            unsigned char byte = (unsigned char)*at++;
            if (byte < 0x20 || byte == '"' || byte == '\\') {
                to += json_write_escape(byte, to);
                break;
            }
            *to++ = (char)byte;
        }
        out->length = (size_t)(to - out->bytes);
    }
    json_add(out, "\"", 1);
}

/* `{"error": "PROBLEM at byte N"}`, which hosts take for a failure, of what was read wrong. */
static inline void json_add_problem(struct json_out *out, const struct json *json)
{
    json_put(out, "{\"error\":\"");
    json_put(out, json->problem);
    json_put(out, " at byte ");
    json_add_number(out, (uint64_t)(json->at - json->start));
    json_put(out, "\"}");
}

#endif
