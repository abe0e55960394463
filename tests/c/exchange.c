/*
 * A full exchange in one process, as a C program makes it, to run under valgrind: raw and through SPNEGO, calls that succeed
 * and calls that fail. Every object is released.
 *
 * Every input is a heap block of exactly its length, so that valgrind notices a read past its end.
 *
 * The caller sets GSS_MECH_CONFIG and NTLM_USER_FILE; the file holds DOM:alice:Password.
 *
 * cc -Wall -Wextra -o exchange exchange.c -lgssapi_krb5
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gssapi/gssapi.h>
#include <gssapi/gssapi_ext.h>

/* How many KiB a process may grow in thousands of handshakes: a leak of three bytes in each is found. */
#define MOST_GROWTH 256

static long handshakes;

static gss_OID_desc ntlm = { 10, "\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a" };
static gss_OID_desc spnego = { 6, "\x2b\x06\x01\x05\x05\x02" };
static gss_OID_desc unknown = { 4, "\x2a\x03\x04\x05" };
static gss_OID_desc sasl_ssf = { 11, "\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x05\x0f" };

static const char *doing = "starting";

static void die(const char *what)
{
    fprintf(stderr, "exchange: %s: %s\n", doing, what);
    exit(1);
}

/* Prints the sentences of a status. To get them is a part of the test. */
static void explain(OM_uint32 major, OM_uint32 minor)
{
    OM_uint32 codes[2] = { major, minor }, ignored, more = 0;
    int kinds[2] = { GSS_C_GSS_CODE, GSS_C_MECH_CODE };
    gss_buffer_desc text;

    for (int i = 0; i < 2; i++) {
        do {
            if (gss_display_status(&ignored, codes[i], kinds[i], &ntlm, &more, &text) != GSS_S_COMPLETE)
                die("a status without a sentence");
            fprintf(stderr, "  %s: %.*s\n", doing, (int)text.length, (char *)text.value);
            gss_release_buffer(&ignored, &text);
        } while (more != 0);
    }
}

static void succeed(OM_uint32 major, OM_uint32 minor)
{
    if (major == GSS_S_COMPLETE)
        return;
    explain(major, minor);
    die("should have succeeded");
}

static void fail(OM_uint32 major, OM_uint32 minor)
{
    if (!GSS_ERROR(major))
        die("should have failed");
    explain(major, minor);
}

/* A block of exactly `length` bytes. */
static gss_buffer_desc exact(const void *bytes, size_t length)
{
    gss_buffer_desc buffer = { length, malloc(length) };

    memcpy(buffer.value, bytes, length);
    return buffer;
}

static gss_buffer_desc text(const char *words)
{
    return exact(words, strlen(words));
}

/* Moves a token of the mechanism into a block of exactly its length. */
static void tighten(gss_buffer_t token)
{
    OM_uint32 minor;
    gss_buffer_desc copy = exact(token->value, token->length);

    gss_release_buffer(&minor, token);
    *token = copy;
}

static gss_name_t name_of(const char *words, gss_OID type)
{
    OM_uint32 major, minor;
    gss_buffer_desc buffer = text(words);
    gss_name_t name;

    major = gss_import_name(&minor, &buffer, type, &name);
    succeed(major, minor);
    free(buffer.value);
    return name;
}

/* Compares the display form of a name, and releases the name. */
static void expect_name(gss_name_t name, const char *words)
{
    OM_uint32 major, minor;
    gss_buffer_desc shown;
    gss_OID type;

    major = gss_display_name(&minor, name, &shown, &type);
    succeed(major, minor);
    if (shown.length != strlen(words) || memcmp(shown.value, words, shown.length) != 0)
        die("another name");
    /* Old programs print it as a string. */
    if (((char *)shown.value)[shown.length] != '\0')
        die("no NUL behind the name");
    gss_release_buffer(&minor, &shown);
    gss_release_name(&minor, &name);
}

static gss_cred_id_t acquire(gss_OID mech, const char *password, gss_cred_usage_t usage)
{
    OM_uint32 major, minor, lifetime;
    gss_OID_set_desc mechs = { 1, mech };
    gss_cred_id_t cred = GSS_C_NO_CREDENTIAL;

    if (password != NULL) {
        gss_name_t name = name_of("DOM\\alice", GSS_C_NT_USER_NAME);
        gss_buffer_desc secret = text(password);

        major = gss_acquire_cred_with_password(&minor, name, &secret, 0, &mechs, usage, &cred, NULL, &lifetime);
        free(secret.value);
        gss_release_name(&(OM_uint32){ 0 }, &name);
    } else {
        major = gss_acquire_cred(&minor, GSS_C_NO_NAME, 0, &mechs, usage, &cred, NULL, &lifetime);
    }
    succeed(major, minor);
    return cred;
}

