/*
 * The protection of DCE/RPC packets with NTLM, both sides in one program. doc/SIP.md explains it.
 *
 *     cc -Iinclude -o dce doc/example/dce.c -lgssapi_krb5
 *     ./dce 'EXAMPLE\alice' PASSWORD
 *
 * The account must be in the file that NTLM_USER_FILE names.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gssapi/gssapi_ntlmssp.h>

static gss_OID_desc ntlm = { GSS_NTLMSSP_OID_LENGTH, (void *)GSS_NTLMSSP_OID_STRING };

/* A packet as it is sent: the header, the stub (the call and its arguments), the security trailer, and the signature. */
struct packet {
    char header[24];
    char stub[40];
    char trailer[8];
    char signature[16];
};

enum { PARTS = 4 };

static void expect(int is_so, const char *what)
{
    if (is_so)
        return;
    fprintf(stderr, "dce: failed: %s\n", what);
    exit(1);
}

static void succeed(const char *call, OM_uint32 major, OM_uint32 minor)
{
    OM_uint32 ignored, more = 0;
    gss_buffer_desc words;

    if (!GSS_ERROR(major))
        return;
    if (gss_display_status(&ignored, minor, GSS_C_MECH_CODE, &ntlm, &more, &words) == GSS_S_COMPLETE)
        fprintf(stderr, "dce: %s: %.*s\n", call, (int)words.length, (char *)words.value);
    exit(1);
}

static gss_name_t name_of(const char *words, gss_OID type)
{
    gss_buffer_desc buffer = { strlen(words), (void *)words };
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
    gss_name_t target = name_of("host@server.example.test", GSS_C_NT_HOSTBASED_SERVICE);
    gss_buffer_desc secret = { strlen(password), (void *)password };
    gss_buffer_desc to_server = GSS_C_EMPTY_BUFFER, to_client = GSS_C_EMPTY_BUFFER;
    OM_uint32 ours, theirs, minor;
    gss_cred_id_t cred;

    ours = gss_acquire_cred_with_password(&minor, user, &secret, GSS_C_INDEFINITE, &mechanisms, GSS_C_INITIATE, &cred, NULL,
                                          NULL);
    succeed("gss_acquire_cred_with_password", ours, minor);
    do {
        ours = gss_init_sec_context(&minor, cred, client, target, &ntlm, GSS_C_INTEG_FLAG | GSS_C_CONF_FLAG, 0, NULL,
                                    &to_client, NULL, &to_server, NULL, NULL);
        succeed("gss_init_sec_context", ours, minor);
        gss_release_buffer(&minor, &to_client);
        theirs = gss_accept_sec_context(&minor, server, GSS_C_NO_CREDENTIAL, &to_server, NULL, NULL, NULL, &to_client, NULL,
                                        NULL, NULL);
        succeed("gss_accept_sec_context", theirs, minor);
        gss_release_buffer(&minor, &to_server);
    } while (ours == GSS_S_CONTINUE_NEEDED);
    gss_release_cred(&minor, &cred);
    gss_release_name(&minor, &user);
    gss_release_name(&minor, &target);
}

/* DCE/RPC's order: first everything that is signed, then the signature. */
static void describe(struct packet *packet, gss_iov_buffer_desc iov[PARTS])
{
    iov[0] = (gss_iov_buffer_desc){ GSS_IOV_BUFFER_TYPE_SIGN_ONLY, { sizeof(packet->header), packet->header } };
    iov[1] = (gss_iov_buffer_desc){ GSS_IOV_BUFFER_TYPE_DATA, { sizeof(packet->stub), packet->stub } };
    iov[2] = (gss_iov_buffer_desc){ GSS_IOV_BUFFER_TYPE_SIGN_ONLY, { sizeof(packet->trailer), packet->trailer } };
    iov[3] = (gss_iov_buffer_desc){ GSS_IOV_BUFFER_TYPE_HEADER, { sizeof(packet->signature), packet->signature } };
}

/* Privacy: the stub is sealed in place; the header and the trailer can be read, but not changed. */
static void seal(gss_ctx_id_t from, gss_ctx_id_t to, const struct packet *clear)
{
    struct packet packet = *clear, forged;
    gss_iov_buffer_desc iov[PARTS];
    OM_uint32 major, minor;
    int is_sealed;

    describe(&packet, iov);
    major = gss_wrap_iov(&minor, from, 1, GSS_C_QOP_DEFAULT, &is_sealed, iov, PARTS);
    succeed("gss_wrap_iov", major, minor);
    expect(memcmp(packet.header, clear->header, sizeof(packet.header)) == 0, "the header stays");
    expect(memcmp(packet.stub, clear->stub, sizeof(packet.stub)) != 0, "the stub is sealed");

    forged = packet;
    forged.header[2] ^= 1;
    describe(&forged, iov);
    expect(GSS_ERROR(gss_unwrap_iov(&minor, to, &is_sealed, NULL, iov, PARTS)), "a changed header is noticed");

    /* The refused packet has not changed the context, so the genuine packet is still the next one. */
    describe(&packet, iov);
    major = gss_unwrap_iov(&minor, to, &is_sealed, NULL, iov, PARTS);
    succeed("gss_unwrap_iov", major, minor);
    expect(memcmp(packet.stub, clear->stub, sizeof(packet.stub)) == 0, "the stub is there again");
}

/* Integrity: nothing is sealed. */
static void sign(gss_ctx_id_t from, gss_ctx_id_t to, const struct packet *clear)
{
    struct packet packet = *clear;
    gss_iov_buffer_desc iov[PARTS];
    OM_uint32 major, minor;

    describe(&packet, iov);
    iov[3].type = GSS_IOV_BUFFER_TYPE_MIC_TOKEN;
    major = gss_get_mic_iov(&minor, from, GSS_C_QOP_DEFAULT, iov, PARTS);
    succeed("gss_get_mic_iov", major, minor);
    expect(memcmp(packet.stub, clear->stub, sizeof(packet.stub)) == 0, "the stub stays");
    major = gss_verify_mic_iov(&minor, to, NULL, iov, PARTS);
    succeed("gss_verify_mic_iov", major, minor);
}

int main(int count, char **arguments)
{
    static const struct packet packet = { "the header of a packet", "what is called with which arguments", "trailer", "" };
    gss_ctx_id_t client = GSS_C_NO_CONTEXT, server = GSS_C_NO_CONTEXT;
    OM_uint32 minor;

    expect(count == 3, "the arguments are an account and its password");
    establish(arguments[1], arguments[2], &client, &server);
    seal(client, server, &packet);
    seal(server, client, &packet);
    sign(client, server, &packet);
    sign(server, client, &packet);
    gss_delete_sec_context(&minor, &client, GSS_C_NO_BUFFER);
    gss_delete_sec_context(&minor, &server, GSS_C_NO_BUFFER);
    puts("dce: all checks passed");
    return 0;
}
