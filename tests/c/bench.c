/*
 * Measures an NTLM mechanism through libgssapi: scripts/bench compares two with it, scripts/check-speed counts instructions.
 *
 *     bench METRIC [SIZE] [-t SECONDS | -n COUNT] [-j THREADS]
 *
 * METRIC: handshake, spnego, wrap, unwrap, get_mic, verify_mic, export, import, live or released (memory, of COUNT contexts).
 * SIZE: bytes of a message. It prints one number: how many a second, or bytes of memory for each context.
 *
 * GSS_MECH_CONFIG says which mechanism; NTLM_USER_FILE has DOM:alice:Password.
 */
#include <gssapi/gssapi.h>
#include <gssapi/gssapi_ext.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static gss_OID_desc ntlm = { 10, "\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a" };
static gss_OID_desc spnego = { 6, "\x2b\x06\x01\x05\x05\x02" };
static const OM_uint32 FLAGS = GSS_C_INTEG_FLAG | GSS_C_CONF_FLAG | GSS_C_SEQUENCE_FLAG | GSS_C_REPLAY_FLAG;

/* How many messages are made before they are read, and how many slices a time is cut into. */
enum { BATCH = 16, SLICES = 20 };

static const char *metric;
static size_t size = 64;
static double seconds = 1;
static long count;

struct sides {
    gss_OID mech;
    gss_cred_id_t client_cred, server_cred;
    gss_name_t target;
    gss_ctx_id_t client, server;
};

/* The minor status of the last call. */
static __thread OM_uint32 minor;

