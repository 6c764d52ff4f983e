/* Paths to parsed headers. */
#include "model/model.h"

struct gguf *model_open(const char *path, struct model_info *info, struct err *err)
{
    return err_null(err, ERR_UNSUPPORTED, "not built yet: %s", path);
}
struct arch_facts *model_facts(const char *path, struct model_info *info, struct err *err)
{
    return err_null(err, ERR_UNSUPPORTED, "not built yet: %s", path);
}
int model_save_header(const char *path, const char *out, struct err *err)
{
    return err_set(err, ERR_UNSUPPORTED, "not built yet: %s", path);
}
