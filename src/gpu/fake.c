/* Fake devices from a YAML file: for trying placements and for tests. A ggml-rpc-server on the CPU
 * plays them, so what runs on them is real.
 *
 *   devices:
 *     - {name: RTX 3090, memory: 24GiB, free: 24166MiB, bandwidth: 936GB/s, count: 8}
 *
 * free defaults to memory, bandwidth to the card's by its name, count to 1. */
#include "gpu/internal.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "os/file.h"

#include <stdlib.h>
#include <string.h>

enum { FILE_MAX = 1 << 20 };

struct fake {
    struct cluster_device *items; /* without uuids: those depend on the node */
    uint32_t n;
};

static void fake_close(void *state)
{
    struct fake *f = state;
    if (f)
        free(f->items);
    free(f);
}

/* A size as "24GiB" or as a plain number of bytes. */
static int get_bytes(const json_t *o, const char *key, bool required, uint64_t *out,
                     struct err *err)
{
    if (json_is_integer(json_object_get(o, key)))
        return json_get_u64(o, key, required, INT64_MAX, out, err);
    const char *text = NULL;
    if (json_get_str(o, key, required, &text, err))
        return -1;
    return text ? num_bytes(text, key, out, err) : 0;
}

static int get_card(const json_t *o, struct cluster_device *d, uint32_t *count, struct err *err)
{
    static const char *const KEYS[] = {"name", "memory", "free", "bandwidth", "count"};
    const char *rate = NULL;
    *d = (struct cluster_device){.kind = DEVICE_GPU, .backend = BACKEND_FAKE};
    *count = 1;
    if (json_known_keys(o, "device", KEYS, ARRAY_LEN(KEYS), err) ||
        JSON_COPY(o, "name", true, d->name, err) ||
        get_bytes(o, "memory", true, &d->total_bytes, err))
        return -1;
    d->free_bytes = d->total_bytes;
    if (get_bytes(o, "free", false, &d->free_bytes, err) ||
        json_get_u32(o, "count", false, CLUSTER_MAX_NODE_DEVICES, count, err) ||
        json_get_str(o, "bandwidth", false, &rate, err))
        return -1;
    if (d->total_bytes == 0 || d->free_bytes > d->total_bytes)
        return err_set(err, ERR_INVALID, "'%s': free %llu of %llu bytes", d->name,
                       (unsigned long long)d->free_bytes, (unsigned long long)d->total_bytes);
    d->bandwidth_bytes_per_s = gpu_bandwidth_by_name(d->name, &d->hbm);
    return rate ? num_rate(rate, "bandwidth", &d->bandwidth_bytes_per_s, err) : 0;
}

static int get_cards(struct fake *f, const json_t *doc, struct err *err)
{
    static const char *const KEYS[] = {"devices"};
    if (json_known_keys(doc, "file", KEYS, ARRAY_LEN(KEYS), err))
        return -1;
    json_t *list = json_get_array(doc, "devices", true, err);
    if (!list)
        return -1;
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct cluster_device d;
        uint32_t count;
        if (get_card(json_array_get(list, i), &d, &count, err)) {
            err_wrap(err, "device %zu", i);
            return -1;
        }
        if (count > CLUSTER_MAX_NODE_DEVICES - f->n)
            return err_set(err, ERR_LIMIT, "more than %d devices", CLUSTER_MAX_NODE_DEVICES);
        f->items = mem_realloc(f->items, f->n + count, sizeof d);
        for (uint32_t k = 0; k < count; k++)
            f->items[f->n++] = d;
    }
    return 0;
}

static void *fake_open(const char *config, struct err *err)
{
    mem_auto char *text = NULL;
    size_t n;
    if (!config || !*config)
        return err_null(err, ERR_NOT_FOUND, "fake devices need a file: fake:FILE");
    if (file_read(config, FILE_MAX, &text, &n, err))
        return NULL;
    json_t *doc = json_parse_yaml(text, n, err);
    struct fake *f = mem_calloc(1, sizeof *f);
    if (!doc || get_cards(f, doc, err)) {
        err_wrap(err, "%s", config);
        fake_close(f);
        f = NULL;
    }
    json_decref(doc);
    return f;
}

/* FNV-1a: a name for life, not a secret. */
static uint64_t hash(const char *node, uint32_t index)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *node; node++)
        h = (h ^ (unsigned char)*node) * 0x100000001b3u;
    for (int i = 0; i < 4; i++)
        h = (h ^ ((index >> (8 * i)) & 255)) * 0x100000001b3u;
    return h;
}

static int fake_read(void *state, struct cluster_node *node, struct err *err)
{
    const struct fake *f = state;
    gpu_clear(node);
    for (uint32_t i = 0; i < f->n; i++) {
        struct cluster_device *d = node_add_device(node);
        *d = f->items[i];
        d->index = i;
        str_copyf(d->uuid, sizeof d->uuid, "FAKE-%016llx", (unsigned long long)hash(node->name, i));
    }
    return 0;
}

const struct gpu_driver gpu_fake = {"fake", fake_open, fake_close, fake_read};
