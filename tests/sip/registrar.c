/*
 * A SIP registrar that speaks the NTLM of [MS-SIPAE], over TCP on the loopback interface.
 *
 *     registrar [-v VERSION] [-s START] [-f FLAGS] [-p PORT] [-w SECONDS] [-a]
 *
 *     -v   2, 3 or 4: the highest version of the authentication protocol, 4 by default
 *     -s   the acceptor's first token, which no client sends: framed (default), signature or negotiate
 *     -f   NegotiateFlags for GSS_NTLMSSP_NEG_FLAGS, in hexadecimal; 40 by default, which is DATAGRAM alone: the registrar asks
 *          for connectionless NTLM and leaves the other flags to the mechanism. "none" sets no flags
 *     -p   the port, by default any
 *     -w   seconds to wait for a client's next message, 20 by default
 *     -a   also acts as an attacker: once on each connection it sends a forged and a replayed message
 *
 * It prints its port as the first line of standard output, and what happens on standard error. It serves one connection after
 * the other until it is ended. The accounts are those of the mechanism: NTLM_USER_FILE.
 */
#define _DEFAULT_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "association.h"
#include "program.h"

#define REALM "SIP Communications Service"
#define TARGETNAME "registrar.example.test"

/*
 * In connectionless NTLM the server sends the first message, but an acceptor must give GSS-API a first token, by which the
 * mechglue finds the mechanism.
 */
static const struct start {
    const char *name, *meaning;
    gss_buffer_desc token;
} starts[] = {
    { "framed", "the header of a first token that names NTLM, and nothing in it",
      { 14, "\x60\x0c\x06\x0a" GSS_NTLMSSP_OID_STRING } },
    { "signature", "the eight bytes that NTLM messages begin with", { 8, "NTLMSSP" } },
    /* gss-ntlmssp 1.2.0 accepts only this one. */
    { "negotiate", "a NEGOTIATE_MESSAGE with DATAGRAM that no client has sent",
      { 40, "NTLMSSP\0\x01\0\0\0\x57\x82\x98\xe2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x05\x02\xce\x0e\0\0\0\x0f" } },
};

static struct {
    uint32_t version;
    const struct start *start;
    gss_cred_id_t cred;
    int patience;
    bool is_attacker;
    /* The tag of the registrar in every dialog. */
    struct digits tag;
} registrar = { .version = 4, .start = &starts[0], .patience = 20 };

/* One connection. */
struct client {
    struct wire wire;
    /* The association in use, and the one that a handshake is making. */
    struct association association, next;
    char account[256];
    /* Everything that is sent when a message has been processed. */
    struct text out;
    /* The dialog of a subscription, and the number of the last request in it. */
    char subscriber[256], subscribed[256], call_id[256];
    unsigned subscription_number;
    /* The last message to this client that the attacker saw, and whether the attack was made. */
    struct text seen;
    bool was_attacked;
};

/* ---- Sending ---- */

static void queue(struct client *client, const struct text *text)
{
    text_add_bytes(&client->out, text->bytes, text->length);
    client->out.is_full |= text->is_full;
}

/* Signs the message if that is possible. */
static bool queue_signed(struct client *client, const struct text *plain)
{
    static const struct text no_data;
    static struct text sent;

    if (!association_sign(&client->association, plain, &no_data, &sent))
        return false;
    queue(client, &sent);
    client->seen = sent;
    return true;
}

static void begin_response(struct text *text, const struct sip_message *request, const char *status)
{
    const char *to = sip_header(request, "To");

    text_clear(text);
    text_add(text, "SIP/2.0 %s\r\n", status);
    for (size_t i = 0; i < request->header_count; i++) {
        if (strcmp(request->headers[i].name, "Via") == 0)
            text_add(text, "Via: %s\r\n", request->headers[i].value);
    }
    text_add(text, "From: %s\r\nTo: %s", sip_header(request, "From"), to);
    if (sip_tag(to).at == NULL)
        text_add(text, ";tag=%s", registrar.tag.digits);
    text_add(text, "\r\nCall-ID: %s\r\nCSeq: %s\r\n", sip_header(request, "Call-ID"), sip_header(request, "CSeq"));
}

