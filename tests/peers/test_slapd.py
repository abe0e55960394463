"""OpenLDAP's server with OpenLDAP's client, by SASL's GSS-SPNEGO: the identity that the server sees, with and without a layer."""

import contextlib
import glob
import socket
import subprocess
import time

from harness import ALICE, PATIENCE, PeerTest, World, c_plugin, end, free_ports, plugin, require, require_program

# maxssf of the client, and the strength of the layer that both sides report.
LAYERS = ((0, 0), (1, 1), (256, 64))
# The server has no directory: whoami needs none.
CONFIGURATION = """\
pidfile {path}/slapd.pid
argsfile {path}/slapd.args
sasl-host localhost
"""


class Slapd(PeerTest):
    def setUp(self):
        require(glob.glob("/usr/lib/*/sasl2/libgssapiv2.so"), "libsasl2-modules-gssapi-mit")
        self.server_program = require_program("slapd", "slapd")
        self.client_program = require_program("ldapwhoami", "ldap-utils")

    @contextlib.contextmanager
    def serving(self, world, **environment):
        """Starts a server in this world; returns its address."""
        configuration = world.write("slapd.conf", CONFIGURATION.format(path=world.path))
        [port] = free_ports(1)
        url = "ldap://127.0.0.1:%d/" % port
        with open(world.path + "/slapd.log", "wb") as log:
            # Level 256 logs connections. Without a level slapd would not stay in the foreground.
            server = subprocess.Popen(
                [self.server_program, "-d", "256", "-h", url, "-f", configuration], cwd=world.path, stderr=log,
                stdin=subprocess.DEVNULL, env=world.environment(SASL_CONF_PATH=world.path, **environment),
            )
        try:
            self.assertTrue(self.answers(server, port), "slapd does not answer: " + self.told(world))
            yield url
        finally:
            end(server)

    @staticmethod
    def answers(server, port):
        """Whether the server listens, and has not ended."""
        latest = time.monotonic() + PATIENCE
        while server.poll() is None and time.monotonic() < latest:
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=PATIENCE):
                return True
            time.sleep(0.05)
        return False

    @staticmethod
    def told(world):
        with open(world.path + "/slapd.log", errors="replace") as log:
            return log.read()

    def who_am_i(self, world, url, layer, **environment):
        return subprocess.run(
            [self.client_program, "-Y", "GSS-SPNEGO", "-H", url, "-O", "maxssf=%d" % layer, "-o", "nettimeout=%d" % PATIENCE],
            cwd=world.path, env=world.environment(SASL_CONF_PATH=world.path, LDAPNOINIT="1", **environment),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=2 * PATIENCE,
        )

    def test_tells_who_the_client_is(self):
        name = "dn:uid=%s,cn=gss-spnego,cn=auth" % ALICE.lower().replace("\\", "\\5C")
        require(c_plugin(), "gss-ntlmssp")
        for theirs, ours in ((plugin(), plugin()), (c_plugin(), plugin()), (plugin(), c_plugin())):
            server, client = World(ours), World(theirs)
            with self.serving(server) as url:
                # The C mechanism does not know GSS_KRB5_CRED_NO_CI_FLAGS_X.
                for layer, strength in LAYERS if theirs == plugin() else LAYERS[1:]:
                    with self.subTest(client=theirs, server=ours, layer=layer):
                        said = self.who_am_i(client, url, layer)
                        self.assertEqual(said.stdout.strip(), name, said.stderr + self.told(server))
                        if c_plugin() not in (theirs, ours):
                            self.assertIn("SASL SSF: %d\n" % strength, said.stderr)
                            self.assertIn("ssf=%d\n" % strength, self.told(server))

    def test_refuses_a_wrong_password(self):
        server, client = World(), World(user_file="EXAMPLE:alice:Battery Staple\n")
        with self.serving(server) as url:
            said = self.who_am_i(client, url, 256)
        self.assertNotEqual(said.returncode, 0)
        self.assertEqual(said.stdout, "")
        self.assertNotIn("authcid", self.told(server))
