/* Loopback ports. */
#include "worker/ports.h"

#include "os/file.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

bool port_accepts(uint16_t port)
{
    struct sockaddr_in a = loopback(port);
    fd_auto int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0;
}

bool port_busy(uint16_t port)
{
    if (port == 0)
        return false;
    struct sockaddr_in a = loopback(port);
    int on = 1;
    fd_auto int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* As the engines do: connections that linger after their end do not count. */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    return fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof a) != 0;
}