struct party {
    gss_cred_id_t cred;
    gss_ctx_id_t context;
    OM_uint32 flags;
};

static OM_uint32 step(struct party *initiator, gss_OID mech, gss_buffer_t in, gss_buffer_t out, OM_uint32 *minor)
{
    gss_name_t target = name_of("HTTP@server", GSS_C_NT_HOSTBASED_SERVICE);
    OM_uint32 major, ignored;

    major = gss_init_sec_context(minor, initiator->cred, &initiator->context, target, mech,
                                 GSS_C_INTEG_FLAG | GSS_C_CONF_FLAG | GSS_C_REPLAY_FLAG | GSS_C_SEQUENCE_FLAG, 0,
                                 GSS_C_NO_CHANNEL_BINDINGS, in, NULL, out, &initiator->flags, NULL);
    gss_release_name(&ignored, &target);
    return major;
}

static OM_uint32 answer(struct party *acceptor, gss_buffer_t in, gss_buffer_t out, gss_name_t *source, OM_uint32 *minor)
{
    return gss_accept_sec_context(minor, &acceptor->context, acceptor->cred, in, GSS_C_NO_CHANNEL_BINDINGS, source, NULL,
                                  out, &acceptor->flags, NULL, NULL);
}

/* Makes a whole handshake and returns the acceptor's major status. */
static OM_uint32 shake_hands(struct party *initiator, struct party *acceptor, gss_OID mech, OM_uint32 *minor)
{
    gss_buffer_desc to_initiator = GSS_C_EMPTY_BUFFER, to_acceptor = GSS_C_EMPTY_BUFFER;
    OM_uint32 ours = GSS_S_CONTINUE_NEEDED, theirs = GSS_S_CONTINUE_NEEDED, ignored;
    gss_name_t source = GSS_C_NO_NAME;

    handshakes++;
    while (ours == GSS_S_CONTINUE_NEEDED || theirs == GSS_S_CONTINUE_NEEDED) {
        if (ours == GSS_S_CONTINUE_NEEDED) {
            ours = step(initiator, mech, to_initiator.length ? &to_initiator : NULL, &to_acceptor, minor);
            free(to_initiator.value);
            to_initiator = (gss_buffer_desc)GSS_C_EMPTY_BUFFER;
            if (GSS_ERROR(ours)) {
                explain(ours, *minor);
                die("the initiator refuses");
            }
        }
        if (to_acceptor.length == 0)
            break;
        tighten(&to_acceptor);
        theirs = answer(acceptor, &to_acceptor, &to_initiator, &source, minor);
        free(to_acceptor.value);
        to_acceptor = (gss_buffer_desc)GSS_C_EMPTY_BUFFER;
        if (GSS_ERROR(theirs)) {
            gss_release_buffer(&ignored, &to_initiator);
            return theirs;
        }
        if (to_initiator.length != 0)
            tighten(&to_initiator);
        else if (ours == GSS_S_CONTINUE_NEEDED)
            die("the acceptor has nothing more to say");
    }
    if (ours != GSS_S_COMPLETE || theirs != GSS_S_COMPLETE)
        die("one end is not done");
    expect_name(source, "DOM\\alice");
    return GSS_S_COMPLETE;
}

static void wrap_and_unwrap(gss_ctx_id_t from, gss_ctx_id_t to, size_t length)
{
    OM_uint32 major, minor;
    gss_buffer_desc message = { length, malloc(length) }, token, signature, back;
    int sealed;

    memset(message.value, 'm', length);
    major = gss_wrap(&minor, from, 1, GSS_C_QOP_DEFAULT, &message, &sealed, &token);
    succeed(major, minor);
    tighten(&token);
    /* A forged token is refused, and changes nothing. */
    ((unsigned char *)token.value)[token.length - 1] ^= 1;
    major = gss_unwrap(&minor, to, &token, &back, &sealed, NULL);
    fail(major, minor);
    ((unsigned char *)token.value)[token.length - 1] ^= 1;
    major = gss_unwrap(&minor, to, &token, &back, &sealed, NULL);
    succeed(major, minor);
    if (back.length != length || (length != 0 && memcmp(back.value, message.value, length) != 0))
        die("another message");
    gss_release_buffer(&minor, &back);
    token.length = 15;
    major = gss_unwrap(&minor, to, &token, &back, &sealed, NULL);
    fail(major, minor);
    free(token.value);

    major = gss_get_mic(&minor, from, GSS_C_QOP_DEFAULT, &message, &signature);
    succeed(major, minor);
    tighten(&signature);
    major = gss_verify_mic(&minor, to, &message, &signature, NULL);
    succeed(major, minor);
    major = gss_verify_mic(&minor, to, &message, &signature, NULL);
    fail(major, minor);
    free(signature.value);
    free(message.value);
}

