/* An allocator for plugins that get fresh memory for every call: include it in one file, and it is the
 * plugin's malloc.
 *
 * The C library's grows the memory at its first call, and an instance whose memory grew is dearer to make
 * fresh again than all that a short call does. This one begins with what is left of the memory that the module
 * has from the start, and takes one block behind the other; only the last one is given back or grows where
 * it is. That is what a plugin needs that ends with its call; one that is called again and again in the same
 * memory wants another. */

#ifndef CORTEX_MALLOC_H
#define CORTEX_MALLOC_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CORTEX_PAGE ((size_t)65536)
#define CORTEX_ALIGN ((size_t)16)

/* Where the module's own data ends: the linker says. */
extern unsigned char __heap_base;

/* Before each block, as many bytes as blocks are aligned to: how long it is. */
struct cortex_block {
    size_t size;
    unsigned char rest[CORTEX_ALIGN - sizeof(size_t)];
};

static uintptr_t cortex_next, cortex_end;

static inline uintptr_t cortex_aligned(uintptr_t at)
{
    return (at + CORTEX_ALIGN - 1) & ~(uintptr_t)(CORTEX_ALIGN - 1);
}

/* Room for so many bytes from `cortex_next` on; 0 when there is none. */
static int cortex_room(size_t wanted)
{
    if (cortex_end == 0) {
        cortex_next = cortex_aligned((uintptr_t)&__heap_base);
        cortex_end = __builtin_wasm_memory_size(0) * CORTEX_PAGE;
    }
    if (wanted <= cortex_end - cortex_next)
        return 1;
    size_t missing = wanted - (cortex_end - cortex_next);
    size_t pages = missing / CORTEX_PAGE + 1, before = __builtin_wasm_memory_grow(0, pages);
    if (before == (size_t)-1)
        return 0;
    if (before * CORTEX_PAGE != cortex_end) {
        /* Somebody else has the pages between. */
        cortex_next = cortex_end = before * CORTEX_PAGE;
        cortex_end += pages * CORTEX_PAGE;
        return wanted <= cortex_end - cortex_next || cortex_room(wanted);
    }
    cortex_end += pages * CORTEX_PAGE;
    return 1;
}

static inline struct cortex_block *cortex_block(void *memory)
{
    return (struct cortex_block *)memory - 1;
}

static inline int cortex_is_last(void *memory)
{
    return (uintptr_t)memory + cortex_block(memory)->size == cortex_next;
}

void *malloc(size_t size)
{
    size_t whole = cortex_aligned(size);
    if (whole < size || whole > PTRDIFF_MAX - sizeof(struct cortex_block)
        || !cortex_room(whole + sizeof(struct cortex_block)))
        return NULL;
    struct cortex_block *block = (struct cortex_block *)cortex_next;
    block->size = whole;
    cortex_next += sizeof *block + whole;
    return block + 1;
}

void free(void *memory)
{
    if (memory != NULL && cortex_is_last(memory))
        cortex_next = (uintptr_t)cortex_block(memory);
}

void *calloc(size_t count, size_t size)
{
    size_t whole;
    if (__builtin_mul_overflow(count, size, &whole))
        return NULL;
    void *memory = malloc(whole);
    return memory == NULL ? NULL : memset(memory, 0, whole);
}

void *realloc(void *memory, size_t size)
{
    if (memory == NULL)
        return malloc(size);
    size_t had = cortex_block(memory)->size, whole = cortex_aligned(size);
    if (whole < size || whole > PTRDIFF_MAX)
        return NULL;
    if (whole <= had)
        return memory;
    /* Room may be elsewhere than behind it. */
    if (cortex_is_last(memory) && cortex_room(whole - had) && cortex_is_last(memory)) {
        cortex_next += whole - had;
        cortex_block(memory)->size = whole;
        return memory;
    }
    void *larger = malloc(size);
    return larger == NULL ? NULL : memcpy(larger, memory, had);
}

#ifdef __cplusplus
}
#endif

#endif
