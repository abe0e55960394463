/*
 * Connectionless NTLM as SIP uses it ([MS-SIPAE]), both sides in one program. doc/SIP.md explains it.
 *
 *     cc -Iinclude -o sip doc/example/sip.c -lgssapi_krb5
 *     ./sip 'EXAMPLE\alice' PASSWORD
 *
 * The account must be in the file that NTLM_USER_FILE names.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gssapi/gssapi_ntlmssp.h>

static gss_OID_desc ntlm = { GSS_NTLMSSP_OID_LENGTH, (void *)GSS_NTLMSSP_OID_STRING };
static gss_OID_desc set_seq_num = { GSS_NTLMSSP_SET_SEQ_NUM_OID_LENGTH, (void *)GSS_NTLMSSP_SET_SEQ_NUM_OID_STRING };

/* The client sends no first token, so the acceptor is given this one: the header of RFC 2743 3.1 with nothing in it. */
static gss_buffer_desc start = { 14, "\x60\x0c\x06\x0a" GSS_NTLMSSP_OID_STRING };

static void expect(int is_so, const char *what)
{
    if (is_so)
        return;
    fprintf(stderr, "sip: failed: %s\n", what);
    exit(1);
}

static void succeed(const char *call, OM_uint32 major, OM_uint32 minor)
{
    OM_uint32 ignored, more = 0;
    gss_buffer_desc words;

    if (!GSS_ERROR(major))
        return;
    if (gss_display_status(&ignored, minor, GSS_C_MECH_CODE, &ntlm, &more, &words) == GSS_S_COMPLETE)
        fprintf(stderr, "sip: %s: %.*s\n", call, (int)words.length, (char *)words.value);
    exit(1);
}

static gss_buffer_desc text(const char *words)
{
    return (gss_buffer_desc){ strlen(words), (void *)words };
}

static gss_name_t name_of(const char *words, gss_OID type)
{
    gss_buffer_desc buffer = text(words);
    OM_uint32 major, minor;
    gss_name_t name;

    major = gss_import_name(&minor, &buffer, type, &name);
    succeed("gss_import_name", major, minor);
    return name;
}

static void establish(const char *account, const char *password, gss_ctx_id_t *client, gss_ctx_id_t *server)
{
    gss_OID_set_desc mechanisms = { 1, &ntlm };
    gss_name_t user = name_of(account, GSS_C_NT_USER_NAME);
    gss_name_t target = name_of("sip@registrar.example.test", GSS_C_NT_HOSTBASED_SERVICE), source;
    gss_buffer_desc secret = text(password), nothing = GSS_C_EMPTY_BUFFER, challenge, authenticate;
    OM_uint32 major, minor, flags, request = GSS_C_INTEG_FLAG | GSS_C_DATAGRAM_FLAG;
    gss_cred_id_t initiate, accept;

    major = gss_acquire_cred_with_password(&minor, user, &secret, GSS_C_INDEFINITE, &mechanisms, GSS_C_INITIATE, &initiate,
                                           NULL, NULL);
    succeed("gss_acquire_cred_with_password", major, minor);
    major = gss_acquire_cred(&minor, GSS_C_NO_NAME, GSS_C_INDEFINITE, &mechanisms, GSS_C_ACCEPT, &accept, NULL, NULL);
    succeed("gss_acquire_cred", major, minor);

    /* The client's first call gives nothing to send: gssapi-data="". */
    major = gss_init_sec_context(&minor, initiate, client, target, &ntlm, request, 0, NULL, &nothing, NULL, &authenticate,
                                 NULL, NULL);
    succeed("the first gss_init_sec_context", major, minor);
    expect(major == GSS_S_CONTINUE_NEEDED && authenticate.length == 0, "the client begins without a token");

    major = gss_accept_sec_context(&minor, server, accept, &start, NULL, NULL, NULL, &challenge, NULL, NULL, NULL);
    succeed("the first gss_accept_sec_context", major, minor);
    expect(major == GSS_S_CONTINUE_NEEDED, "the server waits for the client");

    major = gss_init_sec_context(&minor, initiate, client, target, &ntlm, request, 0, NULL, &challenge, NULL, &authenticate,
                                 &flags, NULL);
    succeed("the second gss_init_sec_context", major, minor);
    expect(major == GSS_S_COMPLETE && (flags & request) == request, "the client is done");
    gss_release_buffer(&minor, &challenge);

    major = gss_accept_sec_context(&minor, server, accept, &authenticate, NULL, &source, NULL, &nothing, &flags, NULL, NULL);
    succeed("the second gss_accept_sec_context", major, minor);
    expect(major == GSS_S_COMPLETE && (flags & request) == request && nothing.length == 0, "the server is done");
    gss_release_buffer(&minor, &authenticate);

    gss_release_name(&minor, &source);
    gss_release_name(&minor, &target);
    gss_release_name(&minor, &user);
    gss_release_cred(&minor, &accept);
    gss_release_cred(&minor, &initiate);
}

