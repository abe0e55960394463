/*
 * Makes each kind of call that works with a secret, each on a stack of its own, and lets scripts/check-secrets look at the
 * memory of this process after each of them.
 *
 * Each stack is painted before the call, so that what the call has written stays to be seen. After a call one line goes to
 * standard output:
 *
 *     NAME START LENGTH REACH
 *
 * START and LENGTH are the stack, REACH is how many bytes of it the call has used. Then the program waits for a line on standard
 * input. Lines that begin with "=" tell what the searcher needs to know; this program wipes its own copies.
 */
#define _GNU_SOURCE
#include <assert.h>
#include <dlfcn.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <gssapi/gssapi.h>
#include <gssapi/gssapi_ext.h>
#include <gssapi/gssapi_ntlmssp.h>

#define STACK ((size_t)1 << 20)
#define PAINT 0xa5

static gss_OID_desc ntlm = { GSS_NTLMSSP_OID_LENGTH, (void *)GSS_NTLMSSP_OID_STRING };
static gss_OID_set_desc only_ntlm = { 1, &ntlm };
static OM_uint32 minor;

/* What the calls work on. The caller of a call may not have it on the stack that is searched. */
static gss_name_t user, service;
static gss_cred_id_t initiator, acceptor, wrong, stored;
static gss_ctx_id_t client, server;
static gss_buffer_desc token, reply, message = { 64, NULL }, sealed, opened;
static gss_buffer_set_t keys;
static gss_iov_buffer_desc iov[2];
static char sealed_in_place[64];
static OM_uint32 flags;

static void wipe(void *place, size_t length)
{
    volatile unsigned char *bytes = place;

    while (length--)
        *bytes++ = 0;
}

static void release(gss_buffer_t buffer)
{
    if (buffer->length)
        wipe(buffer->value, buffer->length);
    gss_release_buffer(&minor, buffer);
}

/*
 * libgssapi copies passwords and exported tokens and frees the copies as they are. These are no fault of the mechanism, so whatever
 * libgssapi frees is wiped.
 */
void free(void *memory)
{
    extern void __libc_free(void *);
    Dl_info caller;

    if (memory && dladdr(__builtin_return_address(0), &caller) && strstr(caller.dli_fname, "libgssapi"))
        wipe(memory, malloc_usable_size(memory));
    __libc_free(memory);
}

static void acquire_with_password(void)
{
    gss_buffer_desc password = { 8, (void *)"Password" };

    assert(!gss_acquire_cred_with_password(&minor, user, &password, 0, &only_ntlm, GSS_C_INITIATE, &initiator, NULL, NULL));
}

static void acquire_wrong(void)
{
    gss_buffer_desc password = { 8, (void *)"password" };

    assert(!gss_acquire_cred_with_password(&minor, user, &password, 0, &only_ntlm, GSS_C_INITIATE, &wrong, NULL, NULL));
}

static void acquire(void)
{
    assert(!gss_acquire_cred(&minor, NULL, 0, &only_ntlm, GSS_C_ACCEPT, &acceptor, NULL, NULL));
}

static void init_with(gss_cred_id_t cred)
{
    OM_uint32 major = gss_init_sec_context(&minor, cred, &client, service, &ntlm, flags, 0, NULL, &reply, NULL, &token, NULL,
                                           NULL);

    assert(major == GSS_S_COMPLETE || major == GSS_S_CONTINUE_NEEDED);
}

static void init(void)
{
    init_with(initiator);
}

static void init_wrong(void)
{
    init_with(wrong);
}

static OM_uint32 accept_any(void)
{
    return gss_accept_sec_context(&minor, &server, acceptor, &token, NULL, NULL, NULL, &reply, NULL, NULL, NULL);
}

static void accept_one(void)
{
    OM_uint32 major = accept_any();

    assert(major == GSS_S_COMPLETE || major == GSS_S_CONTINUE_NEEDED);
}

static void accept_refused(void)
{
    assert(GSS_ERROR(accept_any()));
}

static void inquire_key(void)
{
    static gss_OID_desc session_key = { 11, (void *)"\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x05\x05" };

    assert(!gss_inquire_sec_context_by_oid(&minor, client, &session_key, &keys) && keys->elements[0].length == 16);
}

static void get_mic(void)
{
    assert(!gss_get_mic(&minor, client, 0, &message, &sealed));
}

static void verify_mic(void)
{
    assert(!gss_verify_mic(&minor, server, &message, &sealed, NULL));
}

static void verify_mic_refused(void)
{
    assert(GSS_ERROR(gss_verify_mic(&minor, server, &message, &sealed, NULL)));
}

