/*
 * Uses every macro of gssapi_ntlmssp.h, in the calls that programs make with them: raw NTLM, both sides in one process.
 *
 * The argument is a directory with the file "users", which holds DOM:alice:Password; the trace is written into it. The caller
 * sets GSS_MECH_CONFIG, or relies on what is installed.
 *
 * It is C and C++.
 *
 * cc -Iinclude -o header header.c -lgssapi_krb5
 */
#define _POSIX_C_SOURCE 200809L /* setenv */

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The only GSS-API header: it must include what it needs. */
#include <gssapi/gssapi_ntlmssp.h>

#define OID(name) { name##_OID_LENGTH, (void *)name##_OID_STRING }

static gss_OID_desc ntlm = OID(GSS_NTLMSSP);
static gss_OID_desc base = OID(GSS_NTLMSSP_BASE);
static gss_OID_desc set_seq_num = OID(GSS_NTLMSSP_SET_SEQ_NUM);
static gss_OID_desc require_mic = OID(GSS_SPNEGO_REQUIRE_MIC);
static gss_OID_desc reset_crypto = OID(GSS_NTLMSSP_RESET_CRYPTO);
static gss_OID_desc debug = OID(GSS_NTLMSSP_DEBUG);
static gss_OID_desc neg_flags = OID(GSS_NTLMSSP_NEG_FLAGS);
static gss_OID_desc sasl_ssf = { 11, (void *)"\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x05\x0f" };

/* The length of an array must be a constant, and the byte after the string's bytes is its NUL. */
#define EXACT(name) static_assert(sizeof name##_OID_STRING == name##_OID_LENGTH + 1, #name)
EXACT(GSS_NTLMSSP);
EXACT(GSS_NTLMSSP_BASE);
EXACT(GSS_NTLMSSP_SET_SEQ_NUM);
EXACT(GSS_SPNEGO_REQUIRE_MIC);
EXACT(GSS_NTLMSSP_RESET_CRYPTO);
EXACT(GSS_NTLMSSP_DEBUG);
EXACT(GSS_NTLMSSP_NEG_FLAGS);
static_assert(GSS_C_DATAGRAM_FLAG == 0x10000, "ISC_REQ_DATAGRAM is another");

/* NegotiateFlags: NTLM, extended session security, and 56 bits instead of the 128 bits that the mechanism would choose. */
static const OM_uint32 weak = 0x00000200 | 0x00080000 | 0x80000000;

static const char *doing = "starting";

static void expect(int is_so, const char *what)
{
    if (is_so)
        return;
    fprintf(stderr, "header: %s: %s\n", doing, what);
    exit(1);
}

static void expect_status(OM_uint32 expected, OM_uint32 major, OM_uint32 minor)
{
    OM_uint32 codes[2] = { major, minor }, ignored, more;
    int kinds[2] = { GSS_C_GSS_CODE, GSS_C_MECH_CODE };

    if (major == expected)
        return;
    for (int i = 0; i < 2; i++) {
        gss_buffer_desc text = GSS_C_EMPTY_BUFFER;

        more = 0;
        gss_display_status(&ignored, codes[i], kinds[i], &ntlm, &more, &text);
        fprintf(stderr, "  %s: %.*s\n", doing, (int)text.length, (char *)text.value);
        gss_release_buffer(&ignored, &text);
    }
    expect(0, expected == GSS_S_COMPLETE ? "should have succeeded" : "another status");
}

static void succeed(OM_uint32 major, OM_uint32 minor)
{
    expect_status(GSS_S_COMPLETE, major, minor);
}

static gss_buffer_desc bytes_of(const void *bytes, size_t length)
{
    gss_buffer_desc buffer = { length, (void *)bytes };
    return buffer;
}

static void expect_dotted(gss_OID oid, const char *dotted)
{
    OM_uint32 major, minor;
    gss_buffer_desc text;

    major = gss_oid_to_str(&minor, oid, &text);
    succeed(major, minor);
    expect(strcmp((char *)text.value, dotted) == 0, dotted);
    gss_release_buffer(&minor, &text);
}

