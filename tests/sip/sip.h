/*
 * The part of SIP (RFC 3261) that a signed session needs: messages, their header fields, and the text of a message that
 * [MS-SIPAE] signs. It does not use GSS-API.
 *
 * Everything from the network has a limit: the size of a message, the number of its header fields, and every text made from them.
 */
#ifndef SIP_H
#define SIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SIP_MAX_MESSAGE = 65536, SIP_MAX_HEADERS = 100 };

/* A part of a longer text. `at` is NULL if there is none; if it is empty, `length` is 0. */
struct slice {
    const char *at;
    size_t length;
};

bool slice_is(struct slice slice, const char *words);
/* The same, ignoring letter case. */
bool slice_is_like(struct slice slice, const char *words);
/* A decimal number of 32 bits and nothing else. */
bool slice_number(struct slice slice, uint32_t *number);

/* Text that is built piece by piece. What does not fit is left out, and `is_full` is set. */
struct text {
    char bytes[SIP_MAX_MESSAGE + 1];
    size_t length;
    bool is_full;
};

void text_clear(struct text *text);
void text_add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_add_bytes(struct text *text, const char *bytes, size_t length);

/* Writes each byte as two digits; `digits` has room for 2 * length + 1. */
void hex_encode(const void *bytes, size_t length, char *digits);
/* Decodes at most `room` bytes; false if there are more, or anything but digits. */
bool hex_decode(struct slice digits, unsigned char *bytes, size_t room, size_t *length);
void base64_encode(struct text *text, const void *bytes, size_t length);
bool base64_decode(struct slice digits, unsigned char *bytes, size_t room, size_t *length);

struct sip_header {
    const char *name, *value;
};

struct sip_message {
    /* A request has a method and a URI, a response has a code. */
    const char *method, *uri;
    int code;
    size_t header_count;
    struct sip_header headers[SIP_MAX_HEADERS];
    struct slice cseq_number, cseq_method;
    struct slice body;
    /* The message, cut into strings, into which the other members point. */
    char text[SIP_MAX_MESSAGE + 1];
};

enum sip_outcome { SIP_WHOLE, SIP_PART, SIP_MALFORMED };

/* Reads the first message of the received bytes; `used` is its length. */
enum sip_outcome sip_parse(struct sip_message *message, const char *bytes, size_t length, size_t *used);

/* The first header field of this name, or NULL. */
const char *sip_header(const struct sip_message *message, const char *name);

/* The URI of a From or To header field, without its parameters and those of the field, and the field's tag. */
struct slice sip_uri(const char *value);
struct slice sip_tag(const char *value);

/* The values of a message's header field for NTLM. */
struct sip_ntlm {
    uint32_t version;
    struct slice opaque, realm, targetname;
    /* Of a handshake message. */
    struct slice gssapi_data;
    /* Of a signed message: crand, cnum and response of a client; srand, snum and rspauth of a server. */
    struct slice random, number, signature;
};

enum sip_sender { SIP_CLIENT, SIP_SERVER };

/* Reads the header field for NTLM; false if there is none. */
bool sip_ntlm(const struct sip_message *message, enum sip_sender sender, struct sip_ntlm *ntlm);

/*
 * The signed text of a message: some values, each in angle brackets. It does not include the body, the request's URI and the
 * header fields that sip.c does not name. False if a value contains an angle bracket, because two different messages could then
 * have the same signature.
 */
bool sip_signed_text(const struct sip_message *message, const struct sip_ntlm *ntlm, struct text *text);

#endif
