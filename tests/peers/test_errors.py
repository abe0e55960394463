"""What curl and the system's log show to a person who does not use the trace."""

import ctypes
import http.server
import os
import pwd
import shutil
import subprocess
import threading

from harness import (
    PATIENCE, SIGNED, USER_FILE, Party, PeerTest, SystemLog, World, plugin, require_curl, spnego_loses_mic
)

NOWHERE = "/nonexistent/users"
UNREADABLE = "The user file %s cannot be read: No such file or directory" % NOWHERE
WARNING, DEBUG = "<84>", "<87>"


class Negotiate(http.server.BaseHTTPRequestHandler):
    """A server that refuses every client."""

    def do_GET(self):
        self.send_response(401)
        self.send_header("WWW-Authenticate", "Negotiate")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Curl(PeerTest):
    @classmethod
    def setUpClass(cls):
        cls.curl = require_curl()
        cls.world = World()
        cls.addClassCleanup(cls.world.remove)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Negotiate)
        cls.addClassCleanup(server.server_close)
        cls.addClassCleanup(server.shutdown)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        cls.url = "http://127.0.0.1:%d/" % server.server_address[1]

    def told(self, **environment):
        done = subprocess.run(
            [self.curl, "--disable", "--verbose", "--max-time", str(PATIENCE), "--negotiate", "--user", ":", self.url],
            env=self.world.environment(**environment), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, encoding="utf-8", timeout=2 * PATIENCE,
        )
        return done.stderr

    def test_shows_what_the_administrator_must_correct(self):
        writable, empty = self.world.write("writable", USER_FILE), self.world.write("empty", "# nobody\n")
        latin1 = self.world.write("latin1", "EXAMPLE:j\xfcrgen:x\n".encode("latin-1"))
        os.chmod(writable, 0o666)
        for setting, value, sentence in (
            ("NTLM_USER_FILE", NOWHERE, UNREADABLE),
            ("NTLM_USER_FILE", self.world.path, "The user file %s cannot be read: it is not a regular file" % self.world.path),
            ("NTLM_USER_FILE", writable, "The user file %s is not used because everybody may write to it" % writable),
            ("NTLM_USER_FILE", empty, "The user file %s has no usable entry: add a line" % empty),
            ("NTLM_USER_FILE", latin1, "The user file %s has no usable entry, and its line 1 is not UTF-8" % latin1),
            ("GSS_NTLM_MIC", "sometimes", "GSS_NTLM_MIC must be "),
            ("LM_COMPAT_LEVEL", "6", "LM_COMPAT_LEVEL must be a number from 0 to 5"),
            ("GSS_NTLM_REQUIRED_MIC", "yes", "GSS_NTLM_REQUIRED_MIC is not a setting of gss-ntlm"),
        ):
            with self.subTest(setting=setting, value=value):
                told = self.told(**{setting: value})
                self.assertIn(sentence, told)
                self.assertNotIn("cannot find mechanisms", told)

    def test_shows_the_error_of_spnego_if_no_account_is_configured(self):
        told = self.told(NTLM_USER_FILE=None)
        self.assertIn("SPNEGO cannot find mechanisms to negotiate", told)
        self.assertNotIn("user file", told)


