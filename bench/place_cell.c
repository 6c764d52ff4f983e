/* Measuring and printing a cell; see place_cell.h. */
#include "place_cell.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "place_peak.h"

#include <stdio.h>

enum { MIN_REPEATS = 3, MAX_REPEATS = 9, LARGE_GPUS = 10000 };
static const double ENOUGH_MS = 20, LONG_MS = 500; /* repeat up to; do not repeat beyond */

/* The allocations of the first plan are counted and its answer is kept. */
static double time_one(const struct cluster_snapshot *s, const struct demand *d, bool explained,
                       uint64_t *peak_bytes, struct place_plan **answer)
{
    double ms[MAX_REPEATS], sum, t = cpu_ms();
    uint32_t n = 1;
    peak_start();
    *answer = bench_plan(s, &d->d, explained);
    *peak_bytes = peak_stop();
    sum = ms[0] = cpu_ms() - t;
    while (n < MAX_REPEATS && (n < MIN_REPEATS || sum < ENOUGH_MS) && sum < LONG_MS) {
        t = cpu_ms();
        struct place_plan *p = bench_plan(s, &d->d, explained);
        ms[n] = cpu_ms() - t;
        sum += ms[n++];
        place_free(p);
    }
    return bench_middle(ms, n);
}

static struct path_figures measure_path(struct cell *c, const struct cluster_snapshot *s,
                                        const struct demand *d, bool explained, double *first_ms)
{
    struct path_figures f = {0};
    uint32_t n = explained && c->n_gpus >= LARGE_GPUS ? 1 : c->clusters;
    double ms[CELL_MAX_CLUSTERS];
    struct err err = {0};
    for (uint32_t i = 0; i < n; i++) {
        struct place_plan *p;
        uint64_t peak_bytes;
        ms[i] = time_one(&s[i], d, explained, &peak_bytes, &p);
        f.peak_bytes = peak_bytes > f.peak_bytes ? peak_bytes : f.peak_bytes;
        f.worst_ms = ms[i] > f.worst_ms ? ms[i] : f.worst_ms;
        if (!explained) {
            c->tiers[p->feasible ? p->tier : TIER_NONE]++;
            c->optimal += p->optimal;
            c->invalid += p->feasible && place_validate(&s[i], &d->d, &p->a, &err);
            c->gap_percent = p->gap_percent > c->gap_percent ? p->gap_percent : c->gap_percent;
            c->steps = p->steps > c->steps ? p->steps : c->steps;
        }
        place_free(p);
    }
    if (c->invalid)
        fprintf(stderr, "place_bench: %s %u %s: invalid: %s\n", c->family, c->n_gpus, c->model,
                err.msg);
    *first_ms = ms[0];
    f.median_ms = bench_middle(ms, n);
    return f;
}

static struct base_figures measure_base(const struct cluster_snapshot *s, const struct demand *d,
                                        bool capped, uint64_t limit, double ours_ms)
{
    struct base_figures f = {0};
    struct err err = {0};
    double t = cpu_ms();
    struct estimate_model *m = estimate_new(d->facts, &d->d.opts, &err);
    if (!m)
        return f;
    f.r = base_search(s, m, capped, limit);
    estimate_free(m);
    f.ms = cpu_ms() - t;
    f.ratio = ours_ms > 0 ? f.ms / ours_ms : 0;
    return f;
}

void cell_measure(struct cell *c, const struct cluster_snapshot *s, const struct demand *d,
                  const struct cell_opts *o)
{
    double ours_ms, unused;
    c->model = d->name;
    c->policy = d->spec->policy.name;
    c->clusters = o->clusters;
    c->search = measure_path(c, s, d, false, &ours_ms);
    if (o->explained)
        c->explained = measure_path(c, s, d, true, &unused);
    c->has_base = o->base_calls > 0;
    if (c->has_base) {
        c->capped = measure_base(&s[0], d, true, o->base_calls, ours_ms);
        c->free = measure_base(&s[0], d, false, o->base_calls, ours_ms);
    }
}

/* ---- printing ---- */

