/* Models by path, each header read once: what one request of placement needs to know. I/O; one
 * thread. */
#ifndef MODEL_SHELF_H
#define MODEL_SHELF_H

#include "base/err.h"
#include "base/map.h"

struct arch_facts;
struct shelf {
    struct map *facts; /* by path */
};
/* Zeroed is empty; shelf_done() frees what was read. */
void shelf_done(struct shelf *s);
/* The facts of the file, borrowed until shelf_done(). Errors as model_facts. */
const struct arch_facts *shelf_get(void *shelf, const char *path, struct err *err);

#endif