static void values(void)
{
    doing = "values";
    expect_dotted(&ntlm, "{ 1 3 6 1 4 1 311 2 2 10 }");
    expect_dotted(&base, "{ 1 3 6 1 4 1 7165 655 1 }");
    expect_dotted(&set_seq_num, "{ 1 3 6 1 4 1 7165 655 1 1 }");
    expect_dotted(&require_mic, "{ 1 3 6 1 4 1 7165 655 1 2 }");
    expect_dotted(&reset_crypto, "{ 1 3 6 1 4 1 7165 655 1 3 }");
    expect_dotted(&debug, "{ 1 3 6 1 4 1 7165 655 1 4 }");
    expect_dotted(&neg_flags, "{ 1 3 6 1 4 1 7165 655 1 5 }");
    expect(strcmp(GSS_NTLM_ATTR_SIDS, "urn:gssntlmssp:sids") == 0, GSS_NTLM_ATTR_SIDS);
    expect(strcmp(GSS_NTLM_ATTR_DOMAIN, "urn:gss-ntlm:domain") == 0, GSS_NTLM_ATTR_DOMAIN);
    expect(strcmp(GSS_NTLM_ATTR_WORKSTATION, "urn:gss-ntlm:workstation") == 0, GSS_NTLM_ATTR_WORKSTATION);
    expect(strcmp(GSS_NTLM_ATTR_MIC, "urn:gss-ntlm:mic") == 0, GSS_NTLM_ATTR_MIC);
    expect(strcmp(GSS_NTLM_ATTR_CHANNEL_BINDINGS, "urn:gss-ntlm:channel-bindings") == 0, GSS_NTLM_ATTR_CHANNEL_BINDINGS);
    expect(strcmp(GSS_NTLM_ATTR_VERSION, "urn:gss-ntlm:version") == 0, GSS_NTLM_ATTR_VERSION);
    expect(strcmp(GSS_NTLM_ATTR_PRIMARY_GROUP, "urn:gss-ntlm:primary-group") == 0, GSS_NTLM_ATTR_PRIMARY_GROUP);
    expect(strcmp(GSS_NTLM_ATTR_FULL_NAME, "urn:gss-ntlm:full-name") == 0, GSS_NTLM_ATTR_FULL_NAME);
    expect(strcmp(GSS_NTLM_ATTR_USER_PRINCIPAL_NAME, "urn:gss-ntlm:user-principal-name") == 0, GSS_NTLM_ATTR_USER_PRINCIPAL_NAME);
    expect(strcmp(GSS_NTLM_ATTR_DNS_DOMAIN, "urn:gss-ntlm:dns-domain") == 0, GSS_NTLM_ATTR_DNS_DOMAIN);
    expect(strcmp(GSS_NTLM_ATTR_LOGON_SERVER, "urn:gss-ntlm:logon-server") == 0, GSS_NTLM_ATTR_LOGON_SERVER);
    expect(strcmp(GSS_NTLM_ATTR_GUEST, "urn:gss-ntlm:guest") == 0, GSS_NTLM_ATTR_GUEST);
}

static gss_name_t name_of(const char *words, gss_OID type)
{
    OM_uint32 major, minor;
    gss_buffer_desc buffer = bytes_of(words, strlen(words));
    gss_name_t name;

    major = gss_import_name(&minor, &buffer, type, &name);
    succeed(major, minor);
    return name;
}

/* A credential from a store of one or two keys. An acceptor's credential has no name. */
static gss_cred_id_t acquire(const char *user, const char *key, const char *value, const char *key2, const char *value2)
{
    OM_uint32 major, minor, ignored;
    gss_OID_set_desc mechs = { 1, &ntlm };
    gss_key_value_element_desc elements[2] = { { key, value }, { key2, value2 } };
    gss_key_value_set_desc store = { key2 != NULL ? 2u : 1u, elements };
    gss_name_t name = user != NULL ? name_of(user, GSS_C_NT_USER_NAME) : GSS_C_NO_NAME;
    gss_cred_id_t cred;

    major = gss_acquire_cred_from(&minor, name, 0, &mechs, user != NULL ? GSS_C_INITIATE : GSS_C_ACCEPT, &store, &cred, NULL,
                                  NULL);
    gss_release_name(&ignored, &name);
    succeed(major, minor);
    return cred;
}