void cell_print_head(void)
{
    printf("%-10s %-10s %7s %-12s %9s %9s %9s %9s %9s %10s %-9s %-28s %-18s %s\n", "POLICY",
           "FAMILY", "GPUS", "MODEL", "MEDIAN", "WORST", "PEAK KiB", "EXPLAINED", "WORST", "STEPS",
           "OPTIMAL", "ANSWERS", "SUBSETS, CAPPED", "SUBSETS, NO CAP");
}

static const char *base_text(const struct base_figures *f, char *dst, size_t cap)
{
    if (f->r.end == BASE_GIVES_UP)
        str_copyf(dst, cap, "gives up");
    else
        str_copyf(dst, cap, "%s%.3gx %s, %llu", f->r.end == BASE_LIMIT ? ">" : "", f->ratio,
                  base_end_name(f->r.end), (unsigned long long)f->r.calls);
    return dst;
}

void cell_print(const struct cell *c)
{
    char proved[32], capped[64] = "-", all[64] = "-";
    buf_auto struct buf answers;
    buf_init(&answers, 256);
    for (uint32_t t = 0; t <= TIER_NONE; t++)
        if (c->tiers[t])
            buf_addf(&answers, "%s%u %s", answers.n ? ", " : "", c->tiers[t],
                     t == TIER_NONE ? "refused" : place_tier_name(t));
    if (c->optimal == c->clusters)
        str_copyf(proved, sizeof proved, "%u/%u", c->optimal, c->clusters);
    else
        str_copyf(proved, sizeof proved, "%u/%u %.1f%%", c->optimal, c->clusters, c->gap_percent);
    if (c->has_base) {
        base_text(&c->capped, capped, sizeof capped);
        base_text(&c->free, all, sizeof all);
    }
    printf("%-10s %-10s %7u %-12s %9.3f %9.3f %9.0f %9.2f %9.2f %10llu %-9s %-28s %-18s %s\n",
           c->policy, c->family, c->n_gpus, c->model, c->search.median_ms, c->search.worst_ms,
           (double)c->search.peak_bytes / (double)KIB, c->explained.median_ms,
           c->explained.worst_ms, (unsigned long long)c->steps, proved, answers.p ? answers.p : "",
           capped, all);
    fflush(stdout);
}

static void path_json(json_t *o, const char *key, const struct path_figures *f)
{
    json_t *p = json_put_object(o, key);
    json_put_double(p, "median_ms", f->median_ms);
    json_put_double(p, "worst_ms", f->worst_ms);
    json_put_u64(p, "peak_bytes", f->peak_bytes);
}

static void base_json(json_t *o, const char *key, const struct base_figures *f)
{
    json_t *b = json_put_object(o, key);
    json_put_str(b, "end", base_end_name(f->r.end));
    json_put_u64(b, "calls", f->r.calls);
    json_put_double(b, "ms", f->ms);
    json_put_double(b, "ratio", f->ratio);
}

json_t *cell_to_json(const struct cell *c)
{
    json_t *o = json_object();
    json_put_str(o, "family", c->family);
    json_put_str(o, "model", c->model);
    json_put_str(o, "policy", c->policy);
    json_put_u64(o, "gpus", c->n_gpus);
    json_put_u64(o, "clusters", c->clusters);
    json_t *answers = json_put_object(o, "answers");
    for (uint32_t t = 0; t <= TIER_NONE; t++)
        if (c->tiers[t])
            json_put_u64(answers, t == TIER_NONE ? "refused" : place_tier_name(t), c->tiers[t]);
    json_put_u64(o, "optimal", c->optimal);
    json_put_u64(o, "invalid", c->invalid);
    json_put_double(o, "gap_percent", c->gap_percent);
    json_put_u64(o, "steps", c->steps);
    path_json(o, "search", &c->search);
    if (c->explained.worst_ms > 0)
        path_json(o, "explained", &c->explained);
    if (c->has_base) {
        base_json(o, "baseline_capped", &c->capped);
        base_json(o, "baseline", &c->free);
    }
    return o;
}
