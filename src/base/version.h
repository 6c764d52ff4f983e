/* The version of this program, as `stowage version`, the wire and the packages say it. */
#ifndef BASE_VERSION_H
#define BASE_VERSION_H

#define STOWAGE_VERSION "0.1.0"

#endif
