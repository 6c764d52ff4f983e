/* Calls that this project does not make: a use is a compile error. Included before every source.
 * Their headers come first, so that the declarations themselves are not poisoned. */
#ifndef BASE_BANNED_H
#define BASE_BANNED_H
#include <alloca.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#undef strtok
#undef sprintf
#undef vsprintf
#undef alloca
#pragma GCC poison strcpy strcat strncpy sprintf vsprintf strtok atoi atol strtol gets localtime   \
    ctime
#pragma GCC poison mktemp tempnam tmpnam system popen alloca
#endif
