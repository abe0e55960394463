/*
 * A security association of [MS-SIPAE]: one GSS-API context of the NTLM mechanism, and the numbers with which both sides count
 * their messages. This file has all calls of GSS-API that client and registrar share.
 */
#ifndef ASSOCIATION_H
#define ASSOCIATION_H

#include <gssapi/gssapi_ntlmssp.h>

#include "sip.h"

extern gss_OID_desc ntlm_mechanism;
extern gss_OID_desc negotiate_flags_option;

/* The received numbers among the last 256 up to the highest one, a bit for each. */
struct window {
    uint32_t highest;
    uint64_t seen[4];
};

struct association {
    gss_ctx_id_t context;
    enum sip_sender self;
    bool is_complete;
    /* The version of the authentication protocol: 2, 3 or 4. */
    uint32_t version;
    char opaque[64], realm[256], targetname[256];
    /* The cnum or snum of the last message that this side signed. */
    uint32_t sent;
    struct window received;
};

/* The text of a call's status. */
void explain(const char *call, OM_uint32 major, OM_uint32 minor);

/* The names of a context's flags: "INTEG DATAGRAM ...". */
const char *flag_names(OM_uint32 flags);
/* The NegotiateFlags of a CHALLENGE_MESSAGE or AUTHENTICATE_MESSAGE; 0 if it is neither. */
uint32_t negotiate_flags(const void *token, size_t length);

/* After the context is established: sets the number 100 for the messages of both sides. */
bool association_complete(struct association *association);
void association_end(struct association *association);

/*
 * Makes `sent` from `plain`, a message without a header field for NTLM, by adding one, with `gssapi_data` if that is not empty.
 * False if the message cannot be signed.
 */
bool association_sign(struct association *association, const struct text *plain, const struct text *gssapi_data,
                      struct text *sent);

enum verdict { GENUINE, UNSIGNED, FORGED, REPLAYED };

/* Verifies a received message. Only a genuine message is counted; any other leaves the association unchanged. */
enum verdict association_verify(struct association *association, const struct sip_message *message);

#endif
