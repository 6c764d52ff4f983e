/* Bytes per part from buffer lines. */
#include "worker/measure.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"

#include <string.h>

void measure_init(struct measure *m, uint32_t n_parts)
{
    measure_done(m);
    m->n_parts = n_parts;
    m->parts = mem_calloc(n_parts ? n_parts : 1, sizeof *m->parts);
    m->seen = mem_calloc(n_parts ? n_parts : 1, sizeof *m->seen);
}

void measure_done(struct measure *m)
{
    free(m->parts);
    free(m->seen);
    *m = (struct measure){0};
}

static void host_compute(struct measure *m, const struct engine_fact *f)
{
    uint64_t sum = 0;
    bool placed = false;
    for (size_t i = 0; i < MEASURE_HOST_DEVICES; i++) {
        bool same = strcmp(m->host[i].device, f->device) == 0;
        if (!placed && (same || !m->host[i].device[0])) {
            STR_COPY(m->host[i].device, f->device);
            m->host[i].compute_bytes = f->bytes;
            placed = true;
        }
        sum = num_add_sat(sum, m->host[i].compute_bytes);
    }
    m->host_bytes.compute_bytes = sum;
}

bool measure_fact(struct measure *m, const struct engine_driver *d, const struct assignment *a,
                  const struct engine_site *site, const struct engine_fact *f)
{
    if (f->kind != ENGINE_WEIGHTS && f->kind != ENGINE_KV && f->kind != ENGINE_COMPUTE)
        return false;
    int part = d->part_of(a, site, f->device);
    if (part == ENGINE_PART_UNKNOWN || part >= (int)m->n_parts)
        return false;
    struct api_bytes *b = part == ENGINE_PART_HOST ? &m->host_bytes : &m->parts[part];
    if (f->kind == ENGINE_WEIGHTS)
        b->weights_bytes = num_add_sat(b->weights_bytes, f->bytes);
    else if (f->kind == ENGINE_KV)
        b->kv_bytes = num_add_sat(b->kv_bytes, f->bytes);
    else if (part == ENGINE_PART_HOST)
        host_compute(m, f);
    else
        b->compute_bytes = f->bytes;
    if (part == ENGINE_PART_HOST)
        m->host_seen = true;
    else
        m->seen[part] = true;
    return true;
}

void measure_report(const struct measure *m, struct api_report *r)
{
    r->measured = mem_calloc(m->n_parts ? m->n_parts : 1, sizeof *r->measured);
    r->n_measured = 0;
    for (uint32_t i = 0; i < m->n_parts; i++)
        if (m->seen[i])
            r->measured[r->n_measured++] = (struct api_measured){.part = i, .bytes = m->parts[i]};
    r->has_host_measured = m->host_seen;
    r->host_measured = m->host_bytes;
}
