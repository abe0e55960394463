/*
 * A false libwbclient.so.0: a test says what it answers, and it records the calls.
 *
 * Each call reads the file "answers" in the directory $FALSE_WBCLIENT. A line is CALL.KEY=VALUE; the value is a number, or bytes
 * in hexadecimal digits. Without a line, a number is 0, and a pointer is NULL or stays as it is. Each call, and each context and
 * answer that the caller frees, adds a line of words KEY=VALUE to the file "calls" in that directory.
 *
 * Every call has these keys:  code: the wbcErr that it returns;  info: there is an answer;  sleep: milliseconds before it
 * answers;  pipe: it writes to a closed pipe, which raises SIGPIPE;  signals: how many signals the process gets during the call.
 *
 * The structures and prototypes are those of Samba's header.
 *
 * cc -shared -fPIC -pthread -Wall -Wextra -Werror -I/usr/include/samba-4.0 -o libwbclient.so.0 wbclient.c
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <wbclient.h>

/* As Samba's, it keeps a descriptor: of the file "connection". */
struct wbcContext {
    int connection;
};

/* One call: its answers, and its line in the file "calls". */
struct call {
    const char *name;
    char *answers;
    FILE *line;
    char *text;
    size_t length;
};

static void in_directory(char *path, size_t size, const char *file)
{
    snprintf(path, size, "%s/%s", getenv("FALSE_WBCLIENT"), file);
}

static void begin_line(struct call *call, const char *name, const void *context)
{
    *call = (struct call){ .name = name };
    call->line = open_memstream(&call->text, &call->length);
    fprintf(call->line, "call=%s thread=%ld context=%p", name, (long)gettid(), context);
}

/* The line is written at once, because other threads may write, too. */
static void end_line(struct call *call)
{
    static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
    char path[4096];
    FILE *calls;

    fputc('\n', call->line);
    fclose(call->line);
    in_directory(path, sizeof(path), "calls");
    pthread_mutex_lock(&one_at_a_time);
    calls = fopen(path, "a");
    fwrite(call->text, 1, call->length, calls);
    fclose(calls);
    pthread_mutex_unlock(&one_at_a_time);
    free(call->text);
}

static void say_bytes(struct call *call, const char *key, const void *data, size_t length)
{
    if (data) {
        fprintf(call->line, " %s=", key);
        for (size_t at = 0; at < length; at++)
            fprintf(call->line, "%02x", ((const uint8_t *)data)[at]);
    }
}

static void say_text(struct call *call, const char *key, const char *text)
{
    say_bytes(call, key, text, text ? strlen(text) : 0);
}

static char *read_answers(void)
{
    char path[4096], *answers = NULL;
    size_t size = 0;
    FILE *file;

    in_directory(path, sizeof(path), "answers");
    file = fopen(path, "r");
    if (!file || getdelim(&answers, &size, '\0', file) < 0)
        answers = calloc(1, 1);
    if (file)
        fclose(file);
    return answers;
}

/* The text after CALL.KEY=, or NULL. */
static const char *setting(const struct call *call, const char *key)
{
    char wanted[64];
    size_t length = (size_t)snprintf(wanted, sizeof(wanted), "%s.%s=", call->name, key);
    const char *line = call->answers;

    while (*line && strncmp(line, wanted, length))
        line += strcspn(line, "\n") + 1;
    return *line ? line + length : NULL;
}

static long long number(const struct call *call, const char *key)
{
    const char *value = setting(call, key);
    return value ? strtoll(value, NULL, 10) : 0;
}

/* An answer consists of pieces of memory that are freed together. A part of it may be secret. */
struct piece {
    struct piece *next;
    size_t size;
    const void *secret;
    size_t secret_length;
    max_align_t data[];
};

static struct piece *piece_of(void *answer)
{
    return (struct piece *)((char *)answer - offsetof(struct piece, data));
}

static void *allocate(void *answer, size_t size)
{
    struct piece *piece = calloc(1, sizeof(*piece) + size);

    piece->size = size;
    if (answer) {
        piece->next = piece_of(answer)->next;
        piece_of(answer)->next = piece;
    }
    return piece->data;
}

static void is_secret(void *answer, const void *data, size_t length)
{
    piece_of(answer)->secret = data;
    piece_of(answer)->secret_length = length;
}

/* The bytes of that key with a NUL after them, or NULL. */
static void *bytes(struct call *call, void *answer, const char *key, size_t *length)
{
    const char *value = setting(call, key);
    size_t size = value ? strcspn(value, "\n") / 2 : 0;
    uint8_t *data = value ? allocate(answer, size + 1) : NULL;

    for (size_t at = 0; at < size; at++) {
        char digits[3] = { value[2 * at], value[2 * at + 1], 0 };
        data[at] = (uint8_t)strtol(digits, NULL, 16);
    }
    if (length)
        *length = size;
    return data;
}

