/*
 * Which plugin does libgssapi_krb5 load for NTLM, and does it work? Prints the path of the plugin after a handshake of both
 * sides and a sealed message, or "none" if there is no plugin. With the argument "spnego" the handshake goes through SPNEGO,
 * which may choose only NTLM.
 *
 * The caller sets NTLM_USER_FILE to a file whose first line is DOM:alice:Password. The plugin is the registered one.
 *
 * cc -o registered registered.c -lgssapi_krb5
 */
#define _GNU_SOURCE
#include <gssapi/gssapi.h>
#include <gssapi/gssapi_ext.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static gss_OID_desc spnego = { 6, (void *)"\x2b\x06\x01\x05\x05\x02" };
static gss_OID_desc ntlm = { 10, (void *)"\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a" };

static int remember(struct dl_phdr_info *info, size_t size, void *path)
{
    (void)size;
    if (strstr(info->dlpi_name, "ntlm") != NULL)
        snprintf(path, 4096, "%s", info->dlpi_name);
    return 0;
}

/* Ends the program if `major` is an error. */
static void succeed(const char *doing, OM_uint32 major, OM_uint32 minor)
{
    OM_uint32 ignored, more = 0;
    gss_buffer_desc text = GSS_C_EMPTY_BUFFER;

    if (!GSS_ERROR(major))
        return;
    gss_display_status(&ignored, minor, GSS_C_MECH_CODE, GSS_C_NO_OID, &more, &text);
    fprintf(stderr, "registered: %s: status %#x, %.*s\n", doing, major, (int)text.length, (char *)text.value);
    exit(1);
}

static gss_cred_id_t acquire(gss_name_t name, gss_OID mech, gss_cred_usage_t usage, char *path)
{
    OM_uint32 major, minor;
    gss_OID_set_desc mechs = { 1, mech }, chosen = { 1, &ntlm };
    gss_cred_id_t cred;

    major = gss_acquire_cred(&minor, name, 0, &mechs, usage, &cred, NULL, NULL);
    dl_iterate_phdr(remember, path);
    if (path[0] == '\0') {
        if (!GSS_ERROR(major))
            fputs("registered: a credential of no plugin\n", stderr);
        else
            puts("none");
        exit(GSS_ERROR(major) ? 0 : 1);
    }
    succeed("acquiring a credential", major, minor);
    if (mech == &spnego) {
        major = gss_set_neg_mechs(&minor, cred, &chosen);
        succeed("choosing NTLM", major, minor);
    }
    return cred;
}

int main(int count, char **arguments)
{
    OM_uint32 major, minor;
    gss_OID mech = count > 1 && strcmp(arguments[1], "spnego") == 0 ? &spnego : &ntlm;
    gss_buffer_desc user = { 9, (void *)"DOM\\alice" }, service = { 11, (void *)"HTTP@server" };
    gss_buffer_desc message = { 5, (void *)"hello" }, sealed, opened;
    gss_buffer_desc to_acceptor = GSS_C_EMPTY_BUFFER, to_initiator = GSS_C_EMPTY_BUFFER;
    gss_name_t name, target;
    gss_cred_id_t alice, acceptor;
    gss_ctx_id_t initiating = GSS_C_NO_CONTEXT, accepting = GSS_C_NO_CONTEXT;
    OM_uint32 initiated = GSS_S_CONTINUE_NEEDED, accepted = GSS_S_CONTINUE_NEEDED;
    char path[4096] = "";

    major = gss_import_name(&minor, &user, GSS_C_NT_USER_NAME, &name);
    succeed("importing a name", major, minor);
    alice = acquire(name, mech, GSS_C_INITIATE, path);
    acceptor = acquire(GSS_C_NO_NAME, mech, GSS_C_ACCEPT, path);
    major = gss_import_name(&minor, &service, GSS_C_NT_HOSTBASED_SERVICE, &target);
    succeed("importing the target", major, minor);
    while (initiated == GSS_S_CONTINUE_NEEDED || accepted == GSS_S_CONTINUE_NEEDED) {
        initiated = gss_init_sec_context(&minor, alice, &initiating, target, mech, GSS_C_CONF_FLAG | GSS_C_INTEG_FLAG, 0,
                                         GSS_C_NO_CHANNEL_BINDINGS, &to_initiator, NULL, &to_acceptor, NULL, NULL);
        succeed("initiating", initiated, minor);
        if (accepted == GSS_S_COMPLETE)
            break;
        accepted = gss_accept_sec_context(&minor, &accepting, acceptor, &to_acceptor, GSS_C_NO_CHANNEL_BINDINGS, NULL, NULL,
                                          &to_initiator, NULL, NULL, NULL);
        succeed("accepting", accepted, minor);
        if (initiated == GSS_S_COMPLETE)
            break;
    }
    major = gss_wrap(&minor, initiating, 1, GSS_C_QOP_DEFAULT, &message, NULL, &sealed);
    succeed("sealing", major, minor);
    major = gss_unwrap(&minor, accepting, &sealed, &opened, NULL, NULL);
    succeed("opening", major, minor);
    if (opened.length != message.length || memcmp(opened.value, message.value, message.length) != 0) {
        fputs("registered: another message\n", stderr);
        return 1;
    }
    puts(path);
    return 0;
}
