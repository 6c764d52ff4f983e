/* The list of drivers. */
#include "store/store.h"

#include <string.h>

const struct store_driver *const STORE_DRIVERS[] = {NULL};

void store_object_done(struct store_object *o)
{
}

struct store *store_open(const char *driver, const char *where, struct err *err)
{
    return err_null(err, ERR_INVALID, "no store driver '%.40s'", driver);
}
