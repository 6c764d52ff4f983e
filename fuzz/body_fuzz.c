/* Request bodies through the gateway's scanner, which must agree with the JSON parser. */
#include "base/json.h"
#include "gateway/scan.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The scanner is looser than the parser in what needs a tree or a table to check: duplicate keys,
 * UTF-8, the range of numbers, NUL in a string. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct scan_body b = {.model = "untouched"};
    struct err err = {0};
    int rc = scan_body((const char *)data, size, &b, &err);
    json_auto_t *doc = json_parse((const char *)data, size, NULL);
    if (rc) {
        assert(err.code == ERR_INVALID || err.code == ERR_LIMIT);
        assert(err.msg[0] && strcmp(b.model, "untouched") == 0);
        const json_t *m = json_object_get(doc, "model");
        size_t n = json_string_length(m);
        /* What both could read is refused only for a model that is none. */
        assert(!json_is_object(doc) || (m && (!json_is_string(m) || n >= SCAN_MAX_MODEL)));
        return 0;
    }
    assert(strlen(b.model) < SCAN_MAX_MODEL);
    if (!doc)
        return 0;
    const char *model = json_string_value(json_object_get(doc, "model"));
    assert(json_is_object(doc) && strcmp(b.model, model ? model : "") == 0);
    assert(b.stream == json_is_true(json_object_get(doc, "stream")));
    return 0;
}
