/*
 * Lets the plugin run out of memory, and expects that the program goes on: a call that gets none fails with a status, and
 * whatever follows works again.
 *
 *   memory one PLUGIN USERS TRIES    the n-th allocation of the plugin fails, for each n; USERS is a long user file
 *   memory all PLUGIN USERS TRIES    so do all that follow it
 *   memory big PLUGIN USERS TRIES    those of more than 8192 bytes fail: what a peer, a file or the application makes long
 *
 * If there are more than TRIES such n in a scenario, so many of them are tried.
 *
 * The functions of C's malloc are this program's, so the plugin calls them, too; only its calls fail.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <gssapi/gssapi.h>
#include <gssapi/gssapi_ext.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utime.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static struct { char *start, *end; } plugin;
/* How many allocations succeed before one fails (all, if negative), and from which size on they count. */
static long left = -1;
static size_t from_size;
static int all_that_follow;
/* How many were counted, and how many failed. */
static long counted, failed;

static int fails(void *caller, size_t size)
{
    if (plugin.start == NULL || (char *)caller < plugin.start || (char *)caller >= plugin.end || size < from_size)
        return 0;
    counted++;
    if (left < 0 || (left > 0 && left-- > 0))
        return 0;
    if (!all_that_follow)
        left = -1;
    failed++;
    return 1;
}

void *malloc(size_t size)
{
    return fails(__builtin_return_address(0), size) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return fails(__builtin_return_address(0), count * size) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    return fails(__builtin_return_address(0), size) ? NULL : __libc_realloc(old, size);
}

int posix_memalign(void **place, size_t alignment, size_t size)
{
    if (fails(__builtin_return_address(0), size))
        return ENOMEM;
    *place = __libc_memalign(alignment, size);
    return *place == NULL ? ENOMEM : 0;
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return fails(__builtin_return_address(0), size) ? NULL : __libc_memalign(alignment, size);
}

static int find_plugin(struct dl_phdr_info *info, size_t size, void *path)
{
    (void)size;
    if (strcmp(info->dlpi_name, path) != 0)
        return 0;
    plugin.start = plugin.end = (char *)info->dlpi_addr;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        char *end = (char *)info->dlpi_addr + info->dlpi_phdr[i].p_vaddr + info->dlpi_phdr[i].p_memsz;

        if (info->dlpi_phdr[i].p_type == PT_LOAD && end > plugin.end)
            plugin.end = end;
    }
    return 1;
}

static gss_OID_desc ntlm = { 10, "\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a" };
static gss_OID_desc spnego = { 6, "\x2b\x06\x01\x05\x05\x02" };
static const char *big_users;

static void die(const char *what)
{
    printf("memory: %s\n", what);
    fflush(stdout);
    _exit(1);
}

/* Whether the call succeeded. One that did not must have had no memory, and say so where a sentence can be had. */
static int well(OM_uint32 major, OM_uint32 minor)
{
    if (!GSS_ERROR(major))
        return 1;
    if (failed == 0) {
        gss_buffer_desc text;
        OM_uint32 ignored, more = 0;

        gss_display_status(&ignored, minor, GSS_C_MECH_CODE, &ntlm, &more, &text);
        printf("memory: %#x %#x %.*s\n", major, minor, (int)text.length, (char *)text.value);
        die("a call failed that had memory");
    }
    return 0;
}

static gss_name_t name_of(const char *text, gss_OID type)
{
    gss_buffer_desc buffer = { strlen(text), (void *)text };
    gss_name_t name = GSS_C_NO_NAME;
    OM_uint32 major, minor;

    major = gss_import_name(&minor, &buffer, type, &name);
    well(major, minor);
    return name;
}

/* A text of one letter, many times. */
static char *long_text(size_t length, char letter)
{
    char *text = __libc_malloc(length + 1);

    memset(text, letter, length);
    text[length] = '\0';
    return text;
}