/* Compares the display form of a name, and releases the name. */
static void expect_alice(gss_name_t name)
{
    OM_uint32 major, minor;
    gss_buffer_desc shown;

    major = gss_display_name(&minor, name, &shown, NULL);
    succeed(major, minor);
    expect(strcmp((char *)shown.value, "DOM\\alice") == 0, "not DOM\\alice");
    gss_release_buffer(&minor, &shown);
    gss_release_name(&minor, &name);
}

struct pair {
    gss_ctx_id_t initiator, acceptor;
};

/* The only byte of the answer. */
static int mic_is_required(gss_ctx_id_t context)
{
    OM_uint32 major, minor;
    gss_buffer_set_t values;
    int answer;

    major = gss_inquire_sec_context_by_oid(&minor, context, &require_mic, &values);
    succeed(major, minor);
    expect(values->count == 1 && values->elements[0].length == 1, "REQUIRE_MIC is not one byte");
    answer = *(unsigned char *)values->elements[0].value;
    gss_release_buffer_set(&minor, &values);
    return answer;
}

static struct pair shake_hands(gss_cred_id_t initiator, gss_cred_id_t acceptor)
{
    struct pair pair = { GSS_C_NO_CONTEXT, GSS_C_NO_CONTEXT };
    gss_name_t target = name_of("HTTP@server", GSS_C_NT_HOSTBASED_SERVICE), source;
    gss_buffer_desc negotiate, challenge, authenticate, nothing;
    const OM_uint32 flags = GSS_C_INTEG_FLAG | GSS_C_CONF_FLAG;
    OM_uint32 major, minor, granted;

    major = gss_init_sec_context(&minor, initiator, &pair.initiator, target, &ntlm, flags, 0, GSS_C_NO_CHANNEL_BINDINGS, NULL,
                                 NULL, &negotiate, NULL, NULL);
    expect_status(GSS_S_CONTINUE_NEEDED, major, minor);
    major = gss_accept_sec_context(&minor, &pair.acceptor, acceptor, &negotiate, GSS_C_NO_CHANNEL_BINDINGS, NULL, NULL,
                                   &challenge, NULL, NULL, NULL);
    expect_status(GSS_S_CONTINUE_NEEDED, major, minor);
    /* An initiator would conclude from this question that it runs inside SPNEGO, and might send no MIC. */
    expect(mic_is_required(pair.acceptor) == 0, "a MIC before there can be one");
    major = gss_init_sec_context(&minor, initiator, &pair.initiator, target, &ntlm, flags, 0, GSS_C_NO_CHANNEL_BINDINGS,
                                 &challenge, NULL, &authenticate, &granted, NULL);
    succeed(major, minor);
    expect((granted & flags) == flags && !(granted & GSS_C_DATAGRAM_FLAG), "other flags");
    major = gss_accept_sec_context(&minor, &pair.acceptor, acceptor, &authenticate, GSS_C_NO_CHANNEL_BINDINGS, &source, NULL,
                                   &nothing, &granted, NULL, NULL);
    succeed(major, minor);
    expect((granted & flags) == flags && !(granted & GSS_C_DATAGRAM_FLAG), "other flags");
    expect_alice(source);

    gss_release_name(&minor, &target);
    gss_release_buffer(&minor, &negotiate);
    gss_release_buffer(&minor, &challenge);
    gss_release_buffer(&minor, &authenticate);
    gss_release_buffer(&minor, &nothing);
    return pair;
}

/*
 * This question in the middle of a handshake tells an initiator that it runs inside SPNEGO, and inside some SPNEGOs it sends no
 * MIC. So this handshake is not finished.
 */
static void mic_before_the_end(gss_cred_id_t initiator)
{
    gss_ctx_id_t context = GSS_C_NO_CONTEXT;
    gss_name_t target = name_of("HTTP@server", GSS_C_NT_HOSTBASED_SERVICE);
    gss_buffer_desc negotiate;
    OM_uint32 major, minor;

    major = gss_init_sec_context(&minor, initiator, &context, target, &ntlm, GSS_C_INTEG_FLAG, 0, GSS_C_NO_CHANNEL_BINDINGS, NULL,
                                 NULL, &negotiate, NULL, NULL);
    expect_status(GSS_S_CONTINUE_NEEDED, major, minor);
    expect(mic_is_required(context) == 0, "a MIC before there can be one");
    gss_release_name(&minor, &target);
    gss_release_buffer(&minor, &negotiate);
    gss_delete_sec_context(&minor, &context, GSS_C_NO_BUFFER);
}

