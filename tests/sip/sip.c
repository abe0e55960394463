#define _DEFAULT_SOURCE
#include "sip.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const struct slice nothing = { NULL, 0 };

/* ---- Text ---- */

bool slice_is(struct slice slice, const char *words)
{
    return slice.at != NULL && slice.length == strlen(words) && memcmp(slice.at, words, slice.length) == 0;
}

bool slice_is_like(struct slice slice, const char *words)
{
    return slice.at != NULL && slice.length == strlen(words) && strncasecmp(slice.at, words, slice.length) == 0;
}

bool slice_number(struct slice slice, uint32_t *number)
{
    uint64_t sum = 0;

    if (slice.length == 0 || slice.length > 10)
        return false;
    for (size_t i = 0; i < slice.length; i++) {
        if (slice.at[i] < '0' || slice.at[i] > '9')
            return false;
        sum = sum * 10 + (uint64_t)(slice.at[i] - '0');
    }
    *number = (uint32_t)sum;
    return sum <= UINT32_MAX;
}

void text_clear(struct text *text)
{
    text->length = 0;
    text->bytes[0] = '\0';
    text->is_full = false;
}

void text_add(struct text *text, const char *format, ...)
{
    size_t room = sizeof(text->bytes) - text->length;
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(text->bytes + text->length, room, format, arguments);
    va_end(arguments);
    if (length >= 0 && (size_t)length < room) {
        text->length += (size_t)length;
    } else {
        text->bytes[text->length] = '\0';
        text->is_full = true;
    }
}

void text_add_bytes(struct text *text, const char *bytes, size_t length)
{
    if (length >= sizeof(text->bytes) - text->length) {
        text->is_full = true;
        return;
    }
    if (length != 0)
        memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
    text->bytes[text->length] = '\0';
}

void hex_encode(const void *bytes, size_t length, char *digits)
{
    const unsigned char *from = bytes;

    for (size_t i = 0; i < length; i++)
        sprintf(digits + 2 * i, "%02x", from[i]);
    digits[2 * length] = '\0';
}

static int hex_value(char digit)
{
    static const char digits[] = "0123456789abcdefABCDEF";
    const char *found = digit == '\0' ? NULL : strchr(digits, digit);
    int value = found == NULL ? -1 : (int)(found - digits);

    return value < 16 ? value : value - 6;
}

bool hex_decode(struct slice digits, unsigned char *bytes, size_t room, size_t *length)
{
    if (digits.length % 2 != 0 || digits.length / 2 > room)
        return false;
    for (size_t i = 0; i < digits.length; i += 2) {
        int high = hex_value(digits.at[i]), low = hex_value(digits.at[i + 1]);

        if (high < 0 || low < 0)
            return false;
        bytes[i / 2] = (unsigned char)(high * 16 + low);
    }
    *length = digits.length / 2;
    return true;
}

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct text *text, const void *bytes, size_t length)
{
    const unsigned char *from = bytes;

    for (size_t i = 0; i < length; i += 3) {
        size_t count = length - i < 3 ? length - i : 3;
        uint32_t bits = 0;
        char digits[4];

        for (size_t k = 0; k < 3; k++)
            bits = bits << 8 | (k < count ? from[i + k] : 0);
        for (size_t k = 0; k < 4; k++)
            digits[k] = k <= count ? base64_digits[bits >> (18 - 6 * k) & 63] : '=';
        text_add_bytes(text, digits, 4);
    }
}

bool base64_decode(struct slice digits, unsigned char *bytes, size_t room, size_t *length)
{
    uint32_t bits = 0;
    size_t padding = 0;

    if (digits.length % 4 != 0)
        return false;
    while (padding < 2 && padding < digits.length && digits.at[digits.length - 1 - padding] == '=')
        padding++;
    *length = digits.length / 4 * 3 - padding;
    if (*length > room)
        return false;
    for (size_t i = 0; i < digits.length; i++) {
        const char *found = digits.at[i] == '\0' ? NULL : strchr(base64_digits, digits.at[i]);

        if (found == NULL && i < digits.length - padding)
            return false;
        bits = bits << 6 | (found == NULL ? 0 : (uint32_t)(found - base64_digits));
        for (size_t k = 0; i % 4 == 3 && k < 3; k++) {
            size_t place = i / 4 * 3 + k;

            if (place < *length)
                bytes[place] = (unsigned char)(bits >> (16 - 8 * k));
        }
    }
    return true;
}

