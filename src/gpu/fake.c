/* Fake devices from a YAML file: for trying placements and for tests. A ggml-rpc-server on the CPU
 * plays them, so what runs on them is real.
 *
 *   devices:
 *     - {name: RTX 3090, memory: 24GiB, free: 24166MiB, bandwidth: 936GB/s, count: 8}
 *
 * free defaults to memory, bandwidth to the card's by its name, count to 1. */
#include "gpu/internal.h"

#include "base/doc.h"
#include "base/mem.h"
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

struct row {
    struct cluster_device d;
    uint32_t count;
};

/* clang-format off */
#define R(member) DOC_FIELD(struct row, member)
static const struct doc_field CARD_FIELDS[] = {
    {"name", DOC_TEXT, true, R(d.name)},
    {"memory", DOC_BYTES, true, R(d.total_bytes), .lo = 1 << 20, .hi = 1ull << 50},
    {"free", DOC_BYTES, false, R(d.free_bytes), .lo = 0, .hi = 1ull << 50},
    {"bandwidth", DOC_RATE, false, R(d.bandwidth_bytes_per_s), .lo = 1e6, .hi = 1e15},
    {"count", DOC_U32, false, R(count), .lo = 1, .hi = CLUSTER_MAX_NODE_DEVICES},
};
static const struct doc_field FILE_FIELDS[] = {{"devices", DOC_OTHER, true}};
/* clang-format on */

static int get_cards(struct fake *f, const struct doc_at *at, struct err *err)
{
    struct row r = {.d = {.kind = DEVICE_GPU, .backend = BACKEND_FAKE}, .count = 1};
    if (doc_fields(at, CARD_FIELDS, ARRAY_LEN(CARD_FIELDS), &r, err))
        return -1;
    double usual = gpu_bandwidth_by_name(r.d.name, &r.d.hbm);
    if (!doc_has(at, "bandwidth"))
        r.d.bandwidth_bytes_per_s = usual;
    if (!doc_has(at, "free"))
        r.d.free_bytes = r.d.total_bytes;
    if (r.d.free_bytes > r.d.total_bytes)
        return doc_fault(at, err, "free %llu of %llu bytes", (unsigned long long)r.d.free_bytes,
                         (unsigned long long)r.d.total_bytes);
    if (r.count > CLUSTER_MAX_NODE_DEVICES - f->n)
        return doc_fault(at, err, "more than %d devices", CLUSTER_MAX_NODE_DEVICES);
    f->items = mem_realloc(f->items, f->n + r.count, sizeof r.d);
    for (uint32_t k = 0; k < r.count; k++)
        f->items[f->n++] = r.d;
    return 0;
}

static int get_all(struct fake *f, const struct doc *d, struct err *err)
{
    const struct doc_at root = doc_root(d), list = doc_member(&root, "devices");
    size_t n;
    if (doc_fields(&root, FILE_FIELDS, ARRAY_LEN(FILE_FIELDS), NULL, err) ||
        doc_list(&list, CLUSTER_MAX_NODE_DEVICES, &n, err))
        return -1;
    for (size_t i = 0; i < n; i++) {
        const struct doc_at card = doc_item(&list, i);
        if (get_cards(f, &card, err))
            return -1;
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
    struct doc d;
    struct fake *f = mem_calloc(1, sizeof *f);
    if (doc_parse(&d, config, text, n, err) || get_all(f, &d, err)) {
        fake_close(f);
        f = NULL;
    }
    doc_done(&d);
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
