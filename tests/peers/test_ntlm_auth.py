"""Samba's ntlm_auth through its helper protocols, as client of our acceptor and as server for our initiator.

No winbindd is needed: as a client ntlm_auth takes its password from the command line, and a server that was given a password
checks every user against that one.
"""

import base64
import itertools
import os

from harness import (
    ALICE, CONF, INTEG, PASSWORD, SEALED, SIGNED, UNPROTECTED,
    GssFailure, LineProcess, Party, PeerTest, World, plugin, require_program,
)

SMB_CONF = """\
[global]
workgroup = EXAMPLE
netbios name = SAMBAHOST
{directories}
"""
DIRECTORIES = (
    "lock directory", "state directory", "cache directory", "private dir", "pid directory", "ncalrpc dir",
    "winbindd socket directory",
)

SIGN, SEAL, KEY_EXCH = 0x10, 0x20, 0x40000000
FEATURES = {
    "session key": ("NTLMSSP_FEATURE_SESSION_KEY", INTEG),
    "sign": ("NTLMSSP_FEATURE_SIGN", INTEG),
    "seal": ("NTLMSSP_FEATURE_SEAL", INTEG | CONF),
    "all": ("NTLMSSP_FEATURE_SESSION_KEY NTLMSSP_FEATURE_SIGN NTLMSSP_FEATURE_SEAL", INTEG | CONF),
}


class NtlmAuth(LineProcess):
    """One ntlm_auth helper: `tell` sends a command with a token and returns the answer's code and fields."""

    def __init__(self, world, protocol, password=PASSWORD, features=None):
        state = os.path.join(world.path, "samba")
        os.makedirs(state, mode=0o700, exist_ok=True)
        directories = "\n".join("%s = %s" % (key, state) for key in DIRECTORIES)
        smb_conf = world.write("smb.conf", SMB_CONF.format(directories=directories))
        program = require_program("ntlm_auth", "winbind")
        super().__init__(
            [
                program, "--configfile=" + smb_conf, "--helper-protocol=" + protocol,
                "--username=alice", "--domain=EXAMPLE", "--password=" + password,
            ],
            world.environment(),
            cwd=world.path,
        )
        if features:
            code, _ = self.tell("SF " + features)
            assert code == "OK", code

    def tell(self, command, token=None):
        answer = self.ask(command if token is None else command + " " + base64.b64encode(token).decode())
        code, *fields = answer.split(" ")
        return code, fields

    def session_key(self):
        code, (key,) = self.tell("GK")
        assert code == "GK", code
        return base64.b64decode(key)

    def negotiated(self):
        code, (flags,) = self.tell("GF")
        assert code == "GF", code
        return int(flags, 16)


class NtlmAuthTest(PeerTest):
    def setUp(self):
        require_program("ntlm_auth", "winbind")
        self.world = World(plugin())
        self.ours = Party(self.world)
        self.addCleanup(self.close_cleanly, self.ours)
        self.rounds = itertools.count()
        self.context = None

    def helper(self, protocol, **options):
        """A new helper, and a new context of ours to go with it."""
        self.context = "round %d" % next(self.rounds)
        helper = NtlmAuth(self.world, protocol, **options)
        self.addCleanup(helper.close)
        return helper


class WeAccept(NtlmAuthTest):
    """ntlm_auth is the client."""

    def log_on(self, client):
        """Carry tokens until both are done. The client's answers: YR with the first token, KK with one that wants an
        answer, AF when it is done, with or without a token."""
        code, fields = client.tell("YR")
        self.assertEqual(code, "YR")
        for _ in range(6):
            token = base64.b64decode(fields[0])
            answer = self.ours.accept(context=self.context, token=token, cred="server")
            if code == "AF":
                self.assertFalse(answer["more"])
                return answer
            code, fields = client.tell("TT", answer["token"])
            if code == "AF" and not fields:
                self.assertFalse(answer["more"])
                return answer
            self.assertIn(code, ("KK", "AF"), "%s %s" % (code, fields))
        self.fail("no end after six rounds")

    def check(self, client, answer, granted):
        self.assertEqual(answer["source"], ALICE)
        self.assertEqual(answer["flags"] & (INTEG | CONF), granted)
        self.assertEqual(client.session_key(), self.ours.session_key(context=self.context)["key"])

    def test_accepts_raw_with_each_feature(self):
        self.ours.serve()
        for name, (features, granted) in FEATURES.items():
            with self.subTest(name):
                client = self.helper("ntlmssp-client-1", features=features)
                self.check(client, self.log_on(client), granted)
                flags = client.negotiated()
                self.assertEqual(bool(flags & SEAL), bool(granted & CONF))
                self.assertTrue(flags & SIGN)

    def test_accepts_raw_with_no_feature_asked(self):
        self.ours.serve()
        client = self.helper("ntlmssp-client-1")
        self.assertEqual(self.log_on(client)["source"], ALICE)

    def test_accepts_through_spnego_with_each_feature(self):
        self.ours.serve(mech="spnego")
        for name, (features, granted) in FEATURES.items():
            with self.subTest(name):
                client = self.helper("gss-spnego-client", features=features)
                self.check(client, self.log_on(client), granted)

    def test_refuses_a_wrong_password(self):
        for protocol, mech in (("ntlmssp-client-1", "ntlm"), ("gss-spnego-client", "spnego")):
            with self.subTest(protocol):
                self.ours.serve(mech=mech)
                client = self.helper(protocol, password="Battery Staple", features=FEATURES["sign"][0])
                with self.assertRaises(GssFailure):
                    self.log_on(client)


