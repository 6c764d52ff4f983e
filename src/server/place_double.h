/* See place_double.c. */
#ifndef SERVER_PLACE_DOUBLE_H
#define SERVER_PLACE_DOUBLE_H

#include "base/num.h"

#define DOUBLE_BYTES GIB

#endif
