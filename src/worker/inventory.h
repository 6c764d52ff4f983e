/* What this node has: devices, memory, CPUs, engine; as the node document of the API. I/O; the
 * worker's loop. */
#ifndef WORKER_INVENTORY_H
#define WORKER_INVENTORY_H

#include "cluster/cluster.h"
#include "worker/installed.h"

/* Of a node without --ram-limit: free RAM that is not offered. */
#define INVENTORY_RAM_RESERVE ((uint64_t)512 << 20)

struct inventory;
/* `devices`: "auto", "none" or "fake:FILE". ERR_INVALID names a bad word or a bad file. */
struct inventory *inventory_new(const char *devices, uint64_t ram_limit, struct err *err);
void inventory_free(struct inventory *i);
/* Fills node->name-independent facts and readings; devices that the engine cannot use are left out
 * (logged once). `engine_rss` is the RAM our engines hold, counted against the limit. */
int inventory_read(struct inventory *i, const struct installed_info *engine, uint64_t engine_rss,
                   struct cluster_node *node, struct err *err);
/* How the engine reaches the GPUs that were detected: keeps back end and index right, drops what it
 * cannot use. Returns how many were dropped. Pure. */
uint32_t inventory_match(struct cluster_node *node, const struct installed_info *engine);

#endif
