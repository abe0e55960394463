"""MIT's own sample programs, gss-client and gss-server, with our mechanism, over loopback."""

import os
import socket
import subprocess
import unittest

from harness import ALICE, PASSWORD, PATIENCE, World, end, plugin, require_program

MECHANISM = "{ 1 3 6 1 4 1 311 2 2 10 }"
RAW = ("-mech", MECHANISM)
SPNEGO = ("-spnego", "-mech", MECHANISM)
TEXT = "The quick brown fox jumps over the lazy dog"


class Samples(unittest.TestCase):
    server_options = ()

    def setUp(self):
        self.client_program = require_program("gss-client", "krb5-gss-samples")
        self.server_program = require_program("gss-server", "krb5-gss-samples")
        self.world = World(plugin())
        self.log_path = self.world.write("server.log", "")
        # gss-server itself would listen on every address; as inetd's child it takes the connection we hand it.
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(PATIENCE)
        self.addCleanup(self.listener.close)

    def server_log(self):
        with open(self.log_path, errors="replace") as log:
            return log.read()

    def serve_one(self):
        """Take one connection and run a server for it to its end; returns the server's exit status."""
        connection, _ = self.listener.accept()
        with connection:
            server = subprocess.Popen(
                [self.server_program, "-inetd", "-verbose", "-logfile", self.log_path, *self.server_options, "host@localhost"],
                env=self.world.environment(), cwd=self.world.path,
                stdin=connection, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
        self.addCleanup(end, server)
        return server.wait(timeout=PATIENCE)

    def talk(self, *options, password=PASSWORD, connections=1):
        """Client and server to their ends; returns the client's exit status and all it printed."""
        os.truncate(self.log_path, 0)
        client = subprocess.Popen(
            [
                self.client_program, "-port", str(self.listener.getsockname()[1]), *options,
                "-user", ALICE, "-pass", password, "127.0.0.1", "host@localhost", TEXT,
            ],
            env=self.world.environment(), cwd=self.world.path,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        self.addCleanup(client.stdout.close)
        self.addCleanup(end, client)
        for _ in range(connections):
            # Below zero is a signal: a server that crashed, whatever it may have said to its client before.
            self.assertGreaterEqual(self.serve_one(), 0, self.server_log())
        printed, _ = client.communicate(timeout=PATIENCE)
        return client.returncode, printed.decode(errors="replace")

    def assertAccepted(self, *options, connections=1, messages=1):
        status, printed = self.talk(*options, connections=connections)
        log = self.server_log()
        self.assertEqual(status, 0, printed + log)
        self.assertNotIn("GSS-API error", printed + log)
        self.assertIn('"%s" to "host/localhost"' % ALICE, printed)
        self.assertEqual(printed.count("Signature verified."), messages * connections)
        # Who it was the server says on its standard output, which inetd's child has not.
        self.assertEqual(log.count("Accepted connection using mechanism OID"), connections)
        self.assertEqual(log.count('Received message: "%s"' % TEXT), messages * connections)
        return printed, log

    def test_accepts_raw(self):
        printed, log = self.assertAccepted(*RAW)
        self.assertIn("GSS_C_INTEG_FLAG", printed)
        self.assertNotIn("GSS_C_MUTUAL_FLAG", printed)
        self.assertIn(MECHANISM, log)

    def test_accepts_through_spnego(self):
        printed, _ = self.assertAccepted(*SPNEGO)
        self.assertIn("GSS_C_INTEG_FLAG", printed)

    def test_accepts_without_sealing(self):
        for options in (RAW, SPNEGO):
            with self.subTest(options):
                self.assertAccepted(*options, "-nx")

    def test_accepts_without_wrapping(self):
        for options in (RAW, SPNEGO):
            with self.subTest(options):
                self.assertAccepted(*options, "-nw")

    def test_accepts_many_messages(self):
        for options in (RAW, SPNEGO):
            with self.subTest(options):
                self.assertAccepted(*options, "-mcount", "10", messages=10)

    def test_accepts_several_connections(self):
        self.assertAccepted(*RAW, "-ccount", "3", connections=3)

    def test_accepts_other_request_flags(self):
        self.assertAccepted(*RAW, "-seq", "-nomutual", "-noreplay")

    def test_accepts_a_context_that_the_server_exports_and_imports(self):
        self.server_options = ("-export",)
        self.assertAccepted(*RAW)

    def test_refuses_a_wrong_password(self):
        for options in (RAW, SPNEGO):
            with self.subTest(options):
                _, printed = self.talk(*options, password="Battery Staple")
                self.assertNotIn("Signature verified.", printed)
                self.assertNotIn("Accepted connection", self.server_log())
                self.assertIn("GSS-API error", self.server_log())