class WeInitiate(NtlmAuthTest):
    """ntlm_auth is the server. The answers: TT with a token for the client, AF when the user is accepted, NA or BH else."""

    # The gss-spnego helper answers with the token and, third, the name; the other one has room for only one of them.
    PROTOCOLS = (("ntlm", "squid-2.5-ntlmssp"), ("spnego", "gss-spnego"))

    def log_on(self, server, mech, flags):
        """Returns our last answer, and the server's code and last field (the name, or why not)."""
        answer = self.ours.init(context=self.context, cred="user", mech=mech, flags=flags)
        command = "YR"
        for _ in range(6):
            code, fields = server.tell(command, answer["token"])
            if code not in ("TT", "AF"):
                return answer, code, fields
            if code == "TT" or (mech == "spnego" and fields[0] != "*"):
                answer = self.ours.init(
                    context=self.context, cred="user", mech=mech, flags=flags, token=base64.b64decode(fields[0])
                )
            if code == "AF":
                self.assertFalse(answer["more"])
                return answer, code, fields[-1]
            command = "KK"
        self.fail("no end after six rounds")

    def test_is_accepted_signing_and_sealing(self):
        for mech, protocol in self.PROTOCOLS:
            for flags in (SIGNED, SEALED):
                with self.subTest(protocol, flags=flags):
                    server = self.helper(protocol)
                    self.ours.log_on(mech=mech)
                    answer, code, name = self.log_on(server, mech, flags)
                    self.assertEqual((code, name), ("AF", ALICE))
                    self.assertEqual(answer["flags"] & (INTEG | CONF), flags & (INTEG | CONF))
                    self.assertEqual(server.session_key(), self.ours.session_key(context=self.context)["key"])
    
    def test_is_accepted_whatever_the_server_wants(self):
        for name, (features, _) in FEATURES.items():
            with self.subTest(name):
                server = self.helper("squid-2.5-ntlmssp", features=features)
                self.ours.log_on()
                answer, code, who = self.log_on(server, "ntlm", SEALED)
                self.assertEqual((code, who), ("AF", ALICE))
                self.assertEqual(answer["flags"] & (INTEG | CONF), INTEG | CONF)
                self.assertEqual(server.negotiated() & (SIGN | SEAL), SIGN | SEAL)
                self.assertEqual(server.session_key(), self.ours.session_key(context=self.context)["key"])

    def test_is_accepted_asking_for_nothing(self):
        server = self.helper("squid-2.5-ntlmssp")
        self.ours.log_on()
        answer, code, name = self.log_on(server, "ntlm", UNPROTECTED)
        self.assertEqual((code, name), ("AF", ALICE))
        self.assertEqual(answer["flags"] & (INTEG | CONF), 0)

    def test_is_refused_with_a_wrong_password(self):
        for mech, protocol in self.PROTOCOLS:
            with self.subTest(protocol):
                server = self.helper(protocol)
                self.ours.log_on(mech=mech, password="Battery Staple")
                _, code, _ = self.log_on(server, mech, SIGNED)
                self.assertIn(code, ("NA", "BH"))

    def test_is_accepted_from_the_user_file(self):
        server = self.helper("squid-2.5-ntlmssp")
        self.ours.acquire(cred="user", usage="initiate", user=ALICE)
        _, code, name = self.log_on(server, "ntlm", SIGNED)
        self.assertEqual((code, name), ("AF", ALICE))
