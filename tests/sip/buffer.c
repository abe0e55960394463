/*
 * Prints the signed text of a SIP message, which it reads from standard input:
 *
 *     buffer client|server VERSION
 *
 * VERSION 0 means the version that the message names. The status is 3 for a malformed message, and 4 for one that cannot be
 * signed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sip.h"

int main(int count, char **arguments)
{
    static char bytes[SIP_MAX_MESSAGE + 1];
    static struct sip_message message;
    static struct text text;
    struct sip_ntlm ntlm;
    size_t length, used;

    if (count != 3) {
        fprintf(stderr, "usage: buffer client|server VERSION\n");
        return 2;
    }
    length = fread(bytes, 1, sizeof(bytes), stdin);
    if (sip_parse(&message, bytes, length, &used) != SIP_WHOLE)
        return 3;
    if (!sip_ntlm(&message, strcmp(arguments[1], "client") == 0 ? SIP_CLIENT : SIP_SERVER, &ntlm))
        return 4;
    if (atoi(arguments[2]) != 0)
        ntlm.version = (uint32_t)atoi(arguments[2]);
    if (!sip_signed_text(&message, &ntlm, &text))
        return 4;
    puts(text.bytes);
    return 0;
}
