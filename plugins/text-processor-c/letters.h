/* Upper and lower case of the letters of Europe beyond ASCII: Latin with its accents, Greek and Cyrillic, for
 * each character one. What needs several (`ß` is `SS`) or its neighbours stays as it is. */

#ifndef LETTERS_H
#define LETTERS_H

#include <stddef.h>
#include <stdint.h>

/* Capital letters from `first` to `last`, all of them or every second one; the small letter of
 * each is `apart` further on. */
struct letters {
    uint16_t first, last, step;
    int16_t apart;
};

static const struct letters LETTERS[] = {
    {0xc0, 0xd6, 1, 32},
    {0xd8, 0xde, 1, 32},
    {0x100, 0x12e, 2, 1},
    {0x132, 0x136, 2, 1},
    {0x139, 0x147, 2, 1},
    {0x14a, 0x176, 2, 1},
    {0x178, 0x178, 1, -121},
    {0x179, 0x17d, 2, 1},
    {0x386, 0x386, 1, 38},
    {0x388, 0x38a, 1, 37},
    {0x38c, 0x38c, 1, 64},
    {0x38e, 0x38f, 1, 63},
    {0x391, 0x3a1, 1, 32},
    {0x3a3, 0x3ab, 1, 32},
    {0x400, 0x40f, 1, 80},
    {0x410, 0x42f, 1, 32},
    {0x460, 0x480, 2, 1},
    {0x48a, 0x4be, 2, 1},
    {0x4c0, 0x4c0, 1, 15},
    {0x4c1, 0x4cd, 2, 1},
    {0x4d0, 0x52e, 2, 1},
    {0x1e00, 0x1e94, 2, 1},
    {0x1ea0, 0x1efe, 2, 1},
};

static inline uint32_t letter_lower(uint32_t code)
{
    for (size_t i = 0; i < sizeof LETTERS / sizeof *LETTERS && code >= LETTERS[i].first; i++) {
        if (code <= LETTERS[i].last && ((code - LETTERS[i].first) & (LETTERS[i].step - 1u)) == 0)
            return code + (uint32_t)LETTERS[i].apart;
    }
    /* A capital whose small letter is not its own. */
    return code == 0x1e9e ? 0xdf : code;
}

static inline uint32_t letter_upper(uint32_t code)
{
    for (size_t i = 0; i < sizeof LETTERS / sizeof *LETTERS; i++) {
        uint32_t capital = code - (uint32_t)LETTERS[i].apart;
        if (capital >= LETTERS[i].first && capital <= LETTERS[i].last &&
            ((capital - LETTERS[i].first) & (LETTERS[i].step - 1u)) == 0)
            return capital;
    }
    /* Small letters that are a second one of their capital. */
    switch (code) {
    case 0xb5: return 0x39c;
    case 0x131: return 'I';
    case 0x17f: return 'S';
    case 0x3c2: return 0x3a3;
    case 0x1e9b: return 0x1e60;
    default: return code;
    }
}

#endif
