/* See place_double.c. */
#ifndef SERVER_PLACE_DOUBLE_H
#define SERVER_PLACE_DOUBLE_H

#include "base/num.h"

#define DOUBLE_BYTES GIB
/* Plans of deployments whose name begins so do not pass the validator. */
#define DOUBLE_WRONG "wrong"

#endif