static char *text(struct call *call, void *answer, const char *key)
{
    return bytes(call, answer, key, NULL);
}

static void key_bytes(struct call *call, void *answer, const char *key, uint8_t *place, size_t wanted)
{
    size_t length;
    void *data = bytes(call, answer, key, &length);

    if (data)
        memcpy(place, data, length < wanted ? length : wanted);
}

static volatile sig_atomic_t interrupted_thread;

static void interrupted(int number)
{
    (void)number;
    interrupted_thread = gettid();
}

static void pause_for(long milliseconds)
{
    struct timespec time = { milliseconds / 1000, milliseconds % 1000 * 1000000 };

    if (nanosleep(&time, NULL))
        abort();
}

static void begin(struct call *call, const char *name, const void *context)
{
    begin_line(call, name, context);
    call->answers = read_answers();
}

/* What a call does before it answers. Its line is written first. */
static void work(struct call *call)
{
    long long sleep = number(call, "sleep"), signals = number(call, "signals");

    if (number(call, "pipe")) {
        int ends[2];
        void (*before)(int) = signal(SIGPIPE, SIG_DFL);

        if (pipe(ends) || close(ends[0]) || write(ends[1], "", 1) != -1 || errno != EPIPE)
            abort();
        close(ends[1]);
        signal(SIGPIPE, before);
    }
    if (signals) {
        struct sigaction action = { .sa_handler = interrupted }, before;

        sigaction(SIGUSR1, &action, &before);
        for (interrupted_thread = 0; signals; signals--) {
            kill(getpid(), SIGUSR1);
            pause_for(20);
        }
        sigaction(SIGUSR1, &before, NULL);
        fprintf(call->line, " interrupted=%ld", (long)interrupted_thread);
    }
    end_line(call);
    if (sleep) {
        struct call after;

        pause_for(sleep);
        begin_line(&after, "woke", NULL);
        end_line(&after);
    }
}

static wbcErr end(struct call *call)
{
    wbcErr code = (wbcErr)number(call, "code");

    free(call->answers);
    return code;
}

struct wbcContext *wbcCtxCreate(void)
{
    struct call call;
    struct wbcContext *context = NULL;

    begin(&call, "create", NULL);
    if (!number(&call, "code"))
        context = calloc(1, sizeof(*context));
    if (context) {
        char path[4096];

        in_directory(path, sizeof(path), "connection");
        context->connection = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    }
    fprintf(call.line, " created=%p", (void *)context);
    end_line(&call);
    end(&call);
    return context;
}

void wbcCtxFree(struct wbcContext *context)
{
    struct call call;

    begin_line(&call, "free", context);
    end_line(&call);
    close(context->connection);
    free(context);
}

void wbcFreeMemory(void *answer)
{
    struct piece *piece = answer ? piece_of(answer) : NULL;
    struct call call;
    int is_wiped = 1;

    if (!piece)
        return;
    for (size_t at = 0; at < piece->secret_length; at++)
        is_wiped &= ((const uint8_t *)piece->secret)[at] == 0;
    begin_line(&call, "give", NULL);
    fprintf(call.line, " answer=%p wiped=%d", answer, is_wiped);
    end_line(&call);
    while (piece) {
        struct piece *next = piece->next;

        /* A caller that still reads it gets nonsense. */
        memset(piece->data, 0xa5, piece->size);
        free(piece);
        piece = next;
    }
}

/* An answer of that size, or NULL if the test gives none. */
static void *answer_of(struct call *call, const char *key, size_t size)
{
    void *answer = setting(call, key) ? allocate(NULL, size) : NULL;

    if (answer)
        fprintf(call->line, " %s=%p", key, answer);
    return answer;
}

static void answer_error(struct call *call, struct wbcAuthErrorInfo **place)
{
    struct wbcAuthErrorInfo *error = answer_of(call, "nt_status", sizeof(*error));

    if (error) {
        error->nt_status = (uint32_t)number(call, "nt_status");
        error->nt_string = text(call, error, "nt_string");
        error->display_string = text(call, error, "nt_string");
        *place = error;
    }
}

wbcErr wbcCtxPing(struct wbcContext *context)
{
    struct call call;

    begin(&call, "ping", context);
    work(&call);
    return end(&call);
}

wbcErr wbcCtxInterfaceDetails(struct wbcContext *context, struct wbcInterfaceDetails **place)
{
    struct call call;
    struct wbcInterfaceDetails *details;

    begin(&call, "details", context);
    details = answer_of(&call, "info", sizeof(*details));
    if (details) {
        details->netbios_name = text(&call, details, "netbios_name");
        details->netbios_domain = text(&call, details, "netbios_domain");
        details->dns_domain = text(&call, details, "dns_domain");
        *place = details;
    }
    work(&call);
    return end(&call);
}