static gss_cred_id_t acquire(gss_OID mech, int usage, const char *password, const char *users)
{
    gss_OID_set_desc mechs = { 1, mech };
    gss_cred_id_t cred = GSS_C_NO_CREDENTIAL;
    gss_key_value_element_desc element = { password ? "password" : "ntlmssp_keyfile", password ? password : users };
    gss_key_value_set_desc store = { 1, &element };
    gss_name_t name = password ? name_of("DOM\\alice", GSS_C_NT_USER_NAME) : GSS_C_NO_NAME;
    OM_uint32 major, minor;

    major = gss_acquire_cred_from(&minor, name, 0, &mechs, usage, users || password ? &store : NULL, &cred, NULL, NULL);
    well(major, minor);
    gss_release_name(&minor, &name);
    return cred;
}

/* Has somebody else's program do what it does with both contexts: messages, inquiries, and a change of the process. */
static void use(gss_ctx_id_t *from, gss_ctx_id_t *to)
{
    size_t lengths[] = { 10, 100000 };

    for (int i = 0; i < 2; i++) {
        char *bytes = long_text(lengths[i], 'm');
        gss_buffer_desc message = { lengths[i], bytes }, token = GSS_C_EMPTY_BUFFER, back = GSS_C_EMPTY_BUFFER;
        OM_uint32 major, minor;

        major = gss_wrap(&minor, *from, 1, GSS_C_QOP_DEFAULT, &message, NULL, &token);
        if (well(major, minor)) {
            /* A message that could not be unwrapped for want of memory can be unwrapped later. */
            for (int try = 0; try < 2; try++) {
                major = gss_unwrap(&minor, *to, &token, &back, NULL, NULL);
                if (well(major, minor))
                    break;
            }
            if (!GSS_ERROR(major) && (back.length != lengths[i] || memcmp(back.value, bytes, back.length) != 0))
                die("another message");
        }
        gss_release_buffer(&minor, &token);
        gss_release_buffer(&minor, &back);
        free(bytes);
    }
    for (int i = 0; i < 2; i++) {
        gss_ctx_id_t *context = i == 0 ? from : to;
        gss_buffer_desc token = GSS_C_EMPTY_BUFFER;
        gss_name_t source = GSS_C_NO_NAME, target = GSS_C_NO_NAME;
        OM_uint32 major, minor;

        major = gss_inquire_context(&minor, *context, &source, &target, NULL, NULL, NULL, NULL, NULL);
        well(major, minor);
        gss_release_name(&minor, &source);
        gss_release_name(&minor, &target);
        major = gss_export_sec_context(&minor, context, &token);
        if (well(major, minor) && *context == GSS_C_NO_CONTEXT) {
            major = gss_import_sec_context(&minor, &token, context);
            well(major, minor);
        }
        gss_release_buffer(&minor, &token);
    }
}

/* Appends AV pairs that nobody knows to the TargetInfo, which is the last field of our CHALLENGE_MESSAGE. */
static void lengthen(gss_buffer_t challenge, int pairs, size_t length)
{
    size_t more = pairs * (length + 4);
    unsigned char *old = challenge->value, *bytes = __libc_malloc(challenge->length + more);
    size_t end = challenge->length - 4;
    unsigned info;

    memcpy(bytes, old, end);
    for (int i = 0; i < pairs; i++) {
        unsigned char head[] = { i & 0xff, 0x40 + (i >> 8), length & 0xff, length >> 8 };

        memcpy(bytes + end, head, 4);
        memset(bytes + end + 4, 'p', length);
        end += length + 4;
    }
    memset(bytes + end, 0, 4);
    info = old[40] + 256 * old[41] + more;
    bytes[40] = bytes[42] = info & 0xff;
    bytes[41] = bytes[43] = info >> 8;
    free(old);
    challenge->value = bytes;
    challenge->length += more;
}

