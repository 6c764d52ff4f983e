/* Questions to a loopback port. I/O; any thread. */
#ifndef WORKER_PORTS_H
#define WORKER_PORTS_H

#include <stdbool.h>
#include <stdint.h>

bool port_accepts(uint16_t port); /* somebody listens; answers at once on loopback */
bool port_busy(uint16_t port);    /* nobody could listen there now; port 0: false */

#endif
