/* CortexPrism's tool ABI, version 1, for plugins in C and C++: what the host imports into a plugin,
 * what a plugin exports to it, and a few helpers.
 *
 * Texts go in as a pointer and a length and need no NUL; the host reads at most 65,536 bytes of
 * each, up to its first NUL. Texts come out into a buffer of the plugin's: the word at `out_length`
 * is how many bytes fit when the host is called (0 stands for 65,536) and how many were written
 * when it returns. What does not fit is cut off.
 *
 * A function that gives an `int32_t` gives 0 for success and anything else for failure. */

#ifndef WASM_PLUGIN_H
#define WASM_PLUGIN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PLUGIN_ABI_VERSION 1

/* Bytes of a text that the host reads, and of the longest that it writes. */
#define PLUGIN_TEXT 65536

#define PLUGIN_IMPORT(name) __attribute__((import_module("env"), import_name(#name)))
#define PLUGIN_EXPORT(name) __attribute__((export_name(#name)))

/* ---- what the host offers ---------------------------------------------------------------- */

/* The version of this ABI that the host speaks. */
PLUGIN_IMPORT(host_get_abi_version) int32_t host_get_abi_version(void);

/* `size` bytes of the host's, 8-aligned and never taken back; NULL where there are none. A plugin
 * that has a malloc of its own needs none of these two. */
PLUGIN_IMPORT(host_alloc) void *host_alloc(int32_t size);
PLUGIN_IMPORT(host_free) void host_free(void *memory);

/* A line for the host's log. */
PLUGIN_IMPORT(host_log) void host_log(const char *message, size_t length);

/* A setting of the plugin; fails where there is none. */
PLUGIN_IMPORT(host_get_config)
int32_t host_get_config(const char *key, size_t key_length, char *out, uint32_t *out_length);

/* What the plugin keeps, by key; getting fails where nothing was set. */
PLUGIN_IMPORT(host_set_state)
void host_set_state(const char *key, size_t key_length, const char *value, size_t value_length);
PLUGIN_IMPORT(host_get_state)
int32_t host_get_state(const char *key, size_t key_length, char *out, uint32_t *out_length);

/* A request, with headers as a JSON object of texts or empty. Fails where no response came; then
 * the body says why, and the status is 403 for what was not allowed, 408 for what took too long. */
PLUGIN_IMPORT(host_http_request)
int32_t host_http_request(const char *method, size_t method_length, const char *url, size_t url_length,
                          const char *body, size_t body_length, const char *headers, size_t headers_length,
                          int32_t *out_status, char *out_body, uint32_t *out_body_length);

/* Milliseconds since 1970. */
PLUGIN_IMPORT(host_get_time_ms) int64_t host_get_time_ms(void);

/* `length` random bytes, at most 65,536. */
PLUGIN_IMPORT(host_random) void host_random(void *out, size_t length);

/* ---- what a plugin defines --------------------------------------------------------------- */

/* PLUGIN_ABI_VERSION. */
PLUGIN_EXPORT(plugin_get_abi_version) int32_t plugin_get_abi_version(void);

/* Before anything else, and after everything. */
PLUGIN_EXPORT(plugin_init) void plugin_init(void);
PLUGIN_EXPORT(plugin_destroy) void plugin_destroy(void);

/* Writes what tools there are:
 * {"abi_version":1,"tools":[{"name","description","params":[{"name","type","description","required"}]}]}
 * where a type is string, number, boolean, object or array. */
PLUGIN_EXPORT(plugin_get_capabilities) int32_t plugin_get_capabilities(char *out, uint32_t *out_length);

/* Runs a tool with its arguments, a JSON object, and writes what it gives, or why it failed. */
PLUGIN_EXPORT(plugin_execute_tool)
int32_t plugin_execute_tool(const char *name, size_t name_length, const char *args, size_t args_length, char *out,
                            uint32_t *out_length);

/* ---- helpers ----------------------------------------------------------------------------- */

/* Writes a text into the host's buffer. Fails where it does not fit, and then says so there. */
static inline int32_t plugin_give(const char *text, size_t length, char *out, uint32_t *out_length)
{
    static const char TOO_LONG[] = "the answer is longer than the host's buffer";
    size_t room = *out_length == 0 ? PLUGIN_TEXT : *out_length;
    int32_t failed = length > room;
    if (failed) {
        text = TOO_LONG;
        length = sizeof TOO_LONG - 1 < room ? sizeof TOO_LONG - 1 : room;
    }
    memcpy(out, text, length);
    *out_length = (uint32_t)length;
    return failed;
}

/* Writes why a tool failed, as much of it as fits. */
static inline int32_t plugin_fail(const char *reason, size_t length, char *out, uint32_t *out_length)
{
    size_t room = *out_length == 0 ? PLUGIN_TEXT : *out_length;
    plugin_give(reason, length < room ? length : room, out, out_length);
    return 1;
}

static inline void plugin_log(const char *message)
{
    host_log(message, strlen(message));
}

#ifdef __cplusplus
}
#endif

#endif
