/*
 * A SIP client that speaks the NTLM of [MS-SIPAE] with the registrar in this directory.
 *
 *     client -p PORT [-v VERSION] [-u ACCOUNT] [-i URI] [-f FLAGS] [-n COUNT] [-a]
 *
 *     -p   the registrar's port on the loopback interface
 *     -v   2, 3 or 4: the highest version of the authentication protocol, 4 by default
 *     -u   the account, by default EXAMPLE\alice; its password is the value of SIP_PASSWORD, or the mechanism finds it
 *     -i   the SIP user, by default sip:alice@example.test
 *     -f   NegotiateFlags for GSS_NTLMSSP_NEG_FLAGS, in hexadecimal
 *     -n   how many messages overtake another one, 1 by default; the registrar remembers the last 255 numbers
 *     -a   also acts as an attacker, and expects the registrar to do the same: both must refuse forged and replayed messages
 *
 * It prints what happens on standard error. The status is 0 after success, 3 if the registrar does not accept the account, 4 if
 * an answer is not from the registrar, and 1 for any other failure.
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

enum { NOT_ACCEPTED = 3, NOT_GENUINE = 4 };

/* Seconds to wait for the registrar's next message. */
enum { PATIENCE = 10 };

static struct {
    uint32_t version;
    const char *account, *uri, *flags;
    unsigned overtaking;
    bool is_attacker;
    struct wire wire;
    gss_cred_id_t cred;
    struct association association;
    /* The tag of this client in every dialog. */
    struct digits tag, call_id;
    unsigned number;
    /* The number of messages that were dropped because they were forged or replayed. */
    unsigned forged, replayed;
} client = { .version = 4, .account = "EXAMPLE\\alice", .uri = "sip:alice@example.test", .overtaking = 1 };

static const struct text no_data;

/* ---- Sending ---- */

static void begin_request(struct text *request, const char *method, const char *to)
{
    text_clear(request);
    text_add(request, "%s %s SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bK%s\r\n", method, to, random_digits().digits);
    text_add(request, "Max-Forwards: 70\r\nFrom: \"Alice\" <%s>;tag=%s;epid=0123456789\r\nTo: <%s>\r\n", client.uri,
             client.tag.digits, to);
    text_add(request, "Call-ID: %s\r\nCSeq: %u %s\r\n", client.call_id.digits, ++client.number, method);
}