/* ---- Messages ---- */

static const char blanks[] = " \t";

/* A name, which is a "token" of RFC 3261 25.1. */
static bool is_token(const char *words)
{
    size_t length = strspn(words, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.!%*_+`'~");

    return length != 0 && words[length] == '\0';
}

static char *trim(char *words)
{
    size_t length;

    words += strspn(words, blanks);
    for (length = strlen(words); length != 0 && strchr(blanks, words[length - 1]) != NULL;)
        words[--length] = '\0';
    return words;
}

/* Finds the empty line that ends the header fields: returns the length of everything before it, including the last line's end. */
static bool head_length(const char *bytes, size_t length, size_t *head)
{
    for (size_t i = 0; i + 4 <= length; i++) {
        if (memcmp(bytes + i, "\r\n\r\n", 4) == 0) {
            *head = i + 2;
            return true;
        }
    }
    return false;
}

static bool parse_start(struct sip_message *message, char *line)
{
    char *first = line, *second = strchr(line, ' '), *third;

    if (second == NULL)
        return false;
    *second++ = '\0';
    third = strchr(second, ' ');
    if (third == NULL)
        return false;
    *third++ = '\0';
    if (strcmp(first, "SIP/2.0") == 0) {
        if (strlen(second) != 3 || strspn(second, "0123456789") != 3 || second[0] < '1' || second[0] > '6')
            return false;
        message->code = (second[0] - '0') * 100 + (second[1] - '0') * 10 + second[2] - '0';
        return true;
    }
    message->method = first;
    message->uri = second;
    return is_token(first) && *second != '\0' && strcmp(third, "SIP/2.0") == 0;
}

static const char *long_name(const char *name)
{
    static const struct {
        char letter;
        const char *name;
    } compact[] = {
        { 'c', "Content-Type" }, { 'e', "Content-Encoding" }, { 'f', "From" },    { 'i', "Call-ID" }, { 'k', "Supported" },
        { 'l', "Content-Length" }, { 'm', "Contact" },        { 's', "Subject" }, { 't', "To" },      { 'v', "Via" },
    };

    for (size_t i = 0; name[1] == '\0' && i < sizeof(compact) / sizeof(compact[0]); i++) {
        if ((name[0] | 0x20) == compact[i].letter)
            return compact[i].name;
    }
    return name;
}

static bool parse_header(struct sip_message *message, char *line)
{
    char *colon = strchr(line, ':');

    if (colon == NULL || message->header_count == SIP_MAX_HEADERS)
        return false;
    *colon = '\0';
    line = trim(line);
    message->headers[message->header_count].name = long_name(line);
    message->headers[message->header_count].value = trim(colon + 1);
    message->header_count++;
    return is_token(line);
}

/* Each signed value must occur exactly once, so that the signed value is the one that is used. */
static bool has_one_of_each(const struct sip_message *message)
{
    static const char *const names[] = { "From", "To", "Call-ID", "CSeq", "Content-Length", "Expires" };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        size_t count = 0;

        for (size_t k = 0; k < message->header_count; k++)
            count += strcasecmp(message->headers[k].name, names[i]) == 0;
        if (count > 1 || (count == 0 && strcmp(names[i], "Expires") != 0))
            return false;
    }
    return true;
}

/* The method in CSeq, which is signed, must be that of the first line, which is not. */
static bool parse_cseq(struct sip_message *message)
{
    const char *value = sip_header(message, "CSeq");
    uint32_t number;

    message->cseq_number = (struct slice){ value, strcspn(value, blanks) };
    value += message->cseq_number.length;
    value += strspn(value, blanks);
    message->cseq_method = (struct slice){ value, strlen(value) };
    return slice_number(message->cseq_number, &number) && is_token(value) &&
           (message->method == NULL || slice_is(message->cseq_method, message->method));
}

enum sip_outcome sip_parse(struct sip_message *message, const char *bytes, size_t length, size_t *used)
{
    size_t head, content;
    uint32_t body;
    char *line, *end;

    memset(message, 0, offsetof(struct sip_message, text));
    if (!head_length(bytes, length, &head))
        return length < SIP_MAX_MESSAGE ? SIP_PART : SIP_MALFORMED;
    content = head + 2;
    if (content > SIP_MAX_MESSAGE || memchr(bytes, '\0', head) != NULL)
        return SIP_MALFORMED;
    memcpy(message->text, bytes, head);
    message->text[head] = '\0';

    /* A line that begins with a blank continues the line before. */
    for (char *fold = strstr(message->text, "\r\n"); fold != NULL; fold = strstr(fold + 2, "\r\n")) {
        if (fold[2] == ' ' || fold[2] == '\t')
            fold[0] = fold[1] = ' ';
    }
    for (line = message->text; *line != '\0'; line = end + 2) {
        end = strstr(line, "\r\n");
        *end = '\0';
        if (strpbrk(line, "\r\n") != NULL)
            return SIP_MALFORMED;
        if (!(line == message->text ? parse_start(message, line) : parse_header(message, line)))
            return SIP_MALFORMED;
    }
    if (!has_one_of_each(message) || !parse_cseq(message))
        return SIP_MALFORMED;

    const char *stated = sip_header(message, "Content-Length");
    if (!slice_number((struct slice){ stated, strlen(stated) }, &body) || body > SIP_MAX_MESSAGE - content)
        return SIP_MALFORMED;
    if (length < content + body)
        return SIP_PART;
    memcpy(message->text + content, bytes + content, body);
    message->body = (struct slice){ message->text + content, body };
    *used = content + body;
    return SIP_WHOLE;
}

/* ---- Header fields ---- */

const char *sip_header(const struct sip_message *message, const char *name)
{
    for (size_t i = 0; i < message->header_count; i++) {
        if (strcasecmp(message->headers[i].name, name) == 0)
            return message->headers[i].value;
    }
    return NULL;
}

/* The closing quote of the quoted text that begins here, or NULL. */
static const char *closing_quote(const char *at)
{
    for (at++; *at != '\0' && *at != '"'; at++) {
        if (*at == '\\' && at[1] != '\0')
            at++;
    }
    return *at == '"' ? at : NULL;
}

/* The URI of the address that begins here, and the beginning of the parameters after it. */
static struct slice address(const char *at, const char **rest)
{
    struct slice uri;
    size_t length;

    *rest = at + strlen(at);
    at += strspn(at, blanks);
    if (*at == '"') {
        at = closing_quote(at);
        if (at == NULL)
            return nothing;
        at++;
    }
    length = strcspn(at, "<;,");
    if (at[length] == '<') {
        const char *begin = at + length + 1, *end = strchr(begin, '>');

        if (end == NULL)
            return nothing;
        uri = (struct slice){ begin, (size_t)(end - begin) };
        *rest = end + 1;
    } else {
        uri = (struct slice){ at, strcspn(at, ";, \t") };
        *rest = at + length;
    }
    return uri;
}

/* The value of one of NAME=VALUE, NAME="VALUE", ..., without the quotes. */
static struct slice parameter(const char *at, const char *wanted)
{
    for (;;) {
        struct slice name, value;

        at += strspn(at, " \t,;");
        if (*at == '\0')
            return nothing;
        name = (struct slice){ at, strcspn(at, "=,; \t") };
        at += name.length;
        value = (struct slice){ at, 0 };
        at += strspn(at, blanks);
        if (*at == '=') {
            at += 1 + strspn(at + 1, blanks);
            value = (struct slice){ at, strcspn(at, ",; \t") };
            if (*at == '"') {
                const char *end = closing_quote(at);

                if (end == NULL)
                    return nothing;
                value = (struct slice){ at + 1, (size_t)(end - at) - 1 };
                at = end + 1;
            } else {
                at += value.length;
            }
        }
        if (slice_is_like(name, wanted))
            return value;
    }
}

struct slice sip_uri(const char *value)
{
    const char *rest;

    return address(value, &rest);
}

struct slice sip_tag(const char *value)
{
    const char *rest;

    return address(value, &rest).at == NULL ? nothing : parameter(rest, "tag");
}

/* The text after "NTLM" in the first header field with one of these names and this scheme, or NULL. */
static const char *ntlm_header(const struct sip_message *message, const char *const names[])
{
    for (size_t i = 0; i < message->header_count; i++) {
        for (const char *const *name = names; *name != NULL; name++) {
            const char *value = message->headers[i].value;

            if (strcasecmp(message->headers[i].name, *name) == 0 && strncasecmp(value, "NTLM", 4) == 0 &&
                (value[4] == '\0' || strchr(blanks, value[4]) != NULL))
                return value + 4;
        }
    }
    return NULL;
}

bool sip_ntlm(const struct sip_message *message, enum sip_sender sender, struct sip_ntlm *ntlm)
{
    static const char *const of_client[] = { "Authorization", "Proxy-Authorization", NULL };
    static const char *const of_server[] = { "Authentication-Info", "Proxy-Authentication-Info",
                                             "WWW-Authenticate",    "Proxy-Authenticate",       NULL };
    bool is_client = sender == SIP_CLIENT;
    const char *value = ntlm_header(message, is_client ? of_client : of_server);
    struct slice version;

    memset(ntlm, 0, sizeof(*ntlm));
    if (value == NULL)
        return false;
    version = parameter(value, "version");
    ntlm->version = 2;
    if (version.at != NULL && !slice_number(version, &ntlm->version))
        return false;
    ntlm->opaque = parameter(value, "opaque");
    ntlm->realm = parameter(value, "realm");
    ntlm->targetname = parameter(value, "targetname");
    ntlm->gssapi_data = parameter(value, "gssapi-data");
    ntlm->random = parameter(value, is_client ? "crand" : "srand");
    ntlm->number = parameter(value, is_client ? "cnum" : "snum");
    ntlm->signature = parameter(value, is_client ? "response" : "rspauth");
    return true;
}

/* ---- The signed text ---- */

/* The sender's identity by the message: a SIP and a telephone address, from one or more header fields. */
static void identities(const struct sip_message *message, struct slice *sip, struct slice *tel)
{
    const char *name = "P-Asserted-Identity";

    if (sip_header(message, name) == NULL)
        name = "P-Preferred-Identity";
    for (size_t i = 0; i < message->header_count; i++) {
        const char *at = message->headers[i].value;

        if (strcasecmp(message->headers[i].name, name) != 0)
            continue;
        while (*at != '\0') {
            struct slice uri = address(at, &at);

            if (sip->at == NULL && uri.length >= 4 && strncasecmp(uri.at, "sip:", 4) == 0)
                *sip = uri;
            else if (tel->at == NULL && uri.length >= 4 && strncasecmp(uri.at, "tel:", 4) == 0)
                *tel = uri;
            at += strcspn(at, ",");
            at += strspn(at, ", \t");
        }
    }
}

static bool add_value(struct text *text, struct slice value)
{
    if (value.length != 0 && (memchr(value.at, '<', value.length) != NULL || memchr(value.at, '>', value.length) != NULL))
        return false;
    text_add_bytes(text, "<", 1);
    text_add_bytes(text, value.at, value.length);
    text_add_bytes(text, ">", 1);
    return true;
}

static struct slice whole(const char *words)
{
    return words == NULL ? nothing : (struct slice){ words, strlen(words) };
}

bool sip_signed_text(const struct sip_message *message, const struct sip_ntlm *ntlm, struct text *text)
{
    const char *from = sip_header(message, "From"), *to = sip_header(message, "To");
    struct slice sip = nothing, tel = nothing, values[16];
    char code[12];
    size_t count = 0;
    bool is_fine = true;

    values[count++] = whole("NTLM");
    values[count++] = ntlm->random;
    values[count++] = ntlm->number;
    values[count++] = ntlm->realm;
    values[count++] = ntlm->targetname;
    values[count++] = whole(sip_header(message, "Call-ID"));
    values[count++] = message->cseq_number;
    values[count++] = message->cseq_method;
    values[count++] = sip_uri(from);
    values[count++] = sip_tag(from);
    /* Versions 3 and 4 sign more. */
    if (ntlm->version > 2)
        values[count++] = sip_uri(to);
    values[count++] = sip_tag(to);
    if (ntlm->version > 2) {
        identities(message, &sip, &tel);
        values[count++] = sip;
        values[count++] = tel;
    }
    values[count++] = whole(sip_header(message, "Expires"));
    if (message->code != 0) {
        snprintf(code, sizeof(code), "%d", message->code);
        values[count++] = whole(code);
    }

    text_clear(text);
    for (size_t i = 0; i < count; i++)
        is_fine &= add_value(text, values[i]);
    return is_fine && !text->is_full;
}
