/* Output of an engine: bytes to clean lines to facts. Whatever comes, lines are valid UTF-8 without
 * control characters, facts are whole, and a fact about a device can be asked for its part. */
#include "base/json.h"
#include "engine/engine.h"
#include "worker/lines.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_fact(const struct engine_driver *d, const struct engine_fact *f)
{
    struct assignment_part parts[2] = {{.node_id = "B"}, {.node_id = "A", .output = true}};
    struct assignment a = {.main_id = "A", .parts = parts, .n_parts = 2};
    const uint16_t ports[] = {20001};
    struct engine_site site = {.node_id = "A", .peer_ports = ports};
    assert(memchr(f->device, 0, sizeof f->device) && memchr(f->text, 0, sizeof f->text));
    int part = d->part_of(&a, &site, f->device);
    assert(part >= ENGINE_PART_UNKNOWN && part < 2);
    assert(f->kind != ENGINE_ERROR || (f->code != ERR_NONE && f->text[0]));
    assert(f->bytes < (uint64_t)1 << 51);
}

static void on_line(void *arg, const char *line)
{
    const struct engine_driver *d = engine_find("llama.cpp");
    struct engine_fact f = {0};
    size_t n = strlen(line);
    assert(n > 0 && n <= LINE_MAX_BYTES + 3);
    json_t *text = json_stringn(line, n); /* refuses what is no UTF-8 */
    assert(text);
    json_decref(text);
    for (size_t i = 0; i < n; i++)
        assert(((unsigned char)line[i] >= 0x20 || line[i] == '\t') && line[i] != 0x7f);
    if (d->read_line(line, &f))
        check_fact(d, &f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct lines zero;
    struct lines l = zero;
    size_t half = size / 2;
    lines_feed(&l, (const char *)data, half, on_line, NULL);
    lines_feed(&l, (const char *)data + half, size - half, on_line, NULL);
    lines_end(&l, on_line, NULL);
    return 0;
}
