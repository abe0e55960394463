/*
 * Does the SPNEGO of this libgssapi_krb5 see a mechListMIC? The one of krb5 1.21.0 to 1.22.1 loses it, and the rest of the
 * token is then empty, which is an error. This program finds out as a server: it passes a NegTokenInit with a NEGOTIATE_MESSAGE,
 * then a NegTokenResp that has only a mechListMIC (RFC 4178 4.2).
 *
 * The caller sets GSS_MECH_CONFIG to an NTLM mechanism and NTLM_USER_FILE to a user file with any account. Prints "sees" or
 * "loses".
 *
 * cc -Wall -Wextra -o spnego_mic spnego_mic.c -lgssapi_krb5
 */
#include <gssapi/gssapi.h>
#include <stdio.h>

static const char init[] =
    "\x60\x48\x06\x06\x2b\x06\x01\x05\x05\x02\xa0\x3e\x30\x3c\xa0\x0e\x30\x0c\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a"
    "\xa2\x2a\x04\x28NTLMSSP\0\x01\0\0\0\x17\x82\x08\xe2\0\0\0\0\x28\0\0\0\0\0\0\0\x28\0\0\0\x06\x03\x80\x25\0\0\0\x0f";
static const char mic_alone[] = "\xa1\x16\x30\x14\xa3\x12\x04\x10" "0123456789abcdef";

static gss_ctx_id_t context = GSS_C_NO_CONTEXT;

static OM_uint32 step(const char *token, size_t length)
{
    OM_uint32 major, minor;
    gss_buffer_desc input = { length, (void *)token }, output = GSS_C_EMPTY_BUFFER;

    major = gss_accept_sec_context(&minor, &context, GSS_C_NO_CREDENTIAL, &input, GSS_C_NO_CHANNEL_BINDINGS, NULL, NULL,
                                   &output, NULL, NULL, NULL);
    gss_release_buffer(&minor, &output);
    return major;
}

int main(void)
{
    OM_uint32 major, minor;

    major = step(init, sizeof init - 1);
    if (major == GSS_S_CONTINUE_NEEDED)
        major = step(mic_alone, sizeof mic_alone - 1);
    else
        major = GSS_S_FAILURE;
    gss_delete_sec_context(&minor, &context, GSS_C_NO_BUFFER);
    if (major == GSS_S_CONTINUE_NEEDED)
        puts("sees");
    else if (major == GSS_S_DEFECTIVE_TOKEN)
        puts("loses");
    else
        return 1;
    return 0;
}