class Log(PeerTest):
    def setUp(self):
        self.world = World()
        self.addCleanup(self.world.remove)
        self.log = SystemLog(self.world)
        self.addCleanup(self.log.close)

    def party(self, **environment):
        party = Party(self.world, prefix=self.log.prefix, **environment)
        self.addCleanup(self.close_cleanly, party)
        self.process = "gss-ntlm[%d]: " % party.process.child.pid
        return party

    def assertLogged(self, *sentences, severity=WARNING):
        """The lines since the last call: so many, and each begins so."""
        lines = self.log.lines()
        self.assertEqual(len(lines), len(sentences), lines)
        for line, sentence in zip(lines, sentences):
            self.assertTrue(line.startswith(severity + self.process + sentence), line)
            self.assertFalse(any(ord(letter) < 32 for letter in line), line)

    def test_has_the_error_of_an_acceptor_once(self):
        ours = self.party(NTLM_USER_FILE=NOWHERE)
        for mech in ("ntlm", "spnego", "ntlm"):
            self.assertRefused("NO_CRED", ours.acquire, cred="server", usage="accept", mech=mech)
        self.assertLogged(UNREADABLE)
        # Another cause is also logged.
        store = {"ntlmssp_keyfile": "/nonexistent/keyfile\n<0>kernel: forged"}
        for _ in range(2):
            self.assertRefused("NO_CRED", ours.acquire, cred="server", usage="accept", store=store)
        self.assertLogged("The user file /nonexistent/keyfile\\n<0>kernel: forged cannot be read")

    def test_has_the_error_of_an_acceptor_that_acquires_nothing(self):
        negotiate = self.party().init(context="c", flags=SIGNED)["token"]
        ours = self.party(NTLM_USER_FILE=NOWHERE)
        self.assertRefused("NO_CRED", ours.accept, context="c", token=negotiate)
        self.assertLogged(UNREADABLE)

    def test_has_the_error_of_an_acceptor_whose_file_is_gone(self):
        users = self.world.write("moved", USER_FILE)
        ours, client = self.party(), Party(self.world)
        self.addCleanup(self.close_cleanly, client)
        ours.serve(store={"ntlmssp_keyfile": users})
        client.log_on()
        challenge = ours.accept(context="c", token=client.init(context="c", flags=SIGNED, cred="user")["token"], cred="server")
        os.remove(users)
        authenticate = client.init(context="c", flags=SIGNED, cred="user", token=challenge["token"])["token"]
        self.assertRefused("NO_CRED", ours.accept, context="c", token=authenticate, cred="server")
        self.assertLogged("The user file %s cannot be read" % users)

    def test_has_each_wrong_switch_of_an_acceptor(self):
        for switch, value, sentence in (
            ("GSS_NTLM_MIC", "sometimes", "GSS_NTLM_MIC must be "),
            ("LM_COMPAT_LEVEL", "6", "LM_COMPAT_LEVEL must be "),
            ("GSS_NTLM_REQUIRED_MIC", "yes", "GSS_NTLM_REQUIRED_MIC is not a setting of gss-ntlm"),
        ):
            ours = self.party(**{switch: value})
            self.assertRefused("FAILURE", ours.acquire, cred="server", usage="accept")
            self.assertLogged(sentence)

    def test_has_nothing_if_ntlm_is_not_configured(self):
        # A server with Kerberos only, and its clients: SPNEGO asks every mechanism for a credential.
        ours = self.party(NTLM_USER_FILE=None)
        for usage in ("accept", "initiate", "both"):
            for mech in ("spnego", "ntlm"):
                self.assertRefused("NO_CRED", ours.acquire, cred="server", usage=usage, mech=mech)
        self.assertLogged()

    def test_has_nothing_of_an_initiator(self):
        ours = self.party(NTLM_USER_FILE=NOWHERE)
        for mech in ("ntlm", "spnego"):
            ours.acquire(cred="user", usage="initiate", mech=mech)
            failure = self.assertRefused("NO_CRED", ours.init, context="c", flags=SIGNED, mech=mech, cred="user")
            self.assertIn(UNREADABLE, failure.text)
        self.assertLogged()

    def test_has_that_a_required_mic_gets_lost(self):
        ours, client = self.party(GSS_NTLM_REQUIRE_MIC="yes"), Party(self.world)
        self.addCleanup(self.close_cleanly, client)
        lost = "This krb5 loses the mechListMIC, so SPNEGO clients that send a MIC will fail: update krb5"
        for context, mech, sentences in (
            ("raw", "ntlm", []), ("first", "spnego", [lost] if spnego_loses_mic() else []), ("second", "spnego", []),
        ):
            ours.serve(mech=mech)
            client.log_on(mech=mech)
            negotiate = client.init(context=context, flags=SIGNED, cred="user", mech=mech)["token"]
            ours.accept(context=context, token=negotiate, cred="server")
            self.assertLogged(*sentences)

    def test_has_a_trace_that_cannot_be_opened_once(self):
        for trace, reason in (
            ("/nonexistent/trace", "No such file or directory"),
            (self.world.path, "it is neither a regular file nor a character device"),
        ):
            ours = self.party(GSSNTLMSSP_DEBUG=trace)
            ours.log_on()
            for context in ("c", "d"):
                ours.init(context=context, flags=SIGNED, cred="user")
            self.assertLogged("The trace file %s cannot be opened, %s: name a file" % (trace, reason))
            self.assertRaises(RuntimeError, ours.trace, path="/nonexistent/other")
            self.assertLogged("The trace file /nonexistent/other cannot be opened, No such file or directory: name a file")

    def test_has_the_trace_where_that_is_asked_for(self):
        ours = self.party(GSSNTLMSSP_DEBUG="syslog")
        ours.log_on()
        ours.init(context="c", flags=SIGNED, cred="user")
        lines = self.log.lines()
        self.assertTrue(all(line.startswith(DEBUG + self.process) for line in lines), lines)
        self.assertIn("NEGOTIATE_MESSAGE", "".join(lines))
        ours.trace(path="")
        ours.init(context="d", flags=SIGNED, cred="user")
        ours.trace(path="syslog")
        ours.init(context="e", flags=SIGNED, cred="user")
        self.assertEqual(["NEGOTIATE_MESSAGE" in line for line in self.log.lines()], [True])
        self.assertFalse(os.path.exists(os.path.join(self.world.path, "syslog")))

    def test_does_not_make_a_program_wait(self):
        # Nothing reads this log: its queue is soon full.
        ours = self.party(GSSNTLMSSP_DEBUG="syslog")
        ours.log_on()
        for _ in range(500):
            ours.init(context="c", flags=SIGNED, cred="user")
            ours.drop(context="c")
        self.assertLess(len(self.log.lines()), 500)