/* A handshake, as far as it gets. */
static void shake_hands(gss_OID mech, const char *password, const char *users, int pairs, size_t length)
{
    gss_cred_id_t initiator = acquire(mech, GSS_C_INITIATE, password, users), acceptor = acquire(mech, GSS_C_ACCEPT, NULL, users);
    gss_ctx_id_t ours = GSS_C_NO_CONTEXT, theirs = GSS_C_NO_CONTEXT;
    gss_name_t target = name_of("HTTP@server", GSS_C_NT_HOSTBASED_SERVICE), source = GSS_C_NO_NAME;
    gss_buffer_desc to_theirs = GSS_C_EMPTY_BUFFER, to_ours = GSS_C_EMPTY_BUFFER, token;
    OM_uint32 major = GSS_S_FAILURE, minor, ignored;
    int is_done = 0;

    if (initiator == GSS_C_NO_CREDENTIAL || acceptor == GSS_C_NO_CREDENTIAL || target == GSS_C_NO_NAME)
        goto out;
    for (int turn = 0; turn < 3 && !is_done; turn++) {
        major = gss_init_sec_context(&minor, initiator, &ours, target, mech, GSS_C_INTEG_FLAG | GSS_C_CONF_FLAG, 0,
                                     GSS_C_NO_CHANNEL_BINDINGS, &to_ours, NULL, &to_theirs, NULL, NULL);
        gss_release_buffer(&ignored, &to_ours);
        if (!well(major, minor))
            goto out;
        is_done = to_theirs.length == 0;
        if (is_done)
            break;
        major = gss_accept_sec_context(&minor, &theirs, acceptor, &to_theirs, GSS_C_NO_CHANNEL_BINDINGS, &source, NULL,
                                       &to_ours, NULL, NULL, NULL);
        gss_release_name(&ignored, &source);
        gss_release_buffer(&ignored, &to_theirs);
        /* The AV pairs that were put in are not the acceptor's: it refuses them, and says so. */
        if (pairs == 0 ? !well(major, minor) : GSS_ERROR(major))
            goto out;
        if (turn == 0 && pairs > 0)
            lengthen(&to_ours, pairs, length);
        is_done = to_ours.length == 0;
    }
    if (is_done && ours != GSS_C_NO_CONTEXT && theirs != GSS_C_NO_CONTEXT) {
        use(&ours, &theirs);
        if (ours != GSS_C_NO_CONTEXT && theirs != GSS_C_NO_CONTEXT && failed == 0)
            use(&theirs, &ours);
    }
    token = (gss_buffer_desc)GSS_C_EMPTY_BUFFER;
    major = gss_export_cred(&minor, initiator, &token);
    if (well(major, minor)) {
        gss_cred_id_t copy = GSS_C_NO_CREDENTIAL;

        major = gss_import_cred(&minor, &token, &copy);
        well(major, minor);
        gss_release_cred(&minor, &copy);
    }
    gss_release_buffer(&minor, &token);
out:
    gss_release_buffer(&ignored, &to_ours);
    gss_release_buffer(&ignored, &to_theirs);
    gss_delete_sec_context(&ignored, &ours, GSS_C_NO_BUFFER);
    gss_delete_sec_context(&ignored, &theirs, GSS_C_NO_BUFFER);
    gss_release_name(&ignored, &target);
    gss_release_cred(&ignored, &initiator);
    gss_release_cred(&ignored, &acceptor);
}

/* The longest NEGOTIATE_MESSAGE, whose context is then carried over. */
static void send_much(void)
{
    gss_cred_id_t acceptor = acquire(&ntlm, GSS_C_ACCEPT, NULL, NULL);
    gss_ctx_id_t context = GSS_C_NO_CONTEXT;
    static const unsigned char head[] = "NTLMSSP\0\1\0\0\0\x37\x82\x08\xa2";
    gss_buffer_desc token = { 0xffff, long_text(0xffff, 0) }, answer = GSS_C_EMPTY_BUFFER, moved = GSS_C_EMPTY_BUFFER;
    OM_uint32 major, minor, ignored;

    memcpy(token.value, head, 16);
    if (acceptor != GSS_C_NO_CREDENTIAL) {
        major = gss_accept_sec_context(&minor, &context, acceptor, &token, GSS_C_NO_CHANNEL_BINDINGS, NULL, NULL, &answer,
                                       NULL, NULL, NULL);
        if (well(major, minor)) {
            major = gss_export_sec_context(&minor, &context, &moved);
            if (well(major, minor)) {
                major = gss_import_sec_context(&minor, &moved, &context);
                well(major, minor);
            }
        }
    }
    free(token.value);
    gss_release_buffer(&ignored, &answer);
    gss_release_buffer(&ignored, &moved);
    gss_delete_sec_context(&ignored, &context, GSS_C_NO_BUFFER);
    gss_release_cred(&ignored, &acceptor);
}

