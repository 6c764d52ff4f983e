/* Memory in the books: what an assignment takes, and what is free for the next one. I/O none;
 * loop's thread. */
#ifndef SERVER_CLAIMS_H
#define SERVER_CLAIMS_H

#include "server/internal.h"

/* The store's name of a device ("n-12ab/GPU-..") or of a node's RAM ("n-12ab/ram"). */
void claims_device(char *dst, size_t cap, const char *node_id, const char *uuid);
/* Adds one claim per part and one for the main node's RAM. Capacity is what the device has in all.
 */
void claims_of_assignment(const struct server *s, const char *replica, const struct assignment *a,
                          struct ops *o);

#endif
