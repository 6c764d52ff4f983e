/* Open addressing over an insertion-ordered entry array (as in CPython's dict). */
#include "base/map.h"

#include "base/mem.h"

#include <string.h>

struct entry {
    uint64_t hash;
    char *key; /* NULL: removed */
    size_t n;
    void *value;
};

struct map {
    uint64_t seed;
    struct entry *entries;
    size_t n_entries, cap_entries; /* removed ones counted in n_entries */
    size_t live;
    uint32_t *slots; /* entry index + 1; 0 is free */
    size_t n_slots;  /* power of two */
};

/* FNV-1a over a seed, then a finaliser, so that chosen keys do not line up. */
static uint64_t hash_of(uint64_t seed, const char *p, size_t n)
{
    uint64_t h = 0xcbf29ce484222325u ^ seed;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)p[i]) * 0x100000001b3u;
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    return h ^ (h >> 32);
}

struct map *map_new(uint64_t seed)
{
    struct map *m = mem_calloc(1, sizeof *m);
    m->seed = seed;
    return m;
}

void map_free(struct map *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->n_entries; i++)
        free(m->entries[i].key);
    free(m->entries);
    free(m->slots);
    free(m);
}

size_t map_count(const struct map *m)
{
    return m->live;
}

static struct entry *find(const struct map *m, const char *key, size_t n, uint64_t hash)
{
    if (!m->n_slots)
        return NULL;
    for (size_t s = hash & (m->n_slots - 1); m->slots[s]; s = (s + 1) & (m->n_slots - 1)) {
        struct entry *e = &m->entries[m->slots[s] - 1];
        if (e->key && e->hash == hash && e->n == n && memcmp(e->key, key, n) == 0)
            return e;
    }
    return NULL;
}

/* Drops removed entries and gives the table room for twice the live ones. */
static void rebuild(struct map *m)
{
    size_t n_slots = 16;
    while (n_slots < m->live * 4 + 4)
        n_slots *= 2;
    size_t n = 0;
    for (size_t i = 0; i < m->n_entries; i++)
        if (m->entries[i].key)
            m->entries[n++] = m->entries[i];
    m->n_entries = n;
    free(m->slots);
    m->slots = mem_calloc(n_slots, sizeof *m->slots);
    m->n_slots = n_slots;
    for (size_t i = 0; i < n; i++) {
        size_t s = m->entries[i].hash & (n_slots - 1);
        while (m->slots[s])
            s = (s + 1) & (n_slots - 1);
        m->slots[s] = (uint32_t)(i + 1);
    }
}

void *map_get_n(const struct map *m, const char *key, size_t n)
{
    struct entry *e = find(m, key, n, hash_of(m->seed, key, n));
    return e ? e->value : NULL;
}

void *map_get(const struct map *m, const char *key)
{
    return map_get_n(m, key, strlen(key));
}

void *map_set_n(struct map *m, const char *key, size_t n, void *value)
{
    uint64_t hash = hash_of(m->seed, key, n);
    struct entry *e = find(m, key, n, hash);
    if (e) {
        void *old = e->value;
        e->value = value;
        return old;
    }
    if ((m->n_entries + 1) * 2 > m->n_slots)
        rebuild(m);
    mem_grow(&m->entries, &m->cap_entries, m->n_entries + 1, sizeof *m->entries);
    m->entries[m->n_entries++] = (struct entry){hash, mem_strndup(key, n), n, value};
    m->live++;
    size_t s = hash & (m->n_slots - 1);
    while (m->slots[s])
        s = (s + 1) & (m->n_slots - 1);
    m->slots[s] = (uint32_t)m->n_entries;
    return NULL;
}

void *map_set(struct map *m, const char *key, void *value)
{
    return map_set_n(m, key, strlen(key), value);
}

void *map_del(struct map *m, const char *key)
{
    size_t n = strlen(key);
    struct entry *e = find(m, key, n, hash_of(m->seed, key, n));
    if (!e)
        return NULL;
    free(e->key);
    e->key = NULL;
    m->live--;
    return e->value;
}

bool map_next(const struct map *m, size_t *i, const char **key, void **value)
{
    for (; *i < m->n_entries; (*i)++) {
        const struct entry *e = &m->entries[*i];
        if (!e->key)
            continue;
        if (key)
            *key = e->key;
        if (value)
            *value = e->value;
        (*i)++;
        return true;
    }
    return false;
}