wbcErr wbcCtxLookupDomainControllerEx(struct wbcContext *context, const char *domain, struct wbcGuid *guid, const char *site,
                                      uint32_t flags, struct wbcDomainControllerInfoEx **place)
{
    struct call call;
    struct wbcDomainControllerInfoEx *info;

    begin(&call, "controller", context);
    say_text(&call, "domain", domain);
    say_text(&call, "site", site);
    fprintf(call.line, " guid=%p flags=%u", (void *)guid, flags);
    info = answer_of(&call, "info", sizeof(*info));
    if (info) {
        info->forest_name = text(&call, info, "forest_name");
        *place = info;
    }
    work(&call);
    return end(&call);
}

wbcErr wbcCtxAuthenticateUserEx(struct wbcContext *context, const struct wbcAuthUserParams *params,
                                struct wbcAuthUserInfo **info_place, struct wbcAuthErrorInfo **error_place)
{
    struct call call;
    struct wbcAuthUserInfo *info;

    begin(&call, "authenticate", context);
    say_text(&call, "account", params->account_name);
    say_text(&call, "domain", params->domain_name);
    say_text(&call, "workstation", params->workstation_name);
    fprintf(call.line, " flags=%u control=%u level=%d", params->flags, params->parameter_control, params->level);
    say_bytes(&call, "challenge", params->password.response.challenge, 8);
    say_bytes(&call, "nt", params->password.response.nt_data, params->password.response.nt_length);
    say_bytes(&call, "lm", params->password.response.lm_data, params->password.response.lm_length);
    fprintf(call.line, " nt_length=%u", params->password.response.nt_length);
    fprintf(call.line, " lm_length=%u", params->password.response.lm_length);
    info = answer_of(&call, "info", sizeof(*info));
    if (info) {
        info->user_flags = (uint32_t)number(&call, "user_flags");
        info->account_name = text(&call, info, "account_name");
        info->user_principal = text(&call, info, "user_principal");
        info->full_name = text(&call, info, "full_name");
        info->domain_name = text(&call, info, "domain_name");
        info->dns_domain_name = text(&call, info, "dns_domain_name");
        info->logon_server = text(&call, info, "logon_server");
        key_bytes(&call, info, "session_key", info->user_session_key, sizeof(info->user_session_key));
        key_bytes(&call, info, "lm_session_key", info->lm_session_key, sizeof(info->lm_session_key));
        is_secret(info, info->user_session_key, sizeof(info->user_session_key) + sizeof(info->lm_session_key));
        info->num_sids = (uint32_t)number(&call, "num_sids");
        info->sids = bytes(&call, info, "sids", NULL);
        *info_place = info;
    }
    answer_error(&call, error_place);
    work(&call);
    return end(&call);
}

/* The blobs have numbers: name0, data0 and so on. */
static void answer_blobs(struct call *call, struct wbcCredentialCacheInfo *info)
{
    size_t there = (size_t)number(call, "blobs");

    info->num_blobs = (size_t)number(call, "num_blobs");
    info->blobs = there ? allocate(info, there * sizeof(*info->blobs)) : NULL;
    for (size_t at = 0; at < there; at++) {
        struct wbcNamedBlob *blob = &info->blobs[at];
        char key[32];

        snprintf(key, sizeof(key), "name%zu", at);
        blob->name = text(call, info, key);
        snprintf(key, sizeof(key), "data%zu", at);
        blob->blob.data = bytes(call, info, key, &blob->blob.length);
        if (blob->name && !strcmp(blob->name, "session_key"))
            is_secret(info, blob->blob.data, blob->blob.length);
    }
}

/* A call without blobs only asks whether there is a cached logon: it is named "probe", and one with blobs "answer". */
wbcErr wbcCtxCredentialCache(struct wbcContext *context, struct wbcCredentialCacheParams *params,
                             struct wbcCredentialCacheInfo **info_place, struct wbcAuthErrorInfo **error_place)
{
    struct call call;
    struct wbcCredentialCacheInfo *info;

    begin(&call, params->num_blobs ? "answer" : "probe", context);
    say_text(&call, "account", params->account_name);
    say_text(&call, "domain", params->domain_name);
    fprintf(call.line, " level=%d", params->level);
    for (size_t at = 0; at < params->num_blobs; at++) {
        const struct wbcNamedBlob *blob = &params->blobs[at];

        say_bytes(&call, blob->name, blob->blob.data, blob->blob.length);
    }
    info = answer_of(&call, "info", sizeof(*info));
    if (info) {
        answer_blobs(&call, info);
        *info_place = info;
    }
    answer_error(&call, error_place);
    work(&call);
    return end(&call);
}
