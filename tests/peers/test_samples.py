"""MIT's sample programs, gss-client and gss-server, with our mechanism, over loopback, in every mode that they have.

The options for Kerberos, -krb5, -iakerb and -keytab, are not tested.
"""

import itertools
import os
import re
import socket
import struct
import subprocess
import time
import unittest

from harness import ALICE, HERE, PASSWORD, PATIENCE, Party, World, end, free_ports, message, plugin, require_module, require_program

MECHANISM = "{ 1 3 6 1 4 1 311 2 2 10 }"
RAW = ("-mech", MECHANISM)
SPNEGO = ("-spnego", "-mech", MECHANISM)
TEXT = "The quick brown fox jumps over the lazy dog"
SERVICE = "host@localhost"
# Flags of a context: TRANS alone, or with INTEG, REPLAY and SEQUENCE.
UNSIGNED, SIGNED = 0x100, 0x12C

# What gss-client does with a message: it encrypts it, wraps it, and asks for a MIC. With -nx it asks for no encryption, but
# NTLM's tokens are always encrypted.
MESSAGE_MODES = ((), ("-nx",), ("-nw",), ("-nm",), ("-nx", "-nm"), ("-nw", "-nm"))
# The flags that it asks for. By default these are MUTUAL and REPLAY; it never asks for CONF or INTEG.
REQUEST_MODES = (
    (), ("-seq",), ("-nomutual",), ("-noreplay", "-seq"), ("-d",), ("-dce",),
    ("-d", "-dce", "-seq", "-nomutual", "-noreplay"),
)
ABOUT_CONTEXT = re.compile(r'^"(.*)" to "(.*)", lifetime (-?\d+), flags ([0-9a-f]+), (\w+) initiated, (\w+)$', re.MULTILINE)


class SamplesTest(unittest.TestCase):
    """A gss-client, and the output of both sides after success."""

    maxDiff = None

    def setUp(self):
        self.client_program = require_program("gss-client", "krb5-gss-samples")
        self.server_program = require_program("gss-server", "krb5-gss-samples")
        self.world = World(plugin())
        self.log_path = self.world.write("server.log", "")

    def server_log(self):
        with open(self.log_path, errors="replace") as log:
            return log.read()

    def start_client(self, port, *options, user=ALICE, password=PASSWORD, text=TEXT, service=SERVICE, **environment):
        options += () if user is None else ("-user", user)
        options += () if password is None else ("-pass", password)
        client = subprocess.Popen(
            [self.client_program, "-port", str(port), *options, "127.0.0.1", service, text],
            env=self.world.environment(**environment), cwd=self.world.path,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            # SIGPIPE stays ignored, as in Python: a server that has refused may be gone before the client has sent everything.
            restore_signals=False,
        )
        self.addCleanup(client.stdout.close)
        self.addCleanup(end, client)
        return client

    def finish(self, client):
        """The client's exit status and its output."""
        printed, _ = client.communicate(timeout=PATIENCE)
        # A status below zero is a signal.
        self.assertGreaterEqual(client.returncode, 0, printed.decode(errors="replace"))
        return client.returncode, printed.decode(errors="replace")