static void end_message(struct text *text, const char *body)
{
    text_add(text, "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
}

/* Sends a 401, with the CHALLENGE_MESSAGE if there is one. It is the only answer that is not signed. */
static void challenge(struct client *client, const struct sip_message *request, const gss_buffer_desc *token)
{
    static struct text response;

    begin_response(&response, request, "401 Unauthorized");
    text_add(&response, "WWW-Authenticate: NTLM realm=\"" REALM "\", targetname=\"" TARGETNAME "\"");
    if (registrar.version > 2)
        text_add(&response, ", version=%u", (unsigned)registrar.version);
    if (token != NULL) {
        text_add(&response, ", opaque=\"%s\", gssapi-data=\"", client->next.opaque);
        base64_encode(&response, token->value, token->length);
        text_add(&response, "\"");
    }
    text_add(&response, "\r\n");
    end_message(&response, "");
    say("401 Unauthorized, WWW-Authenticate: NTLM, realm \"" REALM "\", targetname \"" TARGETNAME "\"%s",
        token == NULL ? "" : ", opaque and gssapi-data with the CHALLENGE_MESSAGE");
    queue(client, &response);
}

static void respond(struct client *client, const struct sip_message *request, const char *status)
{
    static struct text response;
    const char *expires = sip_header(request, "Expires"), *contact = sip_header(request, "Contact");
    bool is_lasting = slice_is(request->cseq_method, "REGISTER") || slice_is(request->cseq_method, "SUBSCRIBE");

    say("%s, signed", status);
    begin_response(&response, request, status);
    if (slice_is(request->cseq_method, "REGISTER") && contact != NULL)
        /* Some clients subscribe only to what is listed here. */
        text_add(&response, "Contact: %s\r\nAllow-Events: vnd-microsoft-roaming-contacts\r\n", contact);
    if (is_lasting)
        text_add(&response, "Expires: %s\r\n", expires == NULL ? "600" : expires);
    end_message(&response, "");
    queue_signed(client, &response);
}

/* Sends a request of the registrar to the subscriber. */
static void notify(struct client *client, const char *method, const char *state)
{
    static struct text request;
    struct slice uri = sip_uri(client->subscriber);
    struct digits branch = random_digits();

    say("%s to the subscriber, signed", method);
    text_clear(&request);
    text_add(&request, "%s %.*s SIP/2.0\r\n", method, (int)uri.length, uri.at == NULL ? "" : uri.at);
    text_add(&request, "Via: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bK%s\r\n", branch.digits);
    text_add(&request, "Max-Forwards: 70\r\nFrom: %s;tag=%s\r\n", client->subscribed, registrar.tag.digits);
    text_add(&request, "To: %s\r\nCall-ID: %s\r\n", client->subscriber, client->call_id);
    text_add(&request, "CSeq: %u %s\r\n", ++client->subscription_number, method);
    text_add(&request, "Event: presence\r\nSubscription-State: active\r\nExpires: 600\r\nContent-Type: text/plain\r\n");
    end_message(&request, state);
    queue_signed(client, &request);
}

/* A copy of the last message with other digits in place of `wanted`, which it contains. */
static void forge(struct client *client, const char *wanted, const char *instead)
{
    static struct text forged;
    char *at;

    forged = client->seen;
    at = strstr(forged.bytes, wanted);
    if (at == NULL)
        return;
    memcpy(at, instead, strlen(instead));
    say("AN ATTACKER sends it again with \"%s\" in place of \"%s\"", instead, wanted);
    queue(client, &forged);
}

/* ---- Receiving ---- */

static bool is_to_be_signed_in_handshake(const struct association *association)
{
    return association->version == 4;
}

/* `gssapi-data=""`: makes the CHALLENGE_MESSAGE. */
static void begin(struct client *client, const struct sip_message *request, const struct sip_ntlm *ntlm)
{
    struct association *next = &client->next;
    gss_buffer_desc start = registrar.start->token, token = GSS_C_EMPTY_BUFFER;
    OM_uint32 major, minor;

    association_end(next);
    *next = (struct association){ .self = SIP_SERVER, .realm = REALM, .targetname = TARGETNAME };
    next->version = ntlm->version < registrar.version ? ntlm->version : registrar.version;
    strcpy(next->opaque, random_digits().digits);

    major = gss_accept_sec_context(&minor, &next->context, registrar.cred, &start, GSS_C_NO_CHANNEL_BINDINGS, NULL, NULL,
                                   &token, NULL, NULL, NULL);
    if (major != GSS_S_CONTINUE_NEEDED) {
        explain("gss_accept_sec_context", major, minor);
        association_end(next);
        challenge(client, request, NULL);
    } else {
        say("  gss_accept_sec_context(%s): CONTINUE_NEEDED", registrar.start->meaning);
        say("  its token is a CHALLENGE_MESSAGE, %zu bytes, NegotiateFlags %#x", token.length,
            (unsigned)negotiate_flags(token.value, token.length));
        challenge(client, request, &token);
    }
    gss_release_buffer(&minor, &token);
}

/* Gives the AUTHENTICATE_MESSAGE to the mechanism. */
static bool authenticate(struct client *client, struct slice data)
{
    static unsigned char bytes[SIP_MAX_MESSAGE];
    struct association *next = &client->next;
    gss_buffer_desc in = { 0, bytes }, out = GSS_C_EMPTY_BUFFER, shown;
    gss_name_t name = GSS_C_NO_NAME;
    OM_uint32 major, minor, flags;

    if (next->context == GSS_C_NO_CONTEXT || !base64_decode(data, bytes, sizeof(bytes), &in.length)) {
        say("  it does not belong to a handshake");
        return false;
    }
    say("  an AUTHENTICATE_MESSAGE, %zu bytes, NegotiateFlags %#x", in.length, (unsigned)negotiate_flags(bytes, in.length));
    major = gss_accept_sec_context(&minor, &next->context, registrar.cred, &in, GSS_C_NO_CHANNEL_BINDINGS, &name, NULL, &out,
                                   &flags, NULL, NULL);
    gss_release_buffer(&(OM_uint32){ 0 }, &out);
    if (major != GSS_S_COMPLETE) {
        explain("gss_accept_sec_context", major, minor);
        return false;
    }
    major = gss_display_name(&minor, name, &shown, NULL);
    gss_release_name(&(OM_uint32){ 0 }, &name);
    if (GSS_ERROR(major)) {
        explain("gss_display_name", major, minor);
        return false;
    }
    snprintf(client->account, sizeof(client->account), "%.*s", (int)shown.length, (char *)shown.value);
    gss_release_buffer(&minor, &shown);
    say("  gss_accept_sec_context(that): COMPLETE, it is %s, flags %s", client->account, flag_names(flags));
    if ((flags & (GSS_C_INTEG_FLAG | GSS_C_DATAGRAM_FLAG)) != (GSS_C_INTEG_FLAG | GSS_C_DATAGRAM_FLAG)) {
        say("  but the context is not connectionless and signed");
        return false;
    }
    return association_complete(next);
}

/* The mechanism returns the account; the registrar decides whether this account may be this SIP user. */
static bool may_be(const char *account, const struct sip_message *request)
{
    struct slice uri = sip_uri(sip_header(request, "From"));
    const char *user = strchr(account, '\\'), *colon, *at;

    user = user == NULL ? account : user + 1;
    colon = uri.length == 0 ? NULL : memchr(uri.at, ':', uri.length);
    at = colon == NULL ? NULL : memchr(colon, '@', uri.length - (size_t)(colon - uri.at));
    return at != NULL && slice_is_like((struct slice){ colon + 1, (size_t)(at - colon) - 1 }, user);
}

static bool keep(char *room, size_t length, const char *words)
{
    return (size_t)snprintf(room, length, "%s", words) < length;
}

/* Remembers the dialog that a SUBSCRIBE begins; one for each connection is enough here. */
static bool subscribe(struct client *client, const struct sip_message *request)
{
    struct slice uri = sip_uri(sip_header(request, "To"));

    snprintf(client->subscribed, sizeof(client->subscribed), "<%.*s>", (int)uri.length, uri.at == NULL ? "" : uri.at);
    return keep(client->subscriber, sizeof(client->subscriber), sip_header(request, "From")) &&
           keep(client->call_id, sizeof(client->call_id), sip_header(request, "Call-ID"));
}

static void serve(struct client *client, const struct sip_message *request)
{
    if (!may_be(client->account, request)) {
        say("  %s may not speak for this user", client->account);
        respond(client, request, "403 Forbidden");
        return;
    }
    if (request->body.length != 0 && slice_is(request->cseq_method, "MESSAGE"))
        say("  it says: %.*s", (int)request->body.length, request->body.at);
    respond(client, request, "200 OK");
    if (slice_is(request->cseq_method, "SUBSCRIBE") && client->call_id[0] == '\0' && subscribe(client, request))
        notify(client, "NOTIFY", "present");
}

static void finish(struct client *client, const struct sip_message *request, const struct sip_ntlm *ntlm)
{
    bool is_fine = slice_is(ntlm->opaque, client->next.opaque) && authenticate(client, ntlm->gssapi_data);

    if (is_fine && is_to_be_signed_in_handshake(&client->next))
        is_fine = association_verify(&client->next, request) == GENUINE;
    if (!is_fine) {
        association_end(&client->next);
        challenge(client, request, NULL);
        return;
    }
    association_end(&client->association);
    client->association = client->next;
    memset(&client->next, 0, sizeof(client->next));
    serve(client, request);
}

static void handle_request(struct client *client, const struct sip_message *request)
{
    struct sip_ntlm ntlm;
    bool is_ntlm = sip_ntlm(request, SIP_CLIENT, &ntlm) && ntlm.version >= 2 && ntlm.version <= 4;

    if (!is_ntlm)
        challenge(client, request, NULL);
    else if (ntlm.gssapi_data.at != NULL && ntlm.gssapi_data.length == 0)
        begin(client, request, &ntlm);
    else if (ntlm.gssapi_data.at != NULL)
        finish(client, request, &ntlm);
    else if (client->association.is_complete && association_verify(&client->association, request) == GENUINE)
        serve(client, request);
    else
        challenge(client, request, NULL);
}

/* The subscriber's answer to NOTIFY. Then sends messages that need no answer. */
static void handle_response(struct client *client, const struct sip_message *response)
{
    if (!client->association.is_complete || association_verify(&client->association, response) != GENUINE)
        return;
    if (!slice_is(response->cseq_method, "NOTIFY"))
        return;
    if (registrar.is_attacker && !client->was_attacked) {
        client->was_attacked = true;
        say("AN ATTACKER sends this NOTIFY again unchanged");
        queue(client, &client->seen);
        forge(client, "Expires: 600", "Expires: 000");
        forge(client, "rspauth=\"01", "rspauth=\"02");
    }
    notify(client, "BENOTIFY", "busy");
}

static void serve_connection(int socket)
{
    static struct client client;
    static struct sip_message message;
    enum received received;
    OM_uint32 minor;

    memset(&client, 0, sizeof(client));
    client.wire.socket = socket;
    set_patience(socket, registrar.patience);
    while ((received = receive_message(&client.wire, &message)) == RECEIVED) {
        text_clear(&client.out);
        if (message.code == 0) {
            say("%s arrives", message.method);
            if (strcmp(message.method, "ACK") != 0)
                handle_request(&client, &message);
        } else {
            say("%d, the answer to %.*s, arrives", message.code, (int)message.cseq_method.length, message.cseq_method.at);
            handle_response(&client, &message);
        }
        if (client.out.is_full || !send_text(&client.wire, &client.out))
            break;
    }
    if (received == MALFORMED)
        say("this is not SIP: closing the connection");
    gss_delete_sec_context(&minor, &client.next.context, GSS_C_NO_BUFFER);
    gss_delete_sec_context(&minor, &client.association.context, GSS_C_NO_BUFFER);
}

static int listen_on(uint16_t port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
    socklen_t length = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) != 0 ||
        bind(listener, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(listener, 5) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) != 0)
        give_up("cannot listen on port %u", port);
    printf("%u\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

static void acquire(const char *flags)
{
    gss_OID_set_desc mechanisms = { 1, &ntlm_mechanism };
    uint32_t bits = (uint32_t)strtoul(flags, NULL, 16);
    gss_buffer_desc value = { sizeof(bits), &bits };
    OM_uint32 major, minor;

    major = gss_acquire_cred(&minor, GSS_C_NO_NAME, GSS_C_INDEFINITE, &mechanisms, GSS_C_ACCEPT, &registrar.cred, NULL, NULL);
    if (!GSS_ERROR(major) && strcmp(flags, "none") != 0)
        major = gss_set_cred_option(&minor, &registrar.cred, &negotiate_flags_option, &value);
    if (GSS_ERROR(major)) {
        explain("gss_acquire_cred", major, minor);
        give_up("cannot acquire a credential to accept with");
    }
}

static const struct start *start_named(const char *name)
{
    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
        if (strcmp(starts[i].name, name) == 0)
            return &starts[i];
    }
    give_up("unknown way to start: %s", name);
}

int main(int count, char **arguments)
{
    const char *flags = "40";
    uint16_t port = 0;
    int listener, option;

    speaker = "registrar";
    while ((option = getopt(count, arguments, "v:s:f:p:w:a")) != -1) {
        switch (option) {
        case 'v': registrar.version = (uint32_t)atoi(optarg); break;
        case 's': registrar.start = start_named(optarg); break;
        case 'f': flags = optarg; break;
        case 'p': port = (uint16_t)atoi(optarg); break;
        case 'w': registrar.patience = atoi(optarg); break;
        case 'a': registrar.is_attacker = true; break;
        default: return 2;
        }
    }
    if (optind != count || registrar.version < 2 || registrar.version > 4)
        give_up("unknown arguments: see the top of registrar.c");
    registrar.tag = random_digits();
    acquire(flags);
    listener = listen_on(port);
    for (;;) {
        int socket = accept(listener, NULL, NULL);

        if (socket < 0)
            give_up("cannot accept connections");
        serve_connection(socket);
        close(socket);
    }
}
