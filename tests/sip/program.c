#define _DEFAULT_SOURCE
#include "program.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

const char *speaker = "?";

static void speak(const char *format, va_list arguments)
{
    static char line[SIP_MAX_MESSAGE];

    vsnprintf(line, sizeof(line), format, arguments);
    /* Some of it comes from the network, and could contain control characters for the reader's terminal. */
    for (char *at = line; *at != '\0'; at++) {
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = '?';
    }
    /* In one write, because two programs may print at the same time. */
    fprintf(stderr, "%-10s %s\n", speaker, line);
}

void say(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    speak(format, arguments);
    va_end(arguments);
}

void give_up(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    speak(format, arguments);
    va_end(arguments);
    exit(1);
}

void give_up_with(int status, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    speak(format, arguments);
    va_end(arguments);
    exit(status);
}

struct digits random_digits(void)
{
    unsigned char bytes[4];
    struct digits made;

    if (getentropy(bytes, sizeof(bytes)) != 0)
        give_up("cannot get random numbers");
    hex_encode(bytes, sizeof(bytes), made.digits);
    return made;
}

void set_patience(int socket, int seconds)
{
    struct timeval patience = { .tv_sec = seconds };

    if (setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) != 0 ||
        setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) != 0)
        give_up("cannot limit the time to wait");
}

static void forget(struct wire *wire, size_t length)
{
    wire->length -= length;
    memmove(wire->bytes, wire->bytes + length, wire->length);
}

enum received receive_message(struct wire *wire, struct sip_message *message)
{
    for (;;) {
        size_t used, blank = 0;
        ssize_t got;

        /* Empty lines between messages are keep-alives. */
        while (blank < wire->length && (wire->bytes[blank] == '\r' || wire->bytes[blank] == '\n'))
            blank++;
        forget(wire, blank);
        switch (sip_parse(message, wire->bytes, wire->length, &used)) {
        case SIP_WHOLE:
            forget(wire, used);
            return RECEIVED;
        case SIP_MALFORMED:
            return MALFORMED;
        case SIP_PART:
            break;
        }
        if (wire->length == sizeof(wire->bytes))
            return MALFORMED;
        got = recv(wire->socket, wire->bytes + wire->length, sizeof(wire->bytes) - wire->length, 0);
        if (got <= 0)
            return HUNG_UP;
        wire->length += (size_t)got;
    }
}

bool send_text(struct wire *wire, const struct text *text)
{
    for (size_t sent = 0; sent < text->length;) {
        ssize_t more = send(wire->socket, text->bytes + sent, text->length - sent, MSG_NOSIGNAL);

        if (more <= 0)
            return false;
        sent += (size_t)more;
    }
    return true;
}