/* Names and passwords of every length that an application may give. */
static void name_much(void)
{
    size_t lengths[] = { 5, 1024, 70000 };

    for (int i = 0; i < 3; i++) {
        char *text = long_text(lengths[i], 'n');
        gss_buffer_desc buffer = { lengths[i], text }, exported = GSS_C_EMPTY_BUFFER;
        gss_name_t name = GSS_C_NO_NAME, copy = GSS_C_NO_NAME;
        OM_uint32 major, minor, ignored;

        if (gss_import_name(&minor, &buffer, GSS_C_NT_USER_NAME, &name) == GSS_S_COMPLETE &&
            gss_canonicalize_name(&minor, name, &ntlm, &copy) == GSS_S_COMPLETE) {
            major = gss_export_name(&minor, copy, &exported);
            well(major, minor);
        }
        gss_release_buffer(&ignored, &exported);
        gss_release_name(&ignored, &name);
        gss_release_name(&ignored, &copy);
        free(text);
    }
}

static void scenario(int number)
{
    static char *password;

    switch (number) {
    case 0: shake_hands(&ntlm, "Password", NULL, 0, 0); break;
    case 1: shake_hands(&spnego, NULL, NULL, 0, 0); break;
    case 2: shake_hands(&ntlm, "Password", NULL, 1, 60000); break;
    case 3: shake_hands(&ntlm, "Password", NULL, 6000, 4); break;
    case 4:
        /* It is read again. */
        if (utime(big_users, NULL) != 0)
            die("the long user file is not ours");
        shake_hands(&ntlm, NULL, big_users, 0, 0);
        break;
    case 5: send_much(); break;
    case 6: name_much(); break;
    case 7:
        password = password ? password : long_text(60000, 'x');
        shake_hands(&ntlm, password, NULL, 1, 4);
        break;
    }
}
#define SCENARIOS 8

/* Runs a scenario in a child in which the n-th allocation fails, and then everything once more with memory. How many were
 * counted; negative where the child ended badly. */
static long try(int number, long n, int *was_reached)
{
    long *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int status;
    pid_t child = fork();

    if (child == 0) {
        alarm(60);
        left = n;
        scenario(number);
        shared[0] = counted;
        shared[1] = failed;
        left = -1;
        failed = 0;
        shake_hands(&spnego, NULL, NULL, 0, 0);
        fflush(stdout);
        _exit(0);
    }
    if (waitpid(child, &status, 0) != child)
        die("no child");
    if (was_reached)
        *was_reached = shared[1] > 0;
    long count = shared[0];
    munmap(shared, 4096);
    if (status == 0)
        return count;
    printf("memory: scenario %d, allocation %ld: the program ended with %s %d\n", number, n,
           WIFSIGNALED(status) ? "signal" : "status", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    return -1;
}

int main(int argc, char **argv)
{
    const char *mode = argc == 5 ? argv[1] : "";
    long tries = 0, bad = 0, step, most = argc == 5 ? strtol(argv[4], NULL, 10) : 0;

    if (most <= 0 || (strcmp(mode, "one") != 0 && strcmp(mode, "all") != 0 && strcmp(mode, "big") != 0)) {
        fputs("usage: memory one|all|big PLUGIN USERS TRIES\n", stderr);
        return 2;
    }
    big_users = argv[3];
    /* The first calls of a process allocate what stays. */
    for (int number = 0; number < SCENARIOS; number++)
        scenario(number);
    if (dl_iterate_phdr(find_plugin, argv[2]) != 1)
        die("the mechglue has not loaded this plugin");
    all_that_follow = strcmp(mode, "all") == 0;
    from_size = strcmp(mode, "big") == 0 ? 8193 : 0;
    for (int number = 0; number < SCENARIOS; number++) {
        long count = try(number, -1, NULL), reached = 0;

        if (count < 0)
            return 1;
        step = count > most ? (count + most - 1) / most : 1;
        for (long n = 0; n < count; n += step) {
            int was_reached;

            bad += try(number, n, &was_reached) < 0;
            reached += was_reached;
            tries++;
        }
        printf("memory: %s, scenario %d: %ld allocations\n", mode, number, count);
        if (reached == 0 && count > 0)
            die("nothing failed");
    }
    printf("memory: %s: of %ld tries, %ld ended the program\n", mode, tries, bad);
    return bad != 0 || tries == 0;
}
