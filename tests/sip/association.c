#include "association.h"

#include <stdio.h>
#include <string.h>

#include "program.h"

/* The sequence number that [MS-SIPAE] uses with GSS_GetMIC, for every message in both directions. */
enum { SEQUENCE_NUMBER = 100 };

enum { SIGNATURE_LENGTH = 16 };

gss_OID_desc ntlm_mechanism = { GSS_NTLMSSP_OID_LENGTH, (void *)GSS_NTLMSSP_OID_STRING };
gss_OID_desc negotiate_flags_option = { GSS_NTLMSSP_NEG_FLAGS_OID_LENGTH, (void *)GSS_NTLMSSP_NEG_FLAGS_OID_STRING };
static gss_OID_desc sequence_number_option = { GSS_NTLMSSP_SET_SEQ_NUM_OID_LENGTH,
                                               (void *)GSS_NTLMSSP_SET_SEQ_NUM_OID_STRING };

void explain(const char *call, OM_uint32 major, OM_uint32 minor)
{
    OM_uint32 codes[2] = { major, minor }, ignored, more = 0;
    int kinds[2] = { GSS_C_GSS_CODE, GSS_C_MECH_CODE };
    gss_buffer_desc words;

    for (int i = 0; i < 2; i++) {
        do {
            if (GSS_ERROR(gss_display_status(&ignored, codes[i], kinds[i], &ntlm_mechanism, &more, &words)))
                break;
            say("  %s: %.*s", call, (int)words.length, (char *)words.value);
            gss_release_buffer(&ignored, &words);
        } while (more != 0);
    }
}

const char *flag_names(OM_uint32 flags)
{
    static const struct {
        OM_uint32 flag;
        const char *name;
    } known[] = {
        { GSS_C_MUTUAL_FLAG, "MUTUAL" }, { GSS_C_REPLAY_FLAG, "REPLAY" },     { GSS_C_SEQUENCE_FLAG, "SEQUENCE" },
        { GSS_C_CONF_FLAG, "CONF" },     { GSS_C_INTEG_FLAG, "INTEG" },       { GSS_C_TRANS_FLAG, "TRANS" },
        { GSS_C_ANON_FLAG, "ANON" },     { GSS_C_IDENTIFY_FLAG, "IDENTIFY" }, { GSS_C_DATAGRAM_FLAG, "DATAGRAM" },
    };
    static char names[100];
    size_t length = 0;

    names[0] = '\0';
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (flags & known[i].flag)
            length += (size_t)sprintf(names + length, "%s%s", length == 0 ? "" : " ", known[i].name);
    }
    return names;
}

uint32_t negotiate_flags(const void *token, size_t length)
{
    const unsigned char *bytes = token;
    size_t at = length < 9 ? 0 : bytes[8] == 2 ? 20 : bytes[8] == 3 ? 60 : 0;

    if (at == 0 || length < at + 4)
        return 0;
    return bytes[at] | (uint32_t)bytes[at + 1] << 8 | (uint32_t)bytes[at + 2] << 16 | (uint32_t)bytes[at + 3] << 24;
}

bool association_complete(struct association *association)
{
    uint32_t number = SEQUENCE_NUMBER;
    gss_buffer_desc value = { sizeof(number), &number };
    OM_uint32 major, minor;

    major = gss_set_sec_context_option(&minor, &association->context, &sequence_number_option, &value);
    if (GSS_ERROR(major)) {
        explain("gss_set_sec_context_option(SET_SEQ_NUM)", major, minor);
        return false;
    }
    say("  gss_set_sec_context_option(SET_SEQ_NUM, 100), once for all messages in both directions");
    association->is_complete = true;
    return true;
}

void association_end(struct association *association)
{
    OM_uint32 minor;

    gss_delete_sec_context(&minor, &association->context, GSS_C_NO_BUFFER);
    association->is_complete = false;
}

/* ---- Signing ---- */

static struct slice slice_of(const char *words)
{
    return (struct slice){ words, strlen(words) };
}

static bool sign(struct association *association, const struct text *plain, struct digits random, const char *number,
                 char *signature)
{
    static struct sip_message message;
    static struct text words;
    struct sip_ntlm ntlm = {
        .version = association->version,
        .realm = slice_of(association->realm),
        .targetname = slice_of(association->targetname),
        .random = slice_of(random.digits),
        .number = slice_of(number),
    };
    gss_buffer_desc buffer, mic;
    OM_uint32 major, minor;
    size_t used;
    bool is_fine;

    if (sip_parse(&message, plain->bytes, plain->length, &used) != SIP_WHOLE || !sip_signed_text(&message, &ntlm, &words)) {
        say("  this message cannot be signed");
        return false;
    }
    buffer = (gss_buffer_desc){ words.length, words.bytes };
    major = gss_get_mic(&minor, association->context, GSS_C_QOP_DEFAULT, &buffer, &mic);
    if (GSS_ERROR(major)) {
        explain("gss_get_mic", major, minor);
        return false;
    }
    is_fine = mic.length == SIGNATURE_LENGTH;
    if (is_fine)
        hex_encode(mic.value, mic.length, signature);
    gss_release_buffer(&minor, &mic);
    if (is_fine) {
        say("  gss_get_mic(%s)", words.bytes);
        say("    = %s", signature);
    }
    return is_fine;
}