class SetUserId(PeerTest):
    """A program that must not trust its environment."""

    PROGRAM = """
import ctypes, sys
mechanism = ctypes.CDLL(sys.argv[1])
minor, cred = ctypes.c_uint32(), ctypes.c_void_p()
# An acceptor's default credential.
mechanism.gss_acquire_cred(ctypes.byref(minor), None, 0, None, 2, ctypes.byref(cred), None, None)
print("%x" % minor.value)
"""

    def test_sees_no_switch(self):
        if os.geteuid() != 0:
            self.skipTest("only root can make a program of another user")
        world = World()
        self.addCleanup(world.remove)
        # The interpreter as it is, and as a set-user-ID program.
        ordinary, other = shutil.copy(os.path.realpath("/usr/bin/python3"), world.path + "/ordinary"), world.path + "/other"
        shutil.copy(ordinary, other)
        os.chmod(ordinary, 0o755)
        os.chmod(world.path, 0o711)
        nobody = pwd.getpwnam("nobody").pw_uid
        os.chown(other, nobody, -1)
        os.chmod(other, 0o4755)
        library = shutil.copy(plugin(), world.path)
        os.chmod(library, 0o755)

        def minor(program, **environment):
            done = subprocess.run(
                [program, "-c", self.PROGRAM, library], env=world.environment(NTLM_USER_FILE=None, **environment),
                stdout=subprocess.PIPE, encoding="ascii", timeout=PATIENCE, check=True,
            )
            return done.stdout.strip()

        nothing = minor(ordinary)
        for setting, code in (
            ({"GSS_NTLM_REQUIRED_MIC": "yes"}, "4e540051"), ({"GSS_NTLM_" + 100 * "X": "yes"}, "4e540051"),
            ({"GSS_NTLM_MIC": "sometimes"}, "4e540038"), ({"LM_COMPAT_LEVEL": "6"}, "4e540009"),
        ):
            self.assertEqual((minor(ordinary, **setting), minor(other, **setting)), (code, nothing), setting)
