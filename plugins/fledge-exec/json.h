/* The little of JSON that a plugin needs: finding a value, reading a text, writing one. */

#ifndef JSON_H
#define JSON_H

#include <stddef.h>

/* Bytes that grow. They may hold NUL, so their length counts; one more NUL follows them. All
 * zeros is an empty one. */
struct text {
    char *bytes;
    size_t length;
    size_t room;
};

/* Makes room for this many more bytes and the NUL. Where there is no memory the program ends. */
void text_reserve(struct text *text, size_t more);

void text_add(struct text *text, const char *bytes, size_t length);

void text_add_string(struct text *text, const char *string);

/* Adds bytes as they are written between the quotes of a text in JSON. */
void text_add_escaped(struct text *text, const char *bytes, size_t length);

/* Where the value of a key of the outermost object begins, or NULL. */
const char *json_value(const char *json, const char *key);

/* Where the first element of the array at `at` begins, or NULL where there is none. */
const char *json_first(const char *at);

/* Where the element after the text that ends before `at` begins, or NULL where it was the
 * last. */
const char *json_next(const char *at);

/* Reads the text at `at`, its escapes undone, and adds it to `text`. Returns what follows it,
 * or NULL where no whole text is there. */
const char *json_text(const char *at, struct text *text);

#endif
