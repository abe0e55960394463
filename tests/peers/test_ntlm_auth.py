"""Samba's ntlm_auth with its helper protocols, as client of our acceptor and as server for our initiator.

It needs no winbindd: as a client ntlm_auth takes its password from the command line, and as a server that was given a password it
checks every user against this one.
"""

import base64
import itertools

from harness import (
    ALICE, CONF, ESS, INTEG, KEY_EXCH, LM_KEY, NEG_56, NEG_128, OEM, OFFER, SEAL, SEALED, SIGN, SIGNED, UNICODE,
    UNPROTECTED, GssFailure, OneOfOurs, PeerTest, World, plugin, require_program,
)
from sambaside import RESPONSES, SERVES_V1, STRENGTHS, NtlmAuth, of_role

FEATURES = {
    "session key": ("NTLMSSP_FEATURE_SESSION_KEY", INTEG),
    "sign": ("NTLMSSP_FEATURE_SIGN", INTEG),
    "seal": ("NTLMSSP_FEATURE_SEAL", INTEG | CONF),
    "all": ("NTLMSSP_FEATURE_SESSION_KEY NTLMSSP_FEATURE_SIGN NTLMSSP_FEATURE_SEAL", INTEG | CONF),
}


class NtlmAuthTest(OneOfOurs, PeerTest):
    def setUp(self):
        require_program("ntlm_auth", "winbind")
        self.world = World(plugin())
        self.ours = self.party()
        self.rounds = itertools.count()
        self.context = None

    def helper(self, protocol, **options):
        """A new helper, and a new context of ours for it."""
        self.context = "round %d" % next(self.rounds)
        helper = NtlmAuth(self.world, protocol, **options)
        self.addCleanup(helper.close)
        return helper


class WeAccept(NtlmAuthTest):
    """ntlm_auth is the client."""

    def log_on(self, client):
        """Exchange tokens until both sides have finished. The client answers YR with the first token, KK with a token that needs
        an answer, and AF when it has finished, with or without a token."""
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
        self.fail("the handshake has not ended after six rounds")

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

    def test_serves_each_response_at_the_levels_that_allow_it(self):
        for level in self.at_each_level():
            self.ours.serve()
            for name, (settings, levels, ess) in RESPONSES.items():
                with self.subTest(name, level=level):
                    client = self.helper("ntlmssp-client-1", features=FEATURES["all"][0], options=settings)
                    if level in levels:
                        self.check(client, self.log_on(client), INTEG | CONF)
                        flags = client.negotiated()
                        self.assertEqual(bool(flags & ESS), ess)
                        self.assertEqual(bool(flags & LM_KEY), "LM_KEY" in name and level < 2)
                    else:
                        self.assertNotServed(self.log_on, client=client)

    def test_serves_each_response_through_spnego(self):
        self.ours = self.party(LM_COMPAT_LEVEL="1")
        self.ours.serve(mech="spnego")
        for name, (settings, _, ess) in RESPONSES.items():
            if not ess:
                continue  # test_gensec.py says why this fails
            with self.subTest(name):
                client = self.helper("gss-spnego-client", features=FEATURES["all"][0], options=settings)
                self.check(client, self.log_on(client), INTEG | CONF)

    def test_negotiates_what_the_client_can_do(self):
        self.ours = self.party(**self.WEAK)
        for (mech, protocol), feature, (name, settings, present, absent) in itertools.product(
            (("ntlm", "ntlmssp-client-1"), ("spnego", "gss-spnego-client")), ("all", "sign"), (
                ("56", STRENGTHS["56"][0], NEG_56, NEG_128),
                ("40", STRENGTHS["40"][0], 0, NEG_128 | NEG_56),
                ("no key exchange", {"keyexchange": "no"}, NEG_128, KEY_EXCH),
                ("OEM", {"unicode": "no"}, OEM, UNICODE),
            ),
        ):
            with self.subTest(name, protocol=protocol, feature=feature):
                features, granted = FEATURES[feature]
                self.ours.serve(mech=mech)
                client = self.helper(protocol, features=features, options=of_role("client", settings))
                self.check(client, self.log_on(client), granted)
                self.assertEqual(client.negotiated() & (present | absent), present)

    def test_refuses_a_wrong_password(self):
        for protocol, mech in (("ntlmssp-client-1", "ntlm"), ("gss-spnego-client", "spnego")):
            with self.subTest(protocol):
                self.ours.serve(mech=mech)
                client = self.helper(protocol, password="Battery Staple", features=FEATURES["sign"][0])
                with self.assertRaises(GssFailure):
                    self.log_on(client)


class WeInitiate(NtlmAuthTest):
    """ntlm_auth is the server. It answers TT with a token for the client, AF if it accepts the user, else NA or BH."""

    # The gss-spnego helper answers with the token and the name; the other helper answers with only one of them.
    PROTOCOLS = (("ntlm", "squid-2.5-ntlmssp"), ("spnego", "gss-spnego"))

    def log_on(self, server, mech, flags):
        """Returns our last answer, and the server's code and last field (the name, or the reason of a refusal)."""
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
        self.fail("the handshake has not ended after six rounds")

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

    def test_is_served_at_every_level(self):
        """A server that was given a password accepts every kind of response, whatever smb.conf says."""
        for level in self.at_each_level():
            for mech, protocol in self.PROTOCOLS:
                with self.subTest(protocol, level=level):
                    self.ours.log_on(mech=mech)
                    server = self.helper(protocol)
                    _, code, name = self.log_on(server, mech, SEALED)
                    self.assertEqual((code, name), ("AF", ALICE))
                    self.assertEqual(bool(server.negotiated() & ESS), level > 0)
                    self.assertEqual(server.session_key(), self.ours.session_key(context=self.context)["key"])

    def test_negotiates_what_the_server_can_do(self):
        self.ours = self.party(**self.WEAK)
        for (mech, protocol), flags, (name, settings, present, absent) in itertools.product(
            self.PROTOCOLS, (SEALED, SIGNED), (
                ("56", STRENGTHS["56"][0], NEG_56, NEG_128),
                ("40", STRENGTHS["40"][0], 0, NEG_128 | NEG_56),
                ("no key exchange", {"keyexchange": "no"}, NEG_128, KEY_EXCH),
                ("no ESS", {"ntlm2": "no"}, NEG_128, ESS),
            ),
        ):
            if mech == "spnego" and absent == ESS:
                continue  # test_gensec.py says why this fails
            with self.subTest(name, protocol=protocol, flags=flags):
                server = self.helper(protocol, options=of_role("server", settings))
                self.ours.log_on(mech=mech)
                _, code, who = self.log_on(server, mech, flags)
                self.assertEqual((code, who), ("AF", ALICE))
                self.assertEqual(server.negotiated() & (present | absent), present)
                self.assertEqual(server.session_key(), self.ours.session_key(context=self.context)["key"])

    def test_agrees_on_a_key_of_the_lm_hash(self):
        settings = SERVES_V1 | {"lanman auth": "yes", "ntlmssp_server:allow_lm_key": "yes"}
        for level in self.at_each_level():
            with self.subTest(level=level):
                server = self.helper("squid-2.5-ntlmssp", options=settings)
                self.ours.log_on()
                self.ours.set_neg_flags(cred="user", flags=OFFER | LM_KEY | NEG_128 | NEG_56)
                _, code, name = self.log_on(server, "ntlm", SEALED)
                self.assertEqual((code, name), ("AF", ALICE))
                self.assertEqual(bool(server.negotiated() & LM_KEY), level < 2)
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
