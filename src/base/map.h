/* Hash map from a string key to a pointer. Keys are copied; values are borrowed. Pure; one owner.
 * Iteration follows insertion order (holes of removed keys skipped), so results are deterministic.
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map;
/* `seed` keys the hash; pass a random one for keys that a stranger chooses. */
struct map *map_new(uint64_t seed);
void map_free(struct map *m); /* NULL allowed; values are not freed */
size_t map_count(const struct map *m);
void *map_get(const struct map *m, const char *key); /* NULL when absent */
void *map_get_n(const struct map *m, const char *key, size_t n);
/* Sets key to value (not NULL); returns the value it replaced, or NULL. */
void *map_set(struct map *m, const char *key, void *value);
void *map_set_n(struct map *m, const char *key, size_t n, void *value);
void *map_del(struct map *m, const char *key); /* returns the value removed, or NULL */
/* for (size_t i = 0; map_next(m, &i, &key, &value);) -- removing the current key is allowed. */
bool map_next(const struct map *m, size_t *i, const char **key, void **value);

#endif
