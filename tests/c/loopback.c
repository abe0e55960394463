/* For LD_PRELOAD: a program that would listen on every address listens on loopback only. */

#define _DEFAULT_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

int bind(int fd, const struct sockaddr *address, socklen_t length)
{
    struct sockaddr_in loopback;

    if (address->sa_family == AF_INET6) {
        errno = EADDRNOTAVAIL;
        return -1;
    }
    if (address->sa_family == AF_INET && length >= sizeof(loopback)) {
        memcpy(&loopback, address, sizeof(loopback));
        loopback.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        address = (const struct sockaddr *)&loopback;
        length = sizeof(loopback);
    }
    return (int)syscall(SYS_bind, fd, address, length);
}
