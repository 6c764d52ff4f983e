/* High-water mark of the heap while something runs, to the byte. One thread only.
 *
 * The benchmark is linked with --wrap for malloc, calloc, realloc and free, so every allocation of
 * the libraries in it is counted; what libc allocates for itself is not. */
#ifndef BENCH_PLACE_PEAK_H
#define BENCH_PLACE_PEAK_H

#include <stdint.h>

void peak_start(void);    /* from here on; what is allocated already counts as nothing */
uint64_t peak_stop(void); /* most bytes that were held at once since peak_start */

#endif