class Samples(SamplesTest):
    server_options = ()

    def setUp(self):
        super().setUp()
        # gss-server itself would listen on every address; as under inetd it gets the connection from this process.
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(PATIENCE)
        self.addCleanup(self.listener.close)

    def serve_one(self, **environment):
        """Accept one connection and run a server for it to its end; returns the server's exit status."""
        connection, _ = self.listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        options = ["-inetd", "-verbose", "-logfile", self.log_path, *self.server_options]
        with connection:
            server = subprocess.Popen(
                [self.server_program, *options, SERVICE],
                env=self.world.environment(**environment), cwd=self.world.path,
                stdin=connection, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
        self.addCleanup(end, server)
        return server.wait(timeout=PATIENCE)

    def talk(self, *options, connections=1, server=None, **client):
        """Run client and server to their ends; returns the client's exit status and its output.

        `server` is for the server's environment, `client` for start_client.
        """
        os.truncate(self.log_path, 0)
        process = self.start_client(self.listener.getsockname()[1], *options, **client)
        for _ in range(connections):
            # A status below zero is a signal: the server crashed, even if it answered its client before.
            self.assertGreaterEqual(self.serve_one(**(server or {})), 0, self.server_log())
        return self.finish(process)

    def assertAccepted(self, *options, connections=1, messages=1, flags=SIGNED, name=ALICE, text=TEXT, **more):
        status, printed = self.talk(*options, connections=connections, text=text, **more)
        log = self.server_log()
        self.assertEqual(status, 0, printed + log)
        self.assertNotIn("GSS-API error", printed + log)
        self.assertNotIn("Warning", printed)
        # A lifetime of -1 is GSS_C_INDEFINITE.
        context = (name, "host/localhost", "-1", "%x" % flags, "locally", "open")
        self.assertEqual(ABOUT_CONTEXT.findall(printed), [context] * connections)
        answer = "Response received." if "-nm" in options else "Signature verified."
        self.assertEqual(printed.count(answer), messages * connections)
        # The server prints the client's name on its standard output, which it does not have under inetd.
        self.assertEqual(log.count("Accepted connection using mechanism OID"), connections)
        self.assertEqual(log.count("Received message: "), messages * connections)
        if "-f" not in options:
            self.assertEqual(log.count('Received message: "%s"' % text), messages * connections)
        # The server prints its flags, which are the client's.
        for bit, word in enumerate(("DELEG", "MUTUAL", "REPLAY", "SEQUENCE", "CONF", "INTEG")):
            for said in (printed, log):
                self.assertEqual("GSS_C_%s_FLAG" % word in said, bool(flags & 1 << bit), word)
        return printed, log

    def assertRefused(self, *options, at, words="GSS-API error", **more):
        """The side `at` prints the reason, and no message arrived."""
        status, printed = self.talk(*options, **more)
        log = self.server_log()
        self.assertIn(words, {"client": printed, "server": log}[at], printed + log)
        # A server that refuses only closes the connection.
        self.assertNotEqual(status, 0, printed)
        self.assertNotIn("Signature verified.", printed)
        self.assertNotIn("Received message", log)
        return printed, log

    def test_accepts_raw(self):
        printed, log = self.assertAccepted(*RAW)
        self.assertIn("Accepted connection using mechanism OID %s." % MECHANISM, log)
        self.assertIn("Name type of source name is { 1 2 840 113554 1 2 1 1 }.", printed)
        self.assertRegex(printed, r"Mechanism %s supports [1-9]\d* names" % re.escape(MECHANISM))

    def test_accepts_through_spnego(self):
        self.assertAccepted(*SPNEGO)

    def test_accepts_what_spnego_finds_by_itself(self):
        # Without -mech the server chooses its list of mechanisms.
        self.assertAccepted("-spnego")

    def test_accepts_every_mode(self):
        for mech, asking, sending in itertools.product((RAW, SPNEGO), REQUEST_MODES, MESSAGE_MODES):
            with self.subTest(mech=mech[0], asking=asking, sending=sending):
                self.assertAccepted(*mech, *asking, *sending)

    def test_accepts_a_context_without_protection(self):
        # Without REPLAY and SEQUENCE the client asks for no protection of messages, unless SPNEGO asks for INTEG.
        # NTLM's signature is then a constant, which is not verified.
        for asking in (("-noreplay",), ("-noreplay", "-nomutual"), ("-noreplay", "-d", "-dce")):
            with self.subTest(asking=asking):
                self.assertAccepted(*RAW, *asking, "-nw", "-nm", flags=UNSIGNED)
                status, printed = self.talk(*RAW, *asking, "-nw")
                self.assertNotEqual(status, 0, printed)
                self.assertIn("GSS-API error verifying signature: Neither integrity nor confidentiality", printed)
                self.assertNotIn("Signature verified.", printed)
            for sending in ((), ("-nx",), ("-nm",)):
                with self.subTest(asking=asking, sending=sending):
                    printed, _ = self.assertRefused(
                        *RAW, *asking, *sending, at="client", words="GSS-API error wrapping message: "
                    )
                    self.assertNotIn("GSS-API error initializing", printed)
            with self.subTest(asking=asking, mech="-spnego"):
                self.assertAccepted(*SPNEGO, *asking)

    def test_accepts_many_messages(self):
        for mech, sending in itertools.product((RAW, SPNEGO), MESSAGE_MODES):
            with self.subTest(mech=mech[0], sending=sending):
                self.assertAccepted(*mech, *sending, "-mcount", "10", messages=10)
        self.assertAccepted(*RAW, "-mcount", "0", messages=0)

    def test_accepts_several_connections(self):
        for mech in (RAW, SPNEGO):
            with self.subTest(mech[0]):
                self.assertAccepted(*mech, "-ccount", "3", "-mcount", "2", connections=3, messages=2)

    def test_accepts_a_context_that_the_server_exports_and_imports(self):
        self.server_options = ("-export",)
        for mech, sending in itertools.product((RAW, SPNEGO), MESSAGE_MODES):
            with self.subTest(mech=mech[0], sending=sending):
                _, log = self.assertAccepted(*mech, *sending, "-mcount", "3", messages=3)
                self.assertEqual(log.count("Exported context: "), 3)
                self.assertEqual(log.count("Importing context: "), 3)

    def test_accepts_messages_from_a_file(self):
        for size in (2, 16, 1000, 100000):
            path = self.world.write("message", message(size))
            for mech, sending in itertools.product((RAW, SPNEGO), MESSAGE_MODES):
                with self.subTest(mech=mech[0], sending=sending, size=size):
                    _, log = self.assertAccepted(*mech, *sending, "-f", text=path)
                    # The server prints what is not text in hexadecimal digits, as it does with tokens.
                    self.assertEqual(bytes.fromhex(log.split("Received message: ")[1].split("NOOP")[0]), message(size))

    def test_is_quiet(self):
        for mech in (RAW, SPNEGO):
            with self.subTest(mech[0]):
                self.assertEqual(self.talk(*mech, "-q"), (0, ""))
                self.assertIn('Received message: "%s"' % TEXT, self.server_log())
                status, printed = self.talk(*mech, "-q", password="Battery Staple")
                self.assertNotEqual(status, 0)
                self.assertNotIn("Signature verified.", printed)

    def test_serves_without_authentication(self):
        # gss-server accepts clients that ask for no authentication, although it has our credential.
        status, printed = self.talk("-na")
        self.assertEqual((status, printed), (0, "Response received.\n"))
        self.assertIn("Accepted unauthenticated connection.", self.server_log())

    def test_finds_the_password_in_the_user_file(self):
        for mech in (RAW, SPNEGO):
            for user, name in ((ALICE, ALICE), ("alice@EXAMPLE", ALICE), ("dora", "dora"), ("CAROL", "carol")):
                with self.subTest(mech=mech[0], user=user):
                    self.assertAccepted(*mech, user=user, password=None, name=name)
        # If no user is named, the first entry is used. With -mech, SPNEGO needs a credential that it can restrict.
        for mech in (RAW, ("-spnego",)):
            with self.subTest(mech[0]):
                self.assertAccepted(*mech, user=None, password=None)

    def test_has_no_password_for_a_stranger(self):
        for mech, nobody in ((RAW, RAW), (SPNEGO, ("-spnego",))):
            with self.subTest(mech[0]):
                self.assertRefused(*mech, user="nobody", password=None, at="client", words="GSS-API error acquiring creds: ")
                self.assertRefused(
                    *nobody, user=None, password=None, NTLM_USER_FILE=None, at="client",
                    words="GSS-API error initializing context: ",
                )

    def test_refuses_a_wrong_password(self):
        for mech in (RAW, SPNEGO):
            with self.subTest(mech[0]):
                _, log = self.assertRefused(*mech, password="Battery Staple", at="server")
                self.assertIn("GSS-API error accepting context: ", log)
                self.assertNotIn("Accepted connection", log)

    def test_refuses_a_user_whom_the_server_does_not_know(self):
        others = self.world.write("others", "EXAMPLE:zoe:Other\n")
        for mech in (RAW, SPNEGO):
            for accounts in (others, "/nonexistent"):
                with self.subTest(mech=mech[0], accounts=accounts):
                    _, log = self.assertRefused(*mech, at="server", server={"NTLM_USER_FILE": accounts})
                    self.assertNotIn("Accepted connection", log)

    def test_refuses_who_means_another_service(self):
        for mech in (RAW, SPNEGO):
            with self.subTest(mech[0]):
                required = {"GSS_NTLM_TARGET_NAME": "required"}
                self.assertAccepted(*mech, server=required)
                _, log = self.assertRefused(*mech, service="ftp@localhost", at="server", server=required)
                self.assertIn("GSS-API error accepting context: ", log)


class StandingServer(SamplesTest):
    """gss-server with its own port: one process and one credential for all clients."""

    def setUp(self):
        super().setUp()
        self.output = self.world.write("output", "")
        self.shim = self.preloadable()

    def preloadable(self):
        """A library that keeps the server on loopback."""
        path = os.path.join(self.world.path, "loopback.so")
        source = os.path.join(HERE, "..", "c", "loopback.c")
        command = [require_program("cc", "gcc"), "-shared", "-fPIC", "-Wall", "-Werror", "-o", path, source]
        environment = self.world.environment()
        subprocess.run(command, env=environment, check=True, timeout=5 * PATIENCE)
        # If the library cannot be preloaded, there is only a warning: check this before a socket is open.
        usage = subprocess.run(
            [self.server_program], env={**environment, "LD_PRELOAD": path}, timeout=PATIENCE,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )
        self.assertTrue(usage.stderr.startswith(b"Usage: gss-server"), usage.stderr)
        return path

    def printed(self):
        with open(self.output, errors="replace") as output:
            return output.read()

    def start_server(self, *options, **environment):
        [self.port] = free_ports(1)
        os.truncate(self.output, 0)
        with open(self.output, "ab") as output:
            server = subprocess.Popen(
                [self.server_program, "-port", str(self.port), *options, SERVICE],
                env=self.world.environment(LD_PRELOAD=self.shim, **environment), cwd=self.world.path,
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )
        self.addCleanup(end, server)
        limit = time.monotonic() + PATIENCE
        while "starting...\n" not in self.printed():
            self.assertIsNone(server.poll(), self.printed())
            self.assertLess(time.monotonic(), limit, "the server does not start")
            time.sleep(0.01)
        with open("/proc/net/tcp") as sockets:
            places = [line.split()[1] for line in sockets if line.split()[3] == "0A"]
        self.assertEqual([place for place in places if place.endswith(":%04X" % self.port)], ["0100007F:%04X" % self.port])
        return server

    def talk(self, *options, **more):
        return self.finish(self.start_client(self.port, *options, **more))

    def test_serves_once(self):
        for mech in (RAW, SPNEGO):
            for options in ((), ("-verbose",), ("-export",), ("-verbose", "-export")):
                with self.subTest(mech=mech[0], options=options):
                    server = self.start_server("-once", *options)
                    status, printed = self.talk(*mech)
                    self.assertEqual((status, server.wait(timeout=PATIENCE)), (0, 0), printed + self.printed())
                    self.assertIn('Accepted connection: "%s"' % ALICE, self.printed())
                    # EXAMPLE is this computer's own domain.
                    self.assertIn("localname: alice\n", self.printed())
                    self.assertIn('Received message: "%s"' % TEXT, self.printed())
                    self.assertEqual("Accepted connection using mechanism OID" in self.printed(), "-verbose" in options)
                    self.assertEqual(self.printed().count("Exported context: "), 3 if len(options) == 2 else 0)
                    self.assertNotIn("GSS-API error", self.printed())

    def test_writes_a_log(self):
        # Not /dev/null, with which it crashes with any mechanism.
        server = self.start_server("-once", "-logfile", self.log_path)
        self.assertEqual(self.talk(*RAW)[0], 0)
        self.assertEqual(server.wait(timeout=PATIENCE), 0)
        self.assertIn('Accepted connection: "%s"' % ALICE, self.printed())
        self.assertNotIn("Received message", self.printed())
        self.assertIn('Received message: "%s"' % TEXT, self.server_log())

    def test_serves_one_after_the_other(self):
        server = self.start_server("-export")
        modes = list(itertools.product((RAW, SPNEGO), MESSAGE_MODES))
        for mech, sending in modes:
            with self.subTest(mech=mech[0], sending=sending):
                status, printed = self.talk(*mech, *sending, "-ccount", "2")
                self.assertEqual(status, 0, printed + self.printed())
        self.assertIsNone(server.poll())
        self.assertNotIn("GSS-API error", self.printed())
        # Not every client waits until the server has printed it.
        end = time.monotonic() + PATIENCE
        while self.printed().count('Received message: "%s"' % TEXT) < 2 * len(modes) and time.monotonic() < end:
            time.sleep(0.05)
        self.assertEqual(self.printed().count('Received message: "%s"' % TEXT), 2 * len(modes))

    def test_goes_on_after_a_refusal(self):
        server = self.start_server("-verbose")
        for mech in (RAW, SPNEGO):
            with self.subTest(mech[0]):
                self.assertNotEqual(self.talk(*mech, password="Battery Staple")[0], 0)
                self.assertNotEqual(self.talk(*mech, user="EXAMPLE\\nobody")[0], 0)
                self.assertEqual(self.talk(*mech)[0], 0)
                self.assertEqual(self.talk("-na")[0], 0)
        # Clients that close the connection early, or send nonsense.
        for junk in (b"", b"\x11\0\0\0\0", b"\x11\0\0\0\0\x02\0\0\0\x10NTLMSSP\0\x03\0\0\0", b"\x11\0\0\0\0\x02\0\0\0\0"):
            with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as connection:
                connection.sendall(junk)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4096):
                    pass
        status, printed = self.talk(*RAW)
        self.assertEqual(status, 0, printed)
        self.assertIsNone(server.poll(), self.printed())

    def test_reads_the_user_file_anew(self):
        self.start_server()
        self.assertEqual(self.talk(*RAW)[0], 0)
        users = self.world.write("other-users", "EXAMPLE:alice:Battery Staple\n")
        os.replace(users, self.world.user_file)
        self.assertNotEqual(self.talk(*RAW)[0], 0)
        self.assertEqual(self.talk(*RAW, password="Battery Staple")[0], 0)