static void end_message(struct text *message, const char *body)
{
    text_add(message, "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
}

static void register_request(struct text *request, const char *credentials, const char *expires)
{
    begin_request(request, "REGISTER", client.uri);
    text_add(request, "%sContact: <sip:127.0.0.1;transport=tcp>\r\nExpires: %s\r\n", credentials, expires);
    end_message(request, "");
}

static void message_request(struct text *request, const char *body)
{
    begin_request(request, "MESSAGE", "sip:bob@example.test");
    text_add(request, "Expires: 60\r\nContent-Type: text/plain\r\n");
    end_message(request, body);
}

static void sign(const struct text *plain, const struct text *gssapi_data, struct text *sent)
{
    if (!association_sign(&client.association, plain, gssapi_data, sent))
        give_up("cannot sign the message");
}

static void send_or_give_up(const struct text *text)
{
    if (text->is_full || !send_text(&client.wire, text))
        give_up("the registrar has closed the connection");
}

/* ---- Receiving ---- */

/* A request of the other side: NOTIFY is answered, BENOTIFY is not. */
static void answer(const struct sip_message *request)
{
    static struct text response, sent;
    const char *via = sip_header(request, "Via");

    say("%s is genuine: %.*s", request->method, (int)request->body.length, request->body.at);
    /* Without a Via the answer could not be delivered. */
    if (strcmp(request->method, "BENOTIFY") == 0 || via == NULL)
        return;
    text_clear(&response);
    text_add(&response, "SIP/2.0 200 OK\r\nVia: %s\r\nFrom: %s\r\nTo: %s\r\n", via, sip_header(request, "From"), sip_header(request, "To"));
    text_add(&response, "Call-ID: %s\r\nCSeq: %s\r\n", sip_header(request, "Call-ID"), sip_header(request, "CSeq"));
    end_message(&response, "");
    say("200 OK to it, signed");
    sign(&response, &no_data, &sent);
    send_or_give_up(&sent);
}

/* A peer that sends more messages than this which must be dropped is not the registrar. */
enum { MOST_DROPPED = 1000 };

/* The next message that is not dropped. */
static void receive(struct sip_message *message)
{
    for (;;) {
        if (client.forged + client.replayed > MOST_DROPPED)
            give_up_with(NOT_GENUINE, "too many messages are not from the registrar");
        if (receive_message(&client.wire, message) != RECEIVED)
            give_up("the registrar sends nothing more, or something that is not SIP");
        if (message->code == 0)
            say("%s arrives", message->method);
        else
            say("%d arrives", message->code);
        if (!client.association.is_complete) {
            /* Refuse requests before there is a context. */
            if (message->code != 0)
                return;
            say("dropped, because there is no handshake yet");
            client.forged++;
            continue;
        }
        switch (association_verify(&client.association, message)) {
        case GENUINE:
            return;
        case UNSIGNED:
            /* A registrar that refuses the client's signature cannot sign its answer. The answer only ends the request. */
            if (message->code == 401)
                return;
            say("dropped, because it is not signed");
            client.forged++;
            break;
        case FORGED:
            say("dropped, because it is forged");
            client.forged++;
            break;
        case REPLAYED:
            say("dropped, because it is replayed");
            client.replayed++;
            break;
        }
        if (message->code != 0)
            give_up_with(NOT_GENUINE, "the answer is not from the registrar");
    }
}

/* Waits for the answer to the request with this number, and returns its code. */
static int await_answer(unsigned number, struct sip_message *message)
{
    uint32_t answered;

    for (;;) {
        receive(message);
        if (message->code == 0)
            answer(message);
        else if (slice_number(message->cseq_number, &answered) && answered == number)
            return message->code;
    }
}

static void await_request(const char *method)
{
    static struct sip_message message;

    do {
        receive(&message);
        if (message.code == 0)
            answer(&message);
    } while (message.code != 0 || strcmp(message.method, method) != 0);
}

static void expect(int code, unsigned number)
{
    static struct sip_message message;
    int got = await_answer(number, &message);

    if (got != code)
        give_up("the answer should be %d, not %d", code, got);
}

/* Sends the request, and expects this answer. */
static void ask(const struct text *request, int code)
{
    send_or_give_up(request);
    expect(code, client.number);
}

/* ---- The handshake ---- */

static void acquire(void)
{
    gss_OID_set_desc mechanisms = { 1, &ntlm_mechanism };
    const char *password = getenv("SIP_PASSWORD");
    gss_buffer_desc account = { strlen(client.account), (void *)client.account };
    gss_buffer_desc secret = { password == NULL ? 0 : strlen(password), (void *)password };
    uint32_t bits = client.flags == NULL ? 0 : (uint32_t)strtoul(client.flags, NULL, 16);
    gss_buffer_desc value = { sizeof(bits), &bits };
    gss_name_t name = GSS_C_NO_NAME;
    OM_uint32 major, minor;

    major = gss_import_name(&minor, &account, GSS_C_NT_USER_NAME, &name);
    if (!GSS_ERROR(major) && password != NULL)
        major = gss_acquire_cred_with_password(&minor, name, &secret, GSS_C_INDEFINITE, &mechanisms, GSS_C_INITIATE,
                                               &client.cred, NULL, NULL);
    else if (!GSS_ERROR(major))
        major = gss_acquire_cred(&minor, name, GSS_C_INDEFINITE, &mechanisms, GSS_C_INITIATE, &client.cred, NULL, NULL);
    if (!GSS_ERROR(major) && client.flags != NULL)
        major = gss_set_cred_option(&minor, &client.cred, &negotiate_flags_option, &value);
    if (GSS_ERROR(major)) {
        explain("gss_acquire_cred", major, minor);
        give_up("cannot acquire a credential to log on with");
    }
    gss_release_name(&minor, &name);
}

/* One step of the context; its token is appended to `data` in base64. */
static OM_uint32 step(gss_buffer_t in, struct text *data)
{
    gss_buffer_desc out = GSS_C_EMPTY_BUFFER, service;
    char words[sizeof(client.association.targetname) + 4];
    gss_name_t target = GSS_C_NO_NAME;
    OM_uint32 major, minor, flags = 0;

    service.length = (size_t)snprintf(words, sizeof(words), "sip@%s", client.association.targetname);
    service.value = words;
    major = gss_import_name(&minor, &service, GSS_C_NT_HOSTBASED_SERVICE, &target);
    if (!GSS_ERROR(major))
        major = gss_init_sec_context(&minor, client.cred, &client.association.context, target, &ntlm_mechanism,
                                     GSS_C_INTEG_FLAG | GSS_C_DATAGRAM_FLAG, GSS_C_INDEFINITE, GSS_C_NO_CHANNEL_BINDINGS,
                                     in, NULL, &out, &flags, NULL);
    if (GSS_ERROR(major)) {
        explain("gss_init_sec_context", major, minor);
        give_up("cannot establish the security context");
    }
    say("  gss_init_sec_context(%s, INTEG DATAGRAM, %s): %s, a token of %zu bytes", words,
        in->length == 0 ? "no token" : "the CHALLENGE_MESSAGE",
        major == GSS_S_CONTINUE_NEEDED ? "CONTINUE_NEEDED" : "COMPLETE", out.length);
    if (major == GSS_S_COMPLETE)
        say("  it is an AUTHENTICATE_MESSAGE, NegotiateFlags %#x; the context has the flags %s",
            (unsigned)negotiate_flags(out.value, out.length), flag_names(flags));
    text_clear(data);
    base64_encode(data, out.value, out.length);
    gss_release_buffer(&minor, &out);
    gss_release_name(&minor, &target);
    return major;
}

static bool copy(char *room, size_t length, struct slice from)
{
    return from.at != NULL && (size_t)snprintf(room, length, "%.*s", (int)from.length, from.at) < length;
}

/* Reads the NTLM header field of a 401. */
static void read_challenge(const struct sip_message *message, struct sip_ntlm *ntlm)
{
    struct association *association = &client.association;

    if (message->code != 401 || !sip_ntlm(message, SIP_SERVER, ntlm) ||
        !copy(association->realm, sizeof(association->realm), ntlm->realm) ||
        !copy(association->targetname, sizeof(association->targetname), ntlm->targetname))
        give_up("the registrar does not ask for NTLM");
    association->version = ntlm->version < client.version ? ntlm->version : client.version;
}

static void credentials(struct text *header, const struct text *data)
{
    text_clear(header);
    text_add(header, "Authorization: NTLM qop=\"auth\", realm=\"%s\", targetname=\"%s\"", client.association.realm,
             client.association.targetname);
    if (client.association.opaque[0] != '\0')
        text_add(header, ", opaque=\"%s\"", client.association.opaque);
    if (client.association.version > 2)
        text_add(header, ", version=%u", (unsigned)client.association.version);
    text_add(header, ", gssapi-data=\"%s\"\r\n", data->bytes);
}

static void log_on(void)
{
    static struct sip_message message;
    static struct text request, sent, data, header;
    static unsigned char token[SIP_MAX_MESSAGE];
    gss_buffer_desc nothing = { 0, "" }, challenge = { 0, token };
    struct sip_ntlm ntlm;
    int code;

    say("REGISTER, without credentials");
    register_request(&request, "", "600");
    send_or_give_up(&request);
    await_answer(client.number, &message);
    read_challenge(&message, &ntlm);

    say("REGISTER, gssapi-data=\"\"");
    if (step(&nothing, &data) != GSS_S_CONTINUE_NEEDED || data.length != 0)
        give_up("the first call returned a token, but there should be none");
    credentials(&header, &data);
    register_request(&request, header.bytes, "600");
    send_or_give_up(&request);
    await_answer(client.number, &message);
    read_challenge(&message, &ntlm);
    if (!copy(client.association.opaque, sizeof(client.association.opaque), ntlm.opaque) ||
        !base64_decode(ntlm.gssapi_data, token, sizeof(token), &challenge.length) || challenge.length == 0)
        give_up("the registrar sent no CHALLENGE_MESSAGE");

    say("REGISTER, with the AUTHENTICATE_MESSAGE%s", client.association.version == 4 ? ", and already signed" : "");
    if (step(&challenge, &data) != GSS_S_COMPLETE)
        give_up("the security context is not complete");
    if (!association_complete(&client.association))
        give_up("cannot set the sequence number");
    if (client.association.version == 4) {
        register_request(&request, "", "600");
        sign(&request, &data, &sent);
    } else {
        credentials(&header, &data);
        register_request(&sent, header.bytes, "600");
    }
    send_or_give_up(&sent);
    code = await_answer(client.number, &message);
    if (code != 200)
        give_up_with(NOT_ACCEPTED, "the registrar answers %d: not accepted", code);
    say("LOGGED ON with version %u", (unsigned)client.association.version);
}

/* ---- The session ---- */

static void subscribe(void)
{
    static struct text request, sent;

    say("SUBSCRIBE, signed");
    begin_request(&request, "SUBSCRIBE", "sip:bob@example.test");
    text_add(&request, "Event: presence\r\nExpires: 600\r\n");
    end_message(&request, "");
    sign(&request, &no_data, &sent);
    ask(&sent, 200);
    await_request("BENOTIFY");
    if (client.is_attacker && (client.forged != 2 || client.replayed != 1))
        give_up("%u forged and %u replayed messages were noticed", client.forged, client.replayed);
}

static void talk(const char *words)
{
    static struct text request, sent;

    say("MESSAGE, signed");
    message_request(&request, words);
    sign(&request, &no_data, &sent);
    ask(&sent, 200);
}

/* Messages are signed in one order and arrive in another, as can happen with proxies. */
static void talk_out_of_order(void)
{
    static struct text request, sent;
    unsigned number;

    say("MESSAGE, signed, but it is slow");
    message_request(&request, "I was slow");
    sign(&request, &no_data, &sent);
    number = client.number;
    for (unsigned i = 0; i < client.overtaking; i++)
        talk("I have overtaken another one");
    say("the slow message is sent");
    send_or_give_up(&sent);
    expect(200, number);
}

static void forge(const struct text *genuine, const char *wanted, const char *instead)
{
    static struct text forged;
    char *at;

    forged = *genuine;
    at = strstr(forged.bytes, wanted);
    if (at == NULL)
        give_up("the message has nothing to forge");
    memcpy(at, instead, strlen(instead));
    say("AN ATTACKER sends it with \"%s\" in place of \"%s\"", instead, wanted);
    ask(&forged, 401);
}

static void attack(void)
{
    static struct text request, sent;

    say("MESSAGE, signed, but an attacker holds it back");
    message_request(&request, "send no money");
    sign(&request, &no_data, &sent);
    forge(&sent, "Expires: 60", "Expires: 99");
    if (client.association.version > 2)
        forge(&sent, "<sip:bob@", "<sip:eve@");
    forge(&sent, "response=\"01", "response=\"02");
    say("now it arrives as it was signed: the refused messages have changed nothing");
    ask(&sent, 200);
    say("AN ATTACKER sends it again unchanged");
    ask(&sent, 401);
    talk("the session goes on");
}

static void log_off(void)
{
    static struct text request, sent;

    say("REGISTER, Expires: 0, signed");
    register_request(&request, "", "0");
    sign(&request, &no_data, &sent);
    ask(&sent, 200);
    say("LOGGED OFF");
}

static void connect_to(uint16_t port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    client.wire.socket = socket(AF_INET, SOCK_STREAM, 0);
    if (client.wire.socket < 0 || connect(client.wire.socket, (struct sockaddr *)&address, sizeof(address)) != 0)
        give_up("no registrar at port %u", port);
    set_patience(client.wire.socket, PATIENCE);
}

int main(int count, char **arguments)
{
    OM_uint32 minor;
    uint16_t port = 0;
    int option;

    speaker = "client";
    while ((option = getopt(count, arguments, "p:v:u:i:f:n:a")) != -1) {
        switch (option) {
        case 'p': port = (uint16_t)atoi(optarg); break;
        case 'v': client.version = (uint32_t)atoi(optarg); break;
        case 'u': client.account = optarg; break;
        case 'i': client.uri = optarg; break;
        case 'f': client.flags = optarg; break;
        case 'n': client.overtaking = (unsigned)atoi(optarg); break;
        case 'a': client.is_attacker = true; break;
        default: return 2;
        }
    }
    if (optind != count || port == 0 || client.version < 2 || client.version > 4)
        give_up("unknown arguments: see the top of client.c");
    client.tag = random_digits();
    client.call_id = random_digits();
    client.association.self = SIP_CLIENT;
    acquire();
    connect_to(port);
    log_on();
    subscribe();
    talk("hello");
    talk_out_of_order();
    if (client.is_attacker)
        attack();
    log_off();
    association_end(&client.association);
    gss_release_cred(&minor, &client.cred);
    close(client.wire.socket);
    return 0;
}