static void part(struct pair *pair)
{
    OM_uint32 minor;

    gss_delete_sec_context(&minor, &pair->initiator, GSS_C_NO_BUFFER);
    gss_delete_sec_context(&minor, &pair->acceptor, GSS_C_NO_BUFFER);
}

static OM_uint32 set_number(gss_ctx_id_t *context, gss_OID option, OM_uint32 number, OM_uint32 *minor)
{
    gss_buffer_desc value = bytes_of(&number, sizeof number);

    return gss_set_sec_context_option(minor, context, option, &value);
}

static void session_keys(struct pair *pair)
{
    OM_uint32 major, minor;
    gss_buffer_set_t ours, theirs;

    doing = "session keys";
    major = gss_inquire_sec_context_by_oid(&minor, pair->initiator, GSS_C_INQ_SSPI_SESSION_KEY, &ours);
    succeed(major, minor);
    major = gss_inquire_sec_context_by_oid(&minor, pair->acceptor, GSS_C_INQ_SSPI_SESSION_KEY, &theirs);
    succeed(major, minor);
    expect(ours->count == 1 && ours->elements[0].length == 16, "not a key of 16 bytes");
    expect(theirs->count == 1 && theirs->elements[0].length == 16, "not a key of 16 bytes");
    expect(memcmp(ours->elements[0].value, theirs->elements[0].value, 16) == 0, "two session keys");
    gss_release_buffer_set(&minor, &ours);
    gss_release_buffer_set(&minor, &theirs);
}

static void reset(struct pair *pair)
{
    const char words[] = "a list of mechanisms";
    gss_buffer_desc message = bytes_of(words, strlen(words)), mic;
    OM_uint32 major, minor;

    doing = "RESET_CRYPTO";
    major = gss_get_mic(&minor, pair->initiator, GSS_C_QOP_DEFAULT, &message, &mic);
    succeed(major, minor);
    major = gss_verify_mic(&minor, pair->acceptor, &message, &mic, NULL);
    succeed(major, minor);
    gss_release_buffer(&minor, &mic);
    /* If one side resets its stream, the two differ; if both do, they agree again. */
    major = set_number(&pair->initiator, &reset_crypto, 0, &minor);
    succeed(major, minor);
    major = gss_get_mic(&minor, pair->initiator, GSS_C_QOP_DEFAULT, &message, &mic);
    succeed(major, minor);
    major = gss_verify_mic(&minor, pair->acceptor, &message, &mic, NULL);
    expect(GSS_ERROR(major), "a stream that was reset goes on");
    major = set_number(&pair->acceptor, &reset_crypto, 1, &minor);
    succeed(major, minor);
    major = gss_verify_mic(&minor, pair->acceptor, &message, &mic, NULL);
    succeed(major, minor);
    gss_release_buffer(&minor, &mic);
}

/* The strength of the protection in bits, as SASL asks for it. */
static int strength(gss_ctx_id_t context)
{
    OM_uint32 major, minor;
    gss_buffer_set_t values;
    int answer;

    major = gss_inquire_sec_context_by_oid(&minor, context, &sasl_ssf, &values);
    succeed(major, minor);
    expect(values->count == 1 && values->elements[0].length == 4, "not a number of 4 bytes");
    answer = ((unsigned char *)values->elements[0].value)[3];
    gss_release_buffer_set(&minor, &values);
    return answer;
}