static void wrap(void)
{
    assert(!gss_wrap(&minor, client, 1, 0, &message, NULL, &sealed));
}

static void unwrap(void)
{
    assert(!gss_unwrap(&minor, server, &sealed, &opened, NULL, NULL));
}

static void unwrap_refused(void)
{
    assert(GSS_ERROR(gss_unwrap(&minor, server, &sealed, &opened, NULL, NULL)));
}

static void wrap_iov(void)
{
    assert(!gss_wrap_iov(&minor, client, 1, 0, NULL, iov, 2));
}

static void unwrap_iov(void)
{
    assert(!gss_unwrap_iov(&minor, server, NULL, NULL, iov, 2));
}

static void get_mic_iov(void)
{
    assert(!gss_get_mic_iov(&minor, client, 0, iov, 2));
}

static void verify_mic_iov(void)
{
    assert(!gss_verify_mic_iov(&minor, server, NULL, iov, 2));
}

static void set_option(const char *oid, OM_uint32 number)
{
    gss_OID_desc option = { GSS_NTLMSSP_SET_SEQ_NUM_OID_LENGTH, (void *)oid };
    gss_buffer_desc value = { sizeof number, &number };

    assert(!gss_set_sec_context_option(&minor, &client, &option, &value));
}

static void reset_crypto(void)
{
    set_option(GSS_NTLMSSP_RESET_CRYPTO_OID_STRING, 0);
}

static void set_seq_num(void)
{
    set_option(GSS_NTLMSSP_SET_SEQ_NUM_OID_STRING, 100);
}

static void export_context(void)
{
    assert(!gss_export_sec_context(&minor, &client, &sealed));
}

static void import_context(void)
{
    assert(!gss_import_sec_context(&minor, &sealed, &client));
}

static void export_cred(void)
{
    assert(!gss_export_cred(&minor, initiator, &sealed));
}

static void release_cred(void)
{
    gss_release_cred(&minor, &initiator);
}

static void import_cred(void)
{
    assert(!gss_import_cred(&minor, &sealed, &initiator));
}

static void delete_contexts(void)
{
    gss_delete_sec_context(&minor, &client, NULL);
    gss_delete_sec_context(&minor, &server, NULL);
}

static gss_key_value_element_desc target = { "ntlmssp_target", "localhost" };
static gss_key_value_set_desc store = { 1, &target };

static void store_cred(void)
{
    assert(!gss_store_cred_into(&minor, initiator, GSS_C_INITIATE, &ntlm, 1, 0, &store, NULL, NULL));
}

static void acquire_stored(void)
{
    assert(!gss_acquire_cred_from(&minor, NULL, 0, &only_ntlm, GSS_C_INITIATE, &store, &stored, NULL, NULL));
}

static void init_stored(void)
{
    init_with(stored);
}

static void release_creds(void)
{
    gss_release_cred(&minor, &stored);
    gss_release_cred(&minor, &initiator);
    gss_release_cred(&minor, &acceptor);
    gss_release_cred(&minor, &wrong);
}

static void wait_for_searcher(void)
{
    char line[8];

    fflush(stdout);
    if (!fgets(line, sizeof line, stdin))
        exit(1);
}

/* Makes one call on a fresh stack, and shows that. */
static void show(const char *name, void (*call)(void))
{
    ucontext_t here, there;
    size_t unused;
    unsigned char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert(stack != MAP_FAILED);
    memset(stack, PAINT, STACK);
    assert(!getcontext(&there));
    there.uc_stack.ss_sp = stack;
    there.uc_stack.ss_size = STACK;
    there.uc_link = &here;
    makecontext(&there, call, 0);
    assert(!swapcontext(&here, &there));
    for (unused = 0; unused < STACK && stack[unused] == PAINT; unused++)
        ;
    printf("%s %zx %zx %zu\n", name, (size_t)stack, STACK, STACK - unused);
    wait_for_searcher();
    munmap(stack, STACK);
}

#define SHOW(call) show(#call, call)

static void tell(const char *what, const void *bytes, size_t length)
{
    printf("=%s ", what);
    for (size_t at = 0; at < length; at++)
        printf("%02x", ((const unsigned char *)bytes)[at]);
    printf("\n");
}

