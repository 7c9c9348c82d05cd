/* Transforms text: CortexPrism's example plugin in C, one capability named `transform`.
 *
 * Input is JSON at (pointer, length), the answer a pointer to JSON that ends with a NUL. The host
 * takes memory for the input from malloc, which the manifest names (it calls that `wasi`). */

#include "cortex-json.h"
#include "cortex-malloc.h"
#include "letters.h"

/* Eight bytes, all of them ASCII, to eight. */
typedef uint64_t word_step(uint64_t word);

/* The high bit of each byte that is from `first` to `last`, where all are ASCII. */
static inline uint64_t between(uint64_t word, unsigned char first, unsigned char last)
{
    uint64_t from = word + JSON_ONES * (0x80u - first), past = word + JSON_ONES * (0x7fu - last);
    return (from & ~past) & JSON_HIGH;
}

static inline uint64_t upper_word(uint64_t word)
{
    return word ^ between(word, 'a', 'z') >> 2;
}

static inline uint64_t lower_word(uint64_t word)
{
    return word ^ between(word, 'A', 'Z') >> 2;
}

static inline uint64_t rot13_word(uint64_t word)
{
    uint64_t small = word | JSON_ONES * 0x20;
    return word + (between(small, 'a', 'm') >> 7) * 13 - (between(small, 'n', 'z') >> 7) * 13;
}

static inline uint32_t same(uint32_t code)
{
    return code;
}

/* Each character by itself into `out`, ASCII by `word` and the others by `letter`; none becomes
 * longer. Inlined into each mode, so that those are no calls. */
__attribute__((always_inline)) static inline size_t
map(struct json_text text, char *out, word_step *word, uint32_t (*letter)(uint32_t))
{
    const char *at = text.bytes, *end = at + text.length;
    char *to = out;
    while (at < end) {
        for (; end - at >= 8; at += 8, to += 8) {
            uint64_t bytes = json_word(at);
            if ((bytes & JSON_HIGH) != 0)
                break;
            bytes = word(bytes);
            memcpy(to, &bytes, sizeof bytes);
        }
        if (at == end)
            break;
        if ((unsigned char)*at < 0x80) {
            *to++ = (char)word((unsigned char)*at++);
            continue;
        }
        uint32_t code;
        size_t length = utf8_read(at, end, &code);
        if (length == 0)
            break;
        at += length;
        to += utf8_write(letter(code), to);
    }
    return (size_t)(to - out);
}

/* The characters from the last to the first, each with its bytes as they are. */
static size_t reverse(struct json_text text, char *out)
{
    const char *at = text.bytes, *end = at + text.length;
    char *to = out + text.length;
    while (at < end) {
        for (; end - at >= 8; at += 8) {
            uint64_t bytes = json_word(at);
            if ((bytes & JSON_HIGH) != 0)
                break;
            bytes = __builtin_bswap64(bytes);
            memcpy(to -= 8, &bytes, sizeof bytes);
        }
        uint32_t code;
        size_t length = utf8_read(at, end, &code);
        if (length == 0)
            break;
        to -= length;
        for (size_t i = 0; i < length; i++)
            to[i] = at[i];
        at += length;
    }
    return text.length;
}

/* The document's hash, `sum * 31 + byte` modulo 2^64. Eight bytes at a time wait for the sum
 * before them once and not eight times. */
static uint64_t hash(struct json_text text)
{
    const unsigned char *at = (const unsigned char *)text.bytes, *end = at + text.length;
    const uint64_t two = 31 * 31, four = two * two, eight = four * four;
    uint64_t sum = 0;
    for (; end - at >= 8; at += 8) {
        uint64_t first = (at[0] * 31u + at[1]) * two + (at[2] * 31u + at[3]);
        uint64_t second = (at[4] * 31u + at[5]) * two + (at[6] * 31u + at[7]);
        sum = sum * eight + first * four + second;
    }
    for (; at < end; at++)
        sum = sum * 31 + *at;
    return sum;
}

static struct json_text apply(struct json_text text, struct json_text mode)
{
    char *out = (char *)malloc(text.length + 1);
    if (out == NULL)
        abort();
    struct json_text result = {out, 0};
    if (json_is(mode, "reverse"))
        result.length = reverse(text, out);
    else if (json_is(mode, "uppercase"))
        result.length = map(text, out, upper_word, letter_upper);
    else if (json_is(mode, "lowercase"))
        result.length = map(text, out, lower_word, letter_lower);
    else if (json_is(mode, "rot13"))
        result.length = map(text, out, rot13_word, same);
    else
        return text;
    return result;
}

/* Reads a field that is there once. */
static void read_once(struct json *json, struct json_text *field, const char *twice)
{
    if (field->bytes != NULL)
        json_wrong(json, twice);
    json_string(json, field);
}

static void read_input(struct json *json, struct json_text *text, struct json_text *mode)
{
    struct json_text key;
    json_enter(json, '{');
    while (json_key(json, &key)) {
        if (json_is(key, "text"))
            read_once(json, text, "there are two `text`");
        else if (json_is(key, "mode"))
            read_once(json, mode, "there are two `mode`");
        else
            json_skip(json);
    }
    if (json_end(json) && (text->bytes == NULL || mode->bytes == NULL))
        json_wrong(json, text->bytes == NULL ? "`text` is missing" : "`mode` is missing");
}

__attribute__((export_name("transform"))) const char *transform(const char *input, size_t length)
{
    /* The instance ends with the call, so nothing here is freed. */
    struct json json = json_over(input, length);
    struct json_text text = {0}, mode = {0};
    struct json_out out = {0};
    read_input(&json, &text, &mode);
    if (json.problem != NULL) {
        json_add_problem(&out, &json);
    } else {
        struct json_text result = apply(text, mode);
        json_reserve(&out, result.length + 96);
        json_put(&out, "{\"result\":");
        json_add_string(&out, result);
        json_put(&out, ",\"length\":");
        json_add_number(&out, result.length);
        json_put(&out, ",\"hash\":");
        json_add_number(&out, hash(result));
        json_put(&out, "}");
    }
    json_add(&out, "", 1);
    return out.bytes;
}