static void negotiate_flags(gss_cred_id_t *initiator, gss_cred_id_t acceptor)
{
    gss_buffer_desc chosen = bytes_of(&weak, sizeof weak), none = GSS_C_EMPTY_BUFFER;
    OM_uint32 major, minor;
    struct pair pair;

    doing = "NEG_FLAGS";
    /* Keys of 56 bits are below the default minimum. */
    setenv("GSS_NTLM_MINIMUM", "sign-as-asked", 1);
    major = gss_set_cred_option(&minor, initiator, &neg_flags, &chosen);
    succeed(major, minor);
    pair = shake_hands(*initiator, acceptor);
    expect(strength(pair.initiator) == 56 && strength(pair.acceptor) == 56, "the flags were not taken");
    part(&pair);
    major = gss_set_cred_option(&minor, initiator, &neg_flags, &none);
    succeed(major, minor);
    pair = shake_hands(*initiator, acceptor);
    expect(strength(pair.initiator) == 64 && strength(pair.acceptor) == 64, "the flags were not given back");
    part(&pair);
    unsetenv("GSS_NTLM_MINIMUM");
}

/* The length of the file, 0 if there is none. */
static long length_of(const char *path)
{
    FILE *file = fopen(path, "rb");
    long length = 0;

    if (file == NULL)
        return 0;
    if (fseek(file, 0, SEEK_END) == 0)
        length = ftell(file);
    fclose(file);
    return length;
}

static void trace(const char *path, gss_cred_id_t initiator, gss_cred_id_t acceptor)
{
    gss_buffer_desc file = bytes_of(path, strlen(path)), none = GSS_C_EMPTY_BUFFER;
    OM_uint32 major, minor;
    struct pair pair;
    long length;

    doing = "DEBUG";
    major = gssspi_mech_invoke(&minor, &ntlm, &debug, &file);
    succeed(major, minor);
    pair = shake_hands(initiator, acceptor);
    part(&pair);
    length = length_of(path);
    expect(length > 0, "there is no trace");
    major = gssspi_mech_invoke(&minor, &ntlm, &debug, &none);
    succeed(major, minor);
    pair = shake_hands(initiator, acceptor);
    part(&pair);
    expect(length_of(path) == length, "the trace goes on");
}

int main(int count, char **arguments)
{
    char users[4096], trace_file[4096];
    gss_cred_id_t with_password, with_hash, with_file, acceptor;
    gss_name_t name;
    struct pair pair;
    OM_uint32 major, minor;

    expect(count == 2, "the argument is a directory");
    snprintf(users, sizeof users, "%s/users", arguments[1]);
    snprintf(trace_file, sizeof trace_file, "%s/trace", arguments[1]);

    values();

    doing = "credential stores";
    with_password = acquire("DOM\\alice", GSS_NTLMSSP_CS_PASSWORD, "Password", NULL, NULL);
    with_hash = acquire("alice", GSS_NTLMSSP_CS_NTHASH, "a4f49c406510bdcab6824ee7c30fd852", GSS_NTLMSSP_CS_DOMAIN, "DOM");
    with_file = acquire("DOM\\alice", GSS_NTLMSSP_CS_KEYFILE, users, NULL, NULL);
    acceptor = acquire(NULL, GSS_NTLMSSP_CS_KEYFILE, users, NULL, NULL);

    doing = "NTHASH and DOMAIN";
    major = gss_inquire_cred(&minor, with_hash, &name, NULL, NULL, NULL);
    succeed(major, minor);
    expect_alice(name);
    pair = shake_hands(with_hash, acceptor);
    part(&pair);
    doing = "KEYFILE";
    pair = shake_hands(with_file, acceptor);
    part(&pair);
    doing = "PASSWORD";
    pair = shake_hands(with_password, acceptor);

    doing = "REQUIRE_MIC";
    mic_before_the_end(with_password);
    expect(mic_is_required(pair.initiator) == 1 && mic_is_required(pair.acceptor) == 1, "there is no MIC");
    session_keys(&pair);
    reset(&pair);
    doing = "SET_SEQ_NUM";
    major = set_number(&pair.initiator, &set_seq_num, 100, &minor);
    expect_status(GSS_S_UNAVAILABLE, major, minor);
    part(&pair);

    negotiate_flags(&with_password, acceptor);
    trace(trace_file, with_password, acceptor);

    gss_release_cred(&minor, &with_password);
    gss_release_cred(&minor, &with_hash);
    gss_release_cred(&minor, &with_file);
    gss_release_cred(&minor, &acceptor);
    puts("header: everything as expected");
    return 0;
}
