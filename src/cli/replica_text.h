/* Replica documents in words, shared by ps, deploy, scale and rm. Pure. */
#ifndef CLI_REPLICA_TEXT_H
#define CLI_REPLICA_TEXT_H

#include "base/json.h"
#include "base/str.h"

/* "dale:0 hill:0,1" in pipeline order; RAM as "hill:ram"; "-" when nothing is assigned. */
void replica_devices(const json_t *replica, char *dst, size_t cap);
/* Bytes on GPUs, and in RAM of hosts. */
uint64_t replica_vram_bytes(const json_t *replica);
uint64_t replica_ram_bytes(const json_t *replica);
/* What it is doing or why not: "loading 43 %", "2 of 3 rpc servers up", the reason; "" when ready.
 */
void replica_detail(const json_t *replica, char *dst, size_t cap);

#endif