static void talk(struct party *initiator, struct party *acceptor)
{
    for (size_t length = 0; length <= 5000; length = length * 5 + 1) {
        wrap_and_unwrap(initiator->context, acceptor->context, length);
        wrap_and_unwrap(acceptor->context, initiator->context, length);
    }
}

static void inquire(gss_ctx_id_t context)
{
    OM_uint32 major, minor, lifetime, flags, limit;
    gss_name_t source, target;
    gss_OID mech;
    gss_buffer_set_t values = GSS_C_NO_BUFFER_SET;
    int local, open;

    major = gss_inquire_context(&minor, context, &source, &target, &lifetime, &mech, &flags, &local, &open);
    succeed(major, minor);
    expect_name(source, "DOM\\alice");
    gss_release_name(&minor, &target);
    major = gss_context_time(&minor, context, &lifetime);
    succeed(major, minor);
    major = gss_wrap_size_limit(&minor, context, 1, GSS_C_QOP_DEFAULT, 1000, &limit);
    succeed(major, minor);
    major = gss_inquire_sec_context_by_oid(&minor, context, GSS_C_INQ_SSPI_SESSION_KEY, &values);
    succeed(major, minor);
    gss_release_buffer_set(&minor, &values);
    major = gss_inquire_sec_context_by_oid(&minor, context, &sasl_ssf, &values);
    succeed(major, minor);
    gss_release_buffer_set(&minor, &values);
    major = gss_inquire_sec_context_by_oid(&minor, context, &unknown, &values);
    fail(major, minor);
}

static void move_house(gss_ctx_id_t *context)
{
    OM_uint32 major, minor;
    gss_buffer_desc token;

    major = gss_export_sec_context(&minor, context, &token);
    succeed(major, minor);
    tighten(&token);
    major = gss_import_sec_context(&minor, &token, context);
    succeed(major, minor);
    free(token.value);
}

static void leave(struct party *party)
{
    OM_uint32 minor;

    gss_delete_sec_context(&minor, &party->context, GSS_C_NO_BUFFER);
    gss_release_cred(&minor, &party->cred);
}

static void exchange(gss_OID mech, const char *password)
{
    struct party initiator = { .cred = acquire(mech, password, GSS_C_INITIATE) };
    struct party acceptor = { .cred = acquire(mech, NULL, GSS_C_ACCEPT) };
    OM_uint32 major, minor;

    major = shake_hands(&initiator, &acceptor, mech, &minor);
    succeed(major, minor);
    talk(&initiator, &acceptor);
    inquire(initiator.context);
    inquire(acceptor.context);
    move_house(&initiator.context);
    move_house(&acceptor.context);
    talk(&initiator, &acceptor);
    leave(&initiator);
    leave(&acceptor);
}

static void wrong_password(gss_OID mech)
{
    struct party initiator = { .cred = acquire(mech, "wrong", GSS_C_INITIATE) };
    struct party acceptor = { .cred = acquire(mech, NULL, GSS_C_ACCEPT) };
    OM_uint32 major, minor;

    major = shake_hands(&initiator, &acceptor, mech, &minor);
    fail(major, minor);
    leave(&initiator);
    leave(&acceptor);
}

/* Half-open contexts are exported and imported, and truncated tokens are refused in every state. */
static void broken_off(void)
{
    struct party initiator = { .cred = acquire(&ntlm, "Password", GSS_C_INITIATE) };
    struct party acceptor = { .cred = acquire(&ntlm, NULL, GSS_C_ACCEPT) };
    struct party other = { .cred = acquire(&ntlm, "Password", GSS_C_INITIATE) };
    gss_buffer_desc negotiate, challenge, authenticate, none;
    gss_name_t source;
    OM_uint32 major, minor;

    major = step(&initiator, &ntlm, NULL, &negotiate, &minor);
    if (major != GSS_S_CONTINUE_NEEDED)
        die("no first message");
    tighten(&negotiate);
    move_house(&initiator.context);
    major = answer(&acceptor, &negotiate, &challenge, &source, &minor);
    if (major != GSS_S_CONTINUE_NEEDED)
        die("no second message");
    tighten(&challenge);
    move_house(&acceptor.context);

    for (size_t length = 8; length < challenge.length; length += 8) {
        gss_buffer_desc short_token = exact(challenge.value, length);

        major = step(&other, &ntlm, NULL, &none, &minor);
        gss_release_buffer(&(OM_uint32){ 0 }, &none);
        major = step(&other, &ntlm, &short_token, &none, &minor);
        fail(major, minor);
        /* The context has failed for good. */
        major = step(&other, &ntlm, &challenge, &none, &minor);
        fail(major, minor);
        gss_delete_sec_context(&minor, &other.context, GSS_C_NO_BUFFER);
        free(short_token.value);
    }

    major = step(&initiator, &ntlm, &challenge, &authenticate, &minor);
    succeed(major, minor);
    tighten(&authenticate);
    authenticate.length -= 1;
    major = answer(&acceptor, &authenticate, &none, &source, &minor);
    fail(major, minor);
    gss_delete_sec_context(&minor, &acceptor.context, GSS_C_NO_BUFFER);
    /* It is not a first message. The context that the call began is deleted again. */
    major = answer(&acceptor, &authenticate, &none, &source, &minor);
    fail(major, minor);
    if (acceptor.context != GSS_C_NO_CONTEXT)
        die("a first call that failed left a context");

    free(negotiate.value);
    free(challenge.value);
    free(authenticate.value);
    leave(&initiator);
    leave(&acceptor);
    leave(&other);
}