bool association_sign(struct association *association, const struct text *plain, const struct text *gssapi_data,
                      struct text *sent)
{
    bool is_client = association->self == SIP_CLIENT;
    const char *behind_start = strstr(plain->bytes, "\r\n");
    char number[12], signature[2 * SIGNATURE_LENGTH + 1];
    struct digits random = random_digits();

    if (plain->is_full || behind_start == NULL)
        return false;
    behind_start += 2;
    snprintf(number, sizeof(number), "%u", (unsigned)association->sent + 1);
    if (!sign(association, plain, random, number, signature))
        return false;
    association->sent++;

    text_clear(sent);
    text_add_bytes(sent, plain->bytes, (size_t)(behind_start - plain->bytes));
    text_add(sent, "%s: NTLM qop=\"auth\", opaque=\"%s\", realm=\"%s\", targetname=\"%s\"",
             is_client ? "Authorization" : "Authentication-Info", association->opaque, association->realm,
             association->targetname);
    if (association->version > 2)
        text_add(sent, ", version=%u", (unsigned)association->version);
    if (gssapi_data->length != 0)
        text_add(sent, ", gssapi-data=\"%s\"", gssapi_data->bytes);
    text_add(sent, ", %s=\"%s\"", is_client ? "crand" : "srand", random.digits);
    text_add(sent, ", %s=\"%s\"", is_client ? "cnum" : "snum", number);
    text_add(sent, ", %s=\"%s\"\r\n", is_client ? "response" : "rspauth", signature);
    text_add_bytes(sent, behind_start, plain->length - (size_t)(behind_start - plain->bytes));
    return !sent->is_full;
}

/* ---- Verifying ---- */

static uint64_t *place(struct window *window, uint32_t number)
{
    return &window->seen[number % 256 / 64];
}

static uint64_t bit(uint32_t number)
{
    return (uint64_t)1 << number % 64;
}

static bool is_new(struct window *window, uint32_t number)
{
    if (number > window->highest)
        return true;
    return window->highest - number < 256 && (*place(window, number) & bit(number)) == 0;
}

static void remember(struct window *window, uint32_t number)
{
    if (number > window->highest && number - window->highest >= 256) {
        memset(window->seen, 0, sizeof(window->seen));
        window->highest = number;
    }
    /* The bits of the skipped numbers still hold older numbers, which are now outside the window: clear them. */
    while (window->highest < number) {
        window->highest++;
        *place(window, window->highest) &= ~bit(window->highest);
    }
    *place(window, number) |= bit(number);
}

enum verdict association_verify(struct association *association, const struct sip_message *message)
{
    static struct text words;
    enum sip_sender peer = association->self == SIP_CLIENT ? SIP_SERVER : SIP_CLIENT;
    struct sip_ntlm ntlm;
    unsigned char signature[SIGNATURE_LENGTH];
    gss_buffer_desc buffer, mic = { 0, signature };
    uint32_t number;
    OM_uint32 major, minor;

    if (!sip_ntlm(message, peer, &ntlm) || ntlm.signature.at == NULL) {
        say("  it is not signed");
        return UNSIGNED;
    }
    /* Use the values of the association, not those of the message. */
    ntlm.version = association->version;
    ntlm.realm = slice_of(association->realm);
    ntlm.targetname = slice_of(association->targetname);
    if (!slice_is(ntlm.opaque, association->opaque) || !slice_number(ntlm.number, &number) || number == 0 ||
        !hex_decode(ntlm.signature, signature, sizeof(signature), &mic.length) || !sip_signed_text(message, &ntlm, &words)) {
        say("  its signature is malformed");
        return FORGED;
    }
    buffer = (gss_buffer_desc){ words.length, words.bytes };
    major = gss_verify_mic(&minor, association->context, &buffer, &mic, NULL);
    say("  gss_verify_mic(%s,", words.bytes);
    say("    %.*s): %s", (int)ntlm.signature.length, ntlm.signature.at, GSS_ERROR(major) ? "BAD" : "good");
    if (GSS_ERROR(major)) {
        explain("gss_verify_mic", major, minor);
        return FORGED;
    }
    /* The mechanism does not detect replays here: the same signature verifies again. */
    if (!is_new(&association->received, number)) {
        say("  the signature is good, but number %u was already received: a replay", (unsigned)number);
        return REPLAYED;
    }
    remember(&association->received, number);
    return GENUINE;
}
