/* The table of engine drivers. */
#include "engine/engine.h"

#include <string.h>

const struct engine_driver *const ENGINE_DRIVERS[] = {NULL};

const struct engine_driver *engine_find(const char *name)
{
    for (size_t i = 0; ENGINE_DRIVERS[i]; i++)
        if (strcmp(ENGINE_DRIVERS[i]->name, name) == 0)
            return ENGINE_DRIVERS[i];
    return NULL;
}

void engine_launch_done(struct engine_launch *l)
{
    for (size_t i = 0; i < ENGINE_MAX_ARGV; i++)
        free(l->argv[i]);
    for (size_t i = 0; i < ENGINE_MAX_ENV; i++)
        free(l->env[i]);
    memset(l, 0, sizeof *l);
}

void engine_device_name(const struct assignment *a, uint32_t part, char *dst, size_t cap)
{
    if (cap)
        dst[0] = '\0';
}
