/* A function from JSON to JSON: `greet`.
 *
 * It is called with the address and the length of JSON in memory that the host took from malloc,
 * and gives the address of JSON that ends with a NUL. */

#include "cortex-json.h"
/* The plugin's malloc, for memory that is fresh at every call. */
#include "cortex-malloc.h"

static void read_person(struct json *json, struct json_text *name)
{
    struct json_text key;
    json_enter(json, '{');
    while (json_key(json, &key)) {
        if (json_is(key, "name"))
            json_string(json, name);
        else
            json_skip(json);
    }
    if (json_end(json) && name->bytes == NULL)
        json_wrong(json, "`name` is missing");
    if (json->problem == NULL && name->length == 0)
        json_wrong(json, "`name` is empty");
}

__attribute__((export_name("greet"))) const char *greet(const char *input, size_t length)
{
    /* The instance ends with the call, so nothing here is freed. */
    struct json json = json_over(input, length);
    struct json_text name = {0};
    struct json_out out = {0};
    read_person(&json, &name);
    if (json.problem != NULL) {
        json_add_problem(&out, &json);
    } else {
        struct json_out greeting = {0};
        json_put(&greeting, "Hello, ");
        json_add(&greeting, name.bytes, name.length);
        json_put(&greeting, "!");
        json_put(&out, "{\"greeting\":");
        json_add_string(&out, (struct json_text){greeting.bytes, greeting.length});
        json_put(&out, "}");
    }
    json_add(&out, "", 1);
    return out.bytes;
}
