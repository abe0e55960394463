/* What the two programs share beside SIP and GSS-API: output, random numbers and a TCP connection. */
#ifndef PROGRAM_H
#define PROGRAM_H

#include "sip.h"

/* The name of the program in the output of say(). */
extern const char *speaker;

/* Prints a line for the reader on standard error. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Prints a last line and ends the program. The status is 1, unless the reason has its own status. */
_Noreturn void give_up(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void give_up_with(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Eight random digits: enough for what [MS-SIPAE] calls opaque, crand and srand, and for tags. */
struct digits {
    char digits[9];
};

struct digits random_digits(void);

struct wire {
    int socket;
    size_t length;
    char bytes[SIP_MAX_MESSAGE];
};

enum received { RECEIVED, HUNG_UP, MALFORMED };

/* Waits for the next message, as long as the socket's timeout allows. */
enum received receive_message(struct wire *wire, struct sip_message *message);
/* False if the other side has closed the connection. */
bool send_text(struct wire *wire, const struct text *text);
void set_patience(int socket, int seconds);

#endif
