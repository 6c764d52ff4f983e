#include "arch/arch.h"
struct arch_facts *arch_from_gguf(const struct gguf *g, struct err *err) { return err_null(err, ERR_UNSUPPORTED, "not built yet"); }
void arch_free(struct arch_facts *f) { }
