/* A component in C, without generated bindings: functions as the canonical ABI lowers them.
 *
 * A text comes as a pointer and a length, and is ours to free. What is larger than a number is
 * answered by a pointer to it, and is freed once it has been read, by a function beside it. `airlock
 * build` makes the component, of what is built and of `wit/`.
 */

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT(name) __attribute__((export_name("airlock:words/text@0.1.0#" name)))
#define AFTER(name) __attribute__((export_name("cabi_post_airlock:words/text@0.1.0#" name)))

struct text {
    char *bytes;
    size_t length;
};

struct entry {
    struct text word;
    uint32_t times;
};

struct entries {
    struct entry *all;
    size_t count;
};

/* An `option<string>`: whether there is one; a `result<string, string>`: whether it is the `err`. */
struct tagged {
    uint8_t tag;
    struct text text;
};

enum order { BY_WORD, BY_TIMES };

/* Memory that cannot be had ends the call. */
static void *must(void *memory)
{
    if (memory == NULL)
        __builtin_trap();
    return memory;
}

/* What the host has room in for what it hands over. */
__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_size, size_t align,
                                                               size_t size)
{
    (void)old_size;
    /* No memory is no null: its place has to be aligned. */
    return size == 0 ? (void *)align : must(realloc(old, size));
}

static struct text copy(const char *bytes, size_t length)
{
    struct text text = {must(malloc(length + 1)), length};
    memcpy(text.bytes, bytes, length);
    return text;
}

/* A text that was handed over, read. One that is empty has no memory. */
static void is_read(const struct text *text)
{
    if (text->length > 0)
        free(text->bytes);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n';
}

/* The next word from `at` on, which it is moved behind. Whether there is one. */
static bool next_word(const struct text *of, size_t *at, struct text *word)
{
    while (*at < of->length && is_blank(of->bytes[*at]))
        ++*at;
    word->bytes = of->bytes + *at;
    while (*at < of->length && !is_blank(of->bytes[*at]))
        ++*at;
    word->length = (size_t)(of->bytes + *at - word->bytes);
    return word->length > 0;
}

static int compare_texts(const struct text *one, const struct text *other)
{
    size_t shorter = one->length < other->length ? one->length : other->length;
    int found = memcmp(one->bytes, other->bytes, shorter);
    return found != 0 ? found : (one->length > other->length) - (one->length < other->length);
}

static int by_word(const void *one, const void *other)
{
    return compare_texts(&((const struct entry *)one)->word, &((const struct entry *)other)->word);
}

static int by_times(const void *one, const void *other)
{
    uint32_t first = ((const struct entry *)one)->times, second = ((const struct entry *)other)->times;
    return first == second ? by_word(one, other) : (first < second) - (first > second);
}

EXPORT("count") struct entries *count(char *bytes, size_t length, int32_t order)
{
    struct text given = {bytes, length}, word;
    struct entries *entries = must(calloc(1, sizeof *entries));
    size_t at = 0, kept = 0;

    while (next_word(&given, &at, &word)) {
        entries->all = must(realloc(entries->all, (entries->count + 1) * sizeof *entries->all));
        entries->all[entries->count++] = (struct entry){copy(word.bytes, word.length), 1};
    }
    is_read(&given);
    if (entries->count == 0) {
        entries->all = must(malloc(sizeof *entries->all));
        return entries;
    }
    qsort(entries->all, entries->count, sizeof *entries->all, by_word);
    for (size_t i = 1; i < entries->count; i++) {
        struct entry *last = &entries->all[kept], *here = &entries->all[i];
        if (compare_texts(&last->word, &here->word) == 0) {
            last->times++;
            free(here->word.bytes);
        } else {
            entries->all[++kept] = *here;
        }
    }
    entries->count = kept + 1;
    if (order == BY_TIMES)
        qsort(entries->all, entries->count, sizeof *entries->all, by_times);
    return entries;
}

AFTER("count") void count_is_read(struct entries *entries)
{
    for (size_t i = 0; i < entries->count; i++)
        free(entries->all[i].word.bytes);
    free(entries->all);
    free(entries);
}

EXPORT("longest") struct tagged *longest(char *bytes, size_t length)
{
    struct text given = {bytes, length}, word, found = {NULL, 0};
    struct tagged *answer = must(calloc(1, sizeof *answer));

    for (size_t at = 0; next_word(&given, &at, &word);) {
        if (word.length > found.length)
            found = word;
    }
    if (found.length > 0) {
        answer->tag = 1;
        answer->text = copy(found.bytes, found.length);
    }
    is_read(&given);
    return answer;
}

EXPORT("shout") struct tagged *shout(char *bytes, size_t length)
{
    static const char EMPTY[] = "it is empty";
    struct text given = {bytes, length};
    struct tagged *answer = must(calloc(1, sizeof *answer));

    answer->tag = length == 0;
    answer->text = length == 0 ? copy(EMPTY, sizeof EMPTY - 1) : copy(bytes, length);
    for (size_t i = 0; i < length; i++)
        answer->text.bytes[i] = (char)toupper((unsigned char)answer->text.bytes[i]);
    is_read(&given);
    return answer;
}

AFTER("longest") void longest_is_read(struct tagged *answer)
{
    free(answer->text.bytes);
    free(answer);
}

AFTER("shout") void shout_is_read(struct tagged *answer)
{
    longest_is_read(answer);
}
