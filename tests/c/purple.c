/*
 * Logs in with libpurple and Debian's pidgin-sipe, without a user interface: a SIP client with an NTLM of its own.
 *
 * purple DIRECTORY SERVER ACCOUNT PASSWORD SECONDS
 *
 *   DIRECTORY  where libpurple and its plugins keep all their files; the caller removes it
 *   SERVER     address:port, over TCP
 *   ACCOUNT    "sip address,DOMAIN\user"
 *
 * Prints a line for each of signing-on, signed-on and connection-error, the last with libpurple's reason and text. It stays
 * signed on until its standard input ends, then signs off. The exit status is 0 if it signed on without an error, else 1. It ends
 * after SECONDS in any case. With PURPLE_DEBUG in the environment it also prints the debug messages of libpurple and sipe.
 *
 * cc -Wall -Wextra -o purple purple.c $(pkg-config --cflags --libs purple)
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <glib-unix.h>
#include <purple.h>

static const char ui[] = "gss-ntlm";

static struct {
    GMainLoop *loop;
    gboolean signed_on, no_more_input, failed;
} state;

static void say(const char *line)
{
    puts(line);
    fflush(stdout);
}

static void die(const char *what)
{
    fprintf(stderr, "purple: %s\n", what);
    exit(1);
}

static void end_when_done(void)
{
    if (state.failed || (state.signed_on && state.no_more_input))
        g_main_loop_quit(state.loop);
}

/* A program that uses libpurple must give it a main loop. */

struct watch {
    PurpleInputFunction call;
    gpointer data;
};

static gboolean ready(int fd, GIOCondition condition, gpointer data)
{
    struct watch *watch = data;
    PurpleInputCondition seen = 0;

    if (condition & ~G_IO_OUT)
        seen |= PURPLE_INPUT_READ;
    if (condition & ~G_IO_IN)
        seen |= PURPLE_INPUT_WRITE;
    watch->call(watch->data, fd, seen);
    return G_SOURCE_CONTINUE;
}

static guint input_add(int fd, PurpleInputCondition wanted, PurpleInputFunction call, gpointer data)
{
    struct watch *watch = g_new(struct watch, 1);
    GIOCondition condition = G_IO_HUP | G_IO_ERR;

    *watch = (struct watch){ call, data };
    if (wanted & PURPLE_INPUT_READ)
        condition |= G_IO_IN;
    if (wanted & PURPLE_INPUT_WRITE)
        condition |= G_IO_OUT;
    return g_unix_fd_add_full(G_PRIORITY_DEFAULT, fd, condition, ready, watch, g_free);
}

static PurpleEventLoopUiOps event_loop = {
    .timeout_add = g_timeout_add,
    .timeout_remove = g_source_remove,
    .input_add = input_add,
    .input_remove = g_source_remove,
    .timeout_add_seconds = g_timeout_add_seconds,
};

static void signing_on(void)
{
    say("signing-on");
}

static void signed_on(void)
{
    say("signed-on");
    state.signed_on = TRUE;
    end_when_done();
}

static void connection_error(PurpleConnection *connection, PurpleConnectionError reason, const char *text)
{
    (void)connection;
    printf("connection-error %d %s\n", reason, text);
    fflush(stdout);
    state.failed = TRUE;
    end_when_done();
}

static void connect_signal(const char *name, void *call)
{
    if (!purple_signal_connect(purple_connections_get_handle(), name, (void *)ui, PURPLE_CALLBACK(call), NULL))
        die("an unknown signal");
}

static gboolean input(int fd, GIOCondition condition, gpointer data)
{
    char ignored[64];

    (void)condition;
    (void)data;
    if (read(fd, ignored, sizeof(ignored)) > 0)
        return G_SOURCE_CONTINUE;
    state.no_more_input = TRUE;
    end_when_done();
    return G_SOURCE_REMOVE;
}

static gboolean too_late(gpointer data)
{
    (void)data;
    fputs("purple: too late\n", stderr);
    state.failed = TRUE;
    end_when_done();
    return G_SOURCE_REMOVE;
}

static PurpleAccount *make_account(const char *name, const char *password, const char *server)
{
    PurpleAccount *account = purple_account_new(name, "prpl-sipe");
    PurpleProxyInfo *proxy = purple_proxy_info_new();

    purple_account_set_password(account, password);
    purple_account_set_string(account, "server", server);
    purple_account_set_string(account, "transport", "tcp");
    purple_account_set_string(account, "authentication", "ntlm");
    purple_account_set_bool(account, "sso", FALSE);
    /* Otherwise it would look for a calendar in the Internet. */
    purple_account_set_bool(account, "dont-publish", TRUE);
    purple_proxy_info_set_type(proxy, PURPLE_PROXY_NONE);
    purple_account_set_proxy_info(account, proxy);
    purple_accounts_add(account);
    return account;
}

int main(int count, char **arguments)
{
    int seconds;

    if (count != 6 || (seconds = atoi(arguments[5])) < 1)
        die("usage: purple DIRECTORY SERVER ACCOUNT PASSWORD SECONDS");
    /* Ends the program even if the main loop is blocked. */
    alarm(seconds + 5);

    g_setenv("HOME", arguments[1], TRUE);
    g_setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent", TRUE);
    g_setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent", TRUE);
    purple_util_set_user_dir(arguments[1]);
    purple_debug_set_enabled(g_getenv("PURPLE_DEBUG") != NULL);
    purple_eventloop_set_ui_ops(&event_loop);
    if (!purple_core_init(ui))
        die("libpurple does not start");
    purple_set_blist(purple_blist_new());
    if (purple_find_prpl("prpl-sipe") == NULL)
        die("no plugin for prpl-sipe");

    connect_signal("signing-on", signing_on);
    connect_signal("signed-on", signed_on);
    connect_signal("connection-error", connection_error);

    state.loop = g_main_loop_new(NULL, FALSE);
    g_timeout_add_seconds(seconds, too_late, NULL);
    g_unix_fd_add(STDIN_FILENO, G_IO_IN | G_IO_HUP | G_IO_ERR, input, NULL);

    purple_account_set_enabled(make_account(arguments[3], arguments[4], arguments[2]), ui, TRUE);
    purple_savedstatus_activate(purple_savedstatus_new(NULL, PURPLE_STATUS_AVAILABLE));
    g_main_loop_run(state.loop);
    g_main_loop_unref(state.loop);

    /* This signs off, too. */
    purple_core_quit();
    return state.signed_on && !state.failed ? 0 : 1;
}