static void check(const char *what, OM_uint32 major)
{
    if (!GSS_ERROR(major))
        return;
    OM_uint32 ignored, more = 0;
    gss_buffer_desc text = GSS_C_EMPTY_BUFFER;
    gss_display_status(&ignored, minor, GSS_C_MECH_CODE, &ntlm, &more, &text);
    fprintf(stderr, "bench: %s: %.*s\n", what, (int)text.length, (char *)text.value);
    exit(2);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static gss_buffer_desc text(char *string)
{
    gss_buffer_desc buffer = { strlen(string), string };
    return buffer;
}

static void open_sides(struct sides *sides)
{
    gss_name_t user;
    gss_buffer_desc account = text("DOM\\alice"), password = text("Password"), service = text("HTTP@server");
    sides->mech = strcmp(metric, "spnego") ? &ntlm : &spnego;
    sides->client = sides->server = GSS_C_NO_CONTEXT;
    gss_OID_set_desc mechs = { 1, sides->mech };
    check("name", gss_import_name(&minor, &account, GSS_C_NT_USER_NAME, &user));
    check("name", gss_import_name(&minor, &service, GSS_C_NT_HOSTBASED_SERVICE, &sides->target));
    check("client", gss_acquire_cred_with_password(&minor, user, &password, 0, &mechs, GSS_C_INITIATE,
                                                   &sides->client_cred, NULL, NULL));
    check("server", gss_acquire_cred(&minor, GSS_C_NO_NAME, 0, &mechs, GSS_C_ACCEPT, &sides->server_cred, NULL, NULL));
    gss_release_name(&minor, &user);
}

static void handshake(struct sides *sides)
{
    OM_uint32 client = GSS_S_CONTINUE_NEEDED, server = GSS_S_CONTINUE_NEEDED;
    gss_buffer_desc to_server = GSS_C_EMPTY_BUFFER, to_client = GSS_C_EMPTY_BUFFER;
    while (client == GSS_S_CONTINUE_NEEDED || server == GSS_S_CONTINUE_NEEDED) {
        client = gss_init_sec_context(&minor, sides->client_cred, &sides->client, sides->target, sides->mech, FLAGS, 0,
                                      GSS_C_NO_CHANNEL_BINDINGS, &to_client, NULL, &to_server, NULL, NULL);
        check("init", client);
        gss_release_buffer(&minor, &to_client);
        if (to_server.length == 0)
            break;
        server = gss_accept_sec_context(&minor, &sides->server, sides->server_cred, &to_server,
                                        GSS_C_NO_CHANNEL_BINDINGS, NULL, NULL, &to_client, NULL, NULL, NULL);
        check("accept", server);
        gss_release_buffer(&minor, &to_server);
        if (to_client.length == 0)
            break;
    }
    gss_release_buffer(&minor, &to_client);
}

static void delete(struct sides *sides)
{
    gss_delete_sec_context(&minor, &sides->client, GSS_C_NO_BUFFER);
    gss_delete_sec_context(&minor, &sides->server, GSS_C_NO_BUFFER);
}

/* Makes some messages at one side and reads them at the other. Returns the time of the half that is asked for. */
static double messages(struct sides *sides, char *message, long *done)
{
    int sealed = !strcmp(metric, "wrap") || !strcmp(metric, "unwrap");
    int making = !strcmp(metric, "wrap") || !strcmp(metric, "get_mic");
    gss_buffer_desc plain = { size, message }, tokens[BATCH], again;
    double start = now();
    for (int i = 0; i < BATCH; i++)
        check("make", sealed ? gss_wrap(&minor, sides->client, 1, 0, &plain, NULL, &tokens[i])
                             : gss_get_mic(&minor, sides->client, 0, &plain, &tokens[i]));
    double middle = now();
    for (int i = 0; i < BATCH; i++) {
        if (sealed) {
            check("read", gss_unwrap(&minor, sides->server, &tokens[i], &again, NULL, NULL));
            gss_release_buffer(&minor, &again);
        } else {
            check("read", gss_verify_mic(&minor, sides->server, &plain, &tokens[i], NULL));
        }
    }
    double end = now();
    for (int i = 0; i < BATCH; i++)
        gss_release_buffer(&minor, &tokens[i]);
    *done += BATCH;
    return making ? middle - start : end - middle;
}

static double one(struct sides *sides, char *message, long *done)
{
    if (!strcmp(metric, "handshake") || !strcmp(metric, "spnego")) {
        double start = now();
        delete(sides);
        handshake(sides);
        ++*done;
        return now() - start;
    }
    if (!strcmp(metric, "export") || !strcmp(metric, "import")) {
        gss_buffer_desc token;
        double start = now();
        check("export", gss_export_sec_context(&minor, &sides->client, &token));
        double middle = now();
        check("import", gss_import_sec_context(&minor, &token, &sides->client));
        double end = now();
        gss_release_buffer(&minor, &token);
        ++*done;
        return !strcmp(metric, "export") ? middle - start : end - middle;
    }
    return messages(sides, message, done);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* How many a second: the median of the slices; or COUNT of them, for a program that counts instructions. */
static void *run(void *result)
{
    struct sides sides;
    char *message = calloc(size + 1, 1);
    double rates[SLICES];
    long done = 0;
    open_sides(&sides);
    handshake(&sides);
    if (!strcmp(metric, "export") || !strcmp(metric, "import"))
        messages(&sides, message, &done);
    done = 0;
    if (count > 0) {
        while (done < count)
            one(&sides, message, &done);
        return NULL;
    }
    for (int slice = 0; slice < SLICES; slice++) {
        double spent = 0;
        done = 0;
        while (spent < seconds / SLICES)
            spent += one(&sides, message, &done);
        rates[slice] = done / spent;
    }
    qsort(rates, SLICES, sizeof *rates, ascending);
    *(double *)result = rates[SLICES / 2];
    return NULL;
}

/* What the process has of the machine's memory; or, because malloc keeps what is freed, what it has not freed. */
static double used_memory(void)
{
    if (!strcmp(metric, "released"))
        return mallinfo2().uordblks + mallinfo2().hblkhd;
    long pages = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%ld %ld", &pages, &resident) != 2)
        exit(2);
    fclose(file);
    return (double)resident * sysconf(_SC_PAGESIZE);
}

/* Bytes of memory for each of COUNT contexts, half of them a client's and half a server's: while they live, or afterwards. */
static double memory(void)
{
    struct sides sides;
    gss_ctx_id_t *clients = calloc(count, sizeof *clients), *servers = calloc(count, sizeof *servers);
    open_sides(&sides);
    handshake(&sides);
    delete(&sides);
    memset(clients, 1, count * sizeof *clients);
    memset(servers, 1, count * sizeof *servers);
    double before = used_memory();
    for (long i = 0; i < count / 2; i++) {
        handshake(&sides);
        clients[i] = sides.client, servers[i] = sides.server;
        sides.client = sides.server = GSS_C_NO_CONTEXT;
    }
    if (!strcmp(metric, "live"))
        return (used_memory() - before) / count;
    for (long i = 0; i < count / 2; i++) {
        sides.client = clients[i], sides.server = servers[i];
        delete(&sides);
    }
    return (used_memory() - before) / count;
}

int main(int argc, char **argv)
{
    pthread_t threads[64];
    double rates[64] = { 0 }, sum = 0;
    long running = 1;
    if (argc < 2) {
        fprintf(stderr, "usage: bench METRIC [SIZE] [-t SECONDS | -n COUNT] [-j THREADS]\n");
        return 64;
    }
    metric = argv[1];
    for (int i = 2; i < argc; i++) {
        if (!strcmp(argv[i], "-t") && i + 1 < argc)
            seconds = atof(argv[++i]);
        else if (!strcmp(argv[i], "-n") && i + 1 < argc)
            count = atol(argv[++i]);
        else if (!strcmp(argv[i], "-j") && i + 1 < argc)
            running = atol(argv[++i]);
        else
            size = strtoul(argv[i], NULL, 10);
    }
    if (!strcmp(metric, "live") || !strcmp(metric, "released")) {
        if (count == 0)
            count = 10000;
        printf("%.0f\n", memory());
        return 0;
    }
    if (running < 1 || running > 64)
        return 64;
    for (long i = 0; i < running; i++)
        pthread_create(&threads[i], NULL, run, &rates[i]);
    for (long i = 0; i < running; i++) {
        pthread_join(threads[i], NULL);
        sum += rates[i];
    }
    printf("%.6g\n", sum);
    return 0;
}