class OldProtocol(SamplesTest):
    """gss-client -v1 speaks a protocol that gss-server no longer has: the server is ours."""

    def setUp(self):
        super().setUp()
        require_module("gssapi", "python3-gssapi")
        self.server = Party(self.world)
        self.addCleanup(self.server.close)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(PATIENCE)
        self.addCleanup(self.listener.close)

    def receive(self, stream):
        size, = struct.unpack(">I", stream.read(4))
        return stream.read(size)

    def send(self, stream, token):
        stream.write(struct.pack(">I", len(token)) + token)
        stream.flush()

    def converse(self, mech, sending, size):
        text = message(size)
        path = self.world.write("message", text)
        client = self.start_client(self.listener.getsockname()[1], *mech, *sending, "-v1", "-f", text=path)
        self.server.serve(mech="spnego" if mech is SPNEGO else "ntlm")
        connection, _ = self.listener.accept()
        connection.settimeout(PATIENCE)
        with connection, connection.makefile("rwb") as stream:
            more = True
            while more:
                step = self.server.accept(context="c", token=self.receive(stream), cred="server")
                more = step["more"]
                if step["token"]:
                    self.send(stream, step["token"])
            self.assertEqual(step["source"], ALICE)
            got = self.receive(stream)
            if "-nw" not in sending:
                got = self.server.unwrap(context="c", data=got)["data"]
            self.assertEqual(got, text)
            self.send(stream, b"" if "-nm" in sending else self.server.get_mic(context="c", data=text)["mic"])
        status, printed = self.finish(client)
        self.server.drop(context="c")
        self.assertEqual(status, 0, printed)
        self.assertIn("Response received." if "-nm" in sending else "Signature verified.", printed)

    def test_is_understood(self):
        # An empty message is a message, too, but not for gss-server, which reads its first character.
        for mech, sending, size in itertools.product((RAW, SPNEGO), MESSAGE_MODES, (0, 2, 1000)):
            with self.subTest(mech=mech[0], sending=sending, size=size):
                self.converse(mech, sending, size)