/* Set once for each context: the number is used for all messages in both directions, and does not advance. */
static void set_number(gss_ctx_id_t *context)
{
    uint32_t number = 100;
    gss_buffer_desc value = { sizeof(number), &number };
    OM_uint32 major, minor;

    major = gss_set_sec_context_option(&minor, context, &set_seq_num, &value);
    succeed("gss_set_sec_context_option", major, minor);
}

/* A signature is 16 bytes; SIP sends it as 32 hexadecimal digits. */
static gss_buffer_desc sign(gss_ctx_id_t context, gss_buffer_desc message)
{
    gss_buffer_desc signature;
    OM_uint32 major, minor;

    major = gss_get_mic(&minor, context, GSS_C_QOP_DEFAULT, &message, &signature);
    succeed("gss_get_mic", major, minor);
    expect(signature.length == 16, "a signature is 16 bytes");
    return signature;
}

static int is_genuine(gss_ctx_id_t context, gss_buffer_desc message, gss_buffer_desc signature)
{
    OM_uint32 minor;

    return !GSS_ERROR(gss_verify_mic(&minor, context, &message, &signature, NULL));
}

/* The same bytes in several buffers have the same signature. */
static void sign_parts(gss_ctx_id_t context, gss_buffer_desc whole, gss_buffer_desc expected)
{
    char *bytes = whole.value;
    gss_iov_buffer_desc iov[] = {
        { GSS_IOV_BUFFER_TYPE_DATA, { 6, bytes } },
        { GSS_IOV_BUFFER_TYPE_SIGN_ONLY, { whole.length - 6, bytes + 6 } },
        { GSS_IOV_BUFFER_TYPE_MIC_TOKEN | GSS_IOV_BUFFER_FLAG_ALLOCATE, GSS_C_EMPTY_BUFFER },
    };
    OM_uint32 major, minor;

    major = gss_get_mic_iov(&minor, context, GSS_C_QOP_DEFAULT, iov, 3);
    succeed("gss_get_mic_iov", major, minor);
    expect(iov[2].buffer.length == expected.length && memcmp(iov[2].buffer.value, expected.value, expected.length) == 0,
           "several buffers have the signature of one");
    gss_release_iov_buffer(&minor, iov, 3);
}

int main(int count, char **arguments)
{
    /* The text that [MS-SIPAE] signs for a message, shortened; the numbers in it (1, 2) are SIP's own. */
    gss_buffer_desc first = text("<NTLM><13317733><1><SIP Communications Service><...>");
    gss_buffer_desc second = text("<NTLM><9616454F><2><SIP Communications Service><...>");
    gss_ctx_id_t client = GSS_C_NO_CONTEXT, server = GSS_C_NO_CONTEXT;
    gss_buffer_desc signatures[2];
    OM_uint32 minor;

    expect(count == 3, "the arguments are an account and its password");
    establish(arguments[1], arguments[2], &client, &server);
    set_number(&client);
    set_number(&server);

    signatures[0] = sign(client, first);
    signatures[1] = sign(client, second);
    expect(is_genuine(server, second, signatures[1]), "messages may overtake each other");
    expect(is_genuine(server, first, signatures[0]), "and arrive later");
    expect(!is_genuine(server, first, signatures[1]), "a signature of something else is refused");
    expect(is_genuine(server, first, signatures[0]), "a message that comes again is genuine: the application has to notice");
    sign_parts(client, first, signatures[0]);
    gss_release_buffer(&minor, &signatures[0]);
    gss_release_buffer(&minor, &signatures[1]);

    signatures[0] = sign(server, second);
    expect(is_genuine(client, second, signatures[0]), "the other direction");
    gss_release_buffer(&minor, &signatures[0]);

    gss_delete_sec_context(&minor, &client, GSS_C_NO_BUFFER);
    gss_delete_sec_context(&minor, &server, GSS_C_NO_BUFFER);
    puts("sip: all checks passed");
    return 0;
}