static void credentials(void)
{
    gss_cred_id_t cred = acquire(&ntlm, "Password", GSS_C_INITIATE), imported;
    gss_buffer_desc token, value = GSS_C_EMPTY_BUFFER;
    OM_uint32 major, minor, lifetime;
    gss_cred_usage_t usage;
    gss_name_t name;

    major = gss_inquire_cred(&minor, cred, &name, &lifetime, &usage, NULL);
    succeed(major, minor);
    expect_name(name, "DOM\\alice");
    major = gss_set_cred_option(&minor, &cred, &unknown, &value);
    fail(major, minor);
    major = gss_export_cred(&minor, cred, &token);
    succeed(major, minor);
    tighten(&token);
    major = gss_import_cred(&minor, &token, &imported);
    succeed(major, minor);
    free(token.value);
    gss_release_cred(&minor, &imported);
    gss_release_cred(&minor, &cred);
}

static void names(void)
{
    gss_name_t name = name_of("DOM\\alice", GSS_C_NT_USER_NAME), canonical, copy;
    gss_buffer_desc local;
    gss_buffer_set_t attributes = GSS_C_NO_BUFFER_SET;
    gss_OID_set types, known;
    OM_uint32 major, minor;
    gss_OID mech;
    int is_mechs;

    major = gss_canonicalize_name(&minor, name, &ntlm, &canonical);
    succeed(major, minor);
    major = gss_duplicate_name(&minor, canonical, &copy);
    succeed(major, minor);
    major = gss_inquire_name(&minor, canonical, &is_mechs, &mech, &attributes);
    succeed(major, minor);
    gss_release_oid(&minor, &mech);
    gss_release_buffer_set(&minor, &attributes);
    if (gss_localname(&minor, canonical, &ntlm, &local) == GSS_S_COMPLETE)
        gss_release_buffer(&minor, &local);
    expect_name(copy, "DOM\\alice");
    expect_name(canonical, "DOM\\alice");
    gss_release_name(&minor, &name);

    major = gss_inquire_names_for_mech(&minor, &ntlm, &types);
    succeed(major, minor);
    gss_release_oid_set(&minor, &types);
    major = gss_inquire_attrs_for_mech(&minor, &ntlm, &types, &known);
    succeed(major, minor);
    gss_release_oid_set(&minor, &types);
    gss_release_oid_set(&minor, &known);
}

static void expect_the_mechglue(void)
{
    Dl_info info;

    if (dladdr((void *)gss_init_sec_context, &info) == 0 || strstr(info.dli_fname, "libgssapi_krb5.so.2") == NULL)
        die("this program does not talk to the mechglue");
}

/* Everything once. */
static void run(void)
{
    gss_OID mechs[2] = { &ntlm, &spnego };
    const char *ways[2] = { "raw", "SPNEGO" };

    for (int i = 0; i < 2; i++) {
        doing = ways[i];
        exchange(mechs[i], "Password");
        exchange(mechs[i], NULL);
        doing = "wrong password";
        wrong_password(mechs[i]);
    }
    doing = "broken off";
    broken_off();
    doing = "credentials";
    credentials();
    doing = "names";
    names();
}

/* How many KiB of memory this process uses. */
static long memory(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    long size, resident;

    if (file == NULL || fscanf(file, "%ld %ld", &size, &resident) != 2)
        die("Linux does not tell how much memory is used");
    fclose(file);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

int main(int argc, char **argv)
{
    long count = argc > 1 ? strtol(argv[1], NULL, 10) : 0, before, more;

    expect_the_mechglue();
    run();
    if (count > 0) {
        /* What stays is allocated early. */
        while (handshakes < count / 10)
            run();
        before = memory();
        while (handshakes < count)
            run();
        more = memory() - before;
        printf("exchange: %ld handshakes, %ld of them refused, took %ld KiB more memory\n", handshakes, handshakes / 3, more);
        doing = "growth";
        if (more > MOST_GROWTH)
            die("the plugin, or this program, takes more and more memory");
    }
    puts("exchange: everything as expected");
    return 0;
}
