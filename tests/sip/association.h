/*
 * A security association of [MS-SIPAE]: one GSS-API context of the NTLM mechanism, and the numbers that both sides count
 * their messages with. Here are all calls of GSS-API that client and registrar have in common.
 */
#ifndef ASSOCIATION_H
#define ASSOCIATION_H

#include <gssapi/gssapi_ntlmssp.h>

#include "sip.h"

extern gss_OID_desc ntlm_mechanism;
extern gss_OID_desc negotiate_flags_option;

/* Which of the numbers at or below the highest one have been there: those of the last 256, a bit for each. */
struct window {
    uint32_t highest;
    uint64_t seen[4];
};

struct association {
    gss_ctx_id_t context;
    enum sip_sender self;
    bool is_complete;
    /* Of the authentication protocol: 2, 3 or 4. */
    uint32_t version;
    char opaque[64], realm[256], targetname[256];
    /* The cnum or snum of the last message that was signed here. */
    uint32_t sent;
    struct window received;
};

/* What the status of a call means, in words. */
void explain(const char *call, OM_uint32 major, OM_uint32 minor);

/* "INTEG DATAGRAM ..." of the flags that a context has. */
const char *flag_names(OM_uint32 flags);
/* The NegotiateFlags of a CHALLENGE_MESSAGE or AUTHENTICATE_MESSAGE; 0 if it is neither. */
uint32_t negotiate_flags(const void *token, size_t length);

/* After the context is established: every message has the number 100, whoever sends it. */
bool association_complete(struct association *association);
void association_end(struct association *association);

/*
 * Makes `sent` of `plain`, a message without a header field for NTLM, by putting one in; with `gssapi_data` unless that is
 * empty. False if the message cannot be signed.
 */
bool association_sign(struct association *association, const struct text *plain, const struct text *gssapi_data,
                      struct text *sent);

enum verdict { GENUINE, UNSIGNED, FORGED, REPLAYED };

/* Judges a received message. Only a genuine one is counted: whatever else comes leaves everything as it was. */
enum verdict association_verify(struct association *association, const struct sip_message *message);

#endif