static void establish_with(OM_uint32 requested, const char *name, void (*initiate)(void))
{
    flags = requested;
    gss_release_buffer(&minor, &reply);
    show(name, initiate);
    if (requested & GSS_C_DATAGRAM_FLAG) {
        /* The client begins with nothing; the server with the header that RFC 2743 3.1 has, and nothing behind it. */
        token.length = 14;
        token.value = (void *)"\x60\x0c\x06\x0a" GSS_NTLMSSP_OID_STRING;
        show("accept", accept_one);
        token.length = 0;
        token.value = NULL;
    } else {
        show("accept", accept_one);
        gss_release_buffer(&minor, &token);
    }
    show(name, initiate);
    tell("authenticate", token.value, token.length);
    show("accept", accept_one);
    gss_release_buffer(&minor, &token);
    gss_release_buffer(&minor, &reply);
    SHOW(inquire_key);
    tell("key", keys->elements[0].value, keys->elements[0].length);
    wipe(keys->elements[0].value, keys->elements[0].length);
    gss_release_buffer_set(&minor, &keys);
}

static void establish(OM_uint32 requested)
{
    establish_with(requested, "init", init);
}

static void exchange(void)
{
    SHOW(get_mic);
    SHOW(verify_mic);
    SHOW(verify_mic_refused);
    release(&sealed);
    SHOW(wrap);
    SHOW(unwrap);
    release(&opened);
    SHOW(unwrap_refused);
    release(&sealed);
    memcpy(sealed_in_place, message.value, sizeof sealed_in_place);
    iov[0].type = GSS_IOV_BUFFER_TYPE_HEADER | GSS_IOV_BUFFER_FLAG_ALLOCATE;
    iov[1].type = GSS_IOV_BUFFER_TYPE_DATA;
    iov[1].buffer.value = sealed_in_place;
    iov[1].buffer.length = sizeof sealed_in_place;
    SHOW(wrap_iov);
    SHOW(unwrap_iov);
    gss_release_iov_buffer(&minor, iov, 2);
    iov[0].type = GSS_IOV_BUFFER_TYPE_MIC_TOKEN | GSS_IOV_BUFFER_FLAG_ALLOCATE;
    SHOW(get_mic_iov);
    SHOW(verify_mic_iov);
    gss_release_iov_buffer(&minor, iov, 2);
    SHOW(reset_crypto);
}

int main(void)
{
    gss_buffer_desc alice = { 9, (void *)"DOM\\alice" }, host = { 14, (void *)"host@localhost" };
    static char bytes[64] = "a message that is no secret";

    alarm(300);
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    message.value = bytes;
    assert(!gss_import_name(&minor, &alice, GSS_C_NT_USER_NAME, &user));
    assert(!gss_import_name(&minor, &host, GSS_C_NT_HOSTBASED_SERVICE, &service));
    SHOW(acquire_with_password);
    SHOW(acquire);

    establish(GSS_C_CONF_FLAG | GSS_C_INTEG_FLAG | GSS_C_SEQUENCE_FLAG);
    exchange();
    SHOW(export_context);
    SHOW(import_context);
    release(&sealed);
    SHOW(delete_contexts);

    /* Connectionless. */
    establish(GSS_C_CONF_FLAG | GSS_C_INTEG_FLAG | GSS_C_DATAGRAM_FLAG);
    SHOW(set_seq_num);
    SHOW(get_mic);
    release(&sealed);
    SHOW(wrap);
    release(&sealed);
    SHOW(delete_contexts);

    /* NTLMv1, without extended session security. */
    setenv("LM_COMPAT_LEVEL", "0", 1);
    establish(GSS_C_CONF_FLAG | GSS_C_INTEG_FLAG);
    SHOW(get_mic);
    SHOW(verify_mic);
    release(&sealed);
    SHOW(wrap);
    SHOW(unwrap);
    release(&sealed);
    release(&opened);
    SHOW(delete_contexts);
    unsetenv("LM_COMPAT_LEVEL");

    /* A wrong password. */
    show("acquire_with_password_wrong", acquire_wrong);
    flags = GSS_C_INTEG_FLAG;
    SHOW(init_wrong);
    show("accept", accept_one);
    gss_release_buffer(&minor, &token);
    SHOW(init_wrong);
    SHOW(accept_refused);
    gss_release_buffer(&minor, &token);
    gss_release_buffer(&minor, &reply);
    SHOW(delete_contexts);

    /* A stored credential. */
    SHOW(store_cred);
    SHOW(acquire_stored);
    establish_with(GSS_C_INTEG_FLAG, "init_stored", init_stored);
    SHOW(delete_contexts);

    SHOW(export_cred);
    SHOW(release_cred);
    SHOW(import_cred);
    release(&sealed);
    SHOW(release_creds);
    printf("end 0 0 0\n");
    wait_for_searcher();
    return 0;
}
