"""Samba's GENSEC, the NTLMSSP of its servers and tools, with messages signed and sealed: every kind of session that it knows.

Without extended session security one key, one RC4 stream and one counter serve both directions, so it takes alternating
traffic to see whether two implementations agree.

Where Samba (4.17) agrees with nobody:

    LM_KEY                  the keys of the sessions are equal, but each of its contexts seals with a key of its own; the C
                            mechanism and pyspnego are the judges of these messages
    SPNEGO without ESS      its RC4 stream goes on from the first mechListMIC to the second, where MS-SPNG 3.3.5.1 takes the state
                            from before the first. Without a MIC in the AUTHENTICATE_MESSAGE an initiator of MIT krb5 sends no
                            mechListMIC, and all is well
"""

import itertools

from harness import (
    ALICE, ANON, ANONYMOUS, CONF, ESS, INTEG, KEY_EXCH, LM_KEY, NEG_56, NEG_128, OEM, OFFER, SEAL, SEALED, SIGN, SIGNED,
    UNICODE, UNPROTECTED, GssFailure, Party, PeerTest, Side, World, negotiated, plugin,
)
from sambaside import LEVELS, PLAIN_V1, RESPONSES, SERVES_V1, STRENGTHS, V1, Gensec, of_role, require_gensec

SEALING = ("sign", "seal")


class GensecTest(PeerTest):
    """`self.ours(level)` is our party at that LM level, `self.samba` Samba's."""

    numbers = itertools.count()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        require_gensec()
        cls.samba = Gensec(World())
        cls.addClassCleanup(cls.samba.close)
        cls.parties = {}

    @classmethod
    def ours(cls, level=3, **environment):
        key = (level, *environment.items())
        if key not in cls.parties:
            cls.parties[key] = party = Party(World(plugin()), LM_COMPAT_LEVEL=str(level), **environment)
            cls.addClassCleanup(cls.close_cleanly, cls, party)
            cls.prepare(party)
        return cls.parties[key]

    def start(self, role, **choices):
        """A new context of Samba; ours will have the same name."""
        context = "%s %d" % (self.id(), next(self.numbers))
        self.samba.start(context=context, role=role, **choices)
        self.addCleanup(self.samba.drop, context=context)
        return context

    def check(self, party, context, granted=INTEG | CONF, strength=None, talks=True):
        """The two contexts have one key and, if they should, understand each other."""
        ours, theirs = Side(party, context), Side(self.samba, context)
        self.assertEqual(party.inquire(context=context, target=False)["flags"] & (INTEG | CONF), granted)
        self.assertEqual(ours.session_key(), theirs.session_key())
        if strength:
            self.assertEqual(party.ssf(context=context)["ssf"], strength)
        # Where sealing was not negotiated, Samba's wrap only signs; ours seals all the same.
        if talks:
            self.converse(ours, theirs, wrap=bool(granted & CONF))


class WeAccept(GensecTest):
    @classmethod
    def prepare(cls, party):
        party.serve(cred="ntlm")
        party.serve(cred="spnego", mech="spnego")

    def accept(self, party, mech="ntlm", features=SEALING, **choices):
        """Returns the context's name, our last answer, and the flags of the AUTHENTICATE_MESSAGE (0 through SPNEGO)."""
        context = self.start("client", mech=mech, features=features, **choices)
        token = None
        for _ in range(6):
            theirs = self.samba.step(context=context, token=token)
            if theirs["token"]:
                sent = theirs["token"]
                answer = party.accept(context=context, token=sent, cred=mech)
                self.addCleanup(party.drop, context=context)
            token = answer["token"]
            if not theirs["more"] and not answer["more"]:
                return context, answer, negotiated(sent) if mech == "ntlm" else 0
        self.fail("no end after six rounds")

    def test_serves_each_response_at_the_levels_that_allow_it(self):
        for (name, (settings, levels, _)), level in itertools.product(RESPONSES.items(), LEVELS):
            with self.subTest(name, level=level):
                if level in levels:
                    context, answer, flags = self.accept(self.ours(level), options=settings)
                    self.assertEqual(answer["source"], ALICE)
                    self.assertEqual(bool(flags & LM_KEY), "LM_KEY" in name and level < 2)
                    self.check(self.ours(level), context, talks="LM_KEY" not in name)
                else:
                    self.assertNotServed(self.accept, party=self.ours(level), options=settings)

    def test_speaks_every_kind_of_session(self):
        for response, strength, exchange, unicode in itertools.product(RESPONSES, STRENGTHS, ("yes", "no"), ("yes", "no")):
            settings, levels, ess = RESPONSES[response]
            bits, ssf = STRENGTHS[strength]
            options = settings | of_role("client", bits | {"keyexchange": exchange, "unicode": unicode})
            with self.subTest(response, strength=strength, key_exchange=exchange, unicode=unicode):
                level = 3 if response == "NTLMv2" else 1
                context, answer, flags = self.accept(self.ours(level), options=options)
                self.assertEqual(answer["source"], ALICE)
                expected = {
                    ESS: ess, NEG_128: strength == "128", KEY_EXCH: exchange == "yes",
                    UNICODE: unicode == "yes", OEM: unicode == "no", LM_KEY: "LM_KEY" in response,
                }
                self.assertEqual({bit: bool(flags & bit) for bit in expected}, expected)
                self.check(self.ours(level), context, strength=ssf, talks="LM_KEY" not in response)

    def test_signs_where_sealing_was_not_asked_for(self):
        for (name, (settings, _, _)), exchange in itertools.product(RESPONSES.items(), ("yes", "no")):
            with self.subTest(name, key_exchange=exchange):
                options = settings | {"ntlmssp_client:keyexchange": exchange}
                context, _, flags = self.accept(self.ours(1), features=("sign",), options=options)
                self.assertEqual(flags & (SIGN | SEAL), SIGN)
                self.check(self.ours(1), context, granted=INTEG, strength=1, talks="LM_KEY" not in name)

    def test_speaks_through_spnego(self):
        for (name, (settings, _, ess)), exchange in itertools.product(RESPONSES.items(), ("yes", "no")):
            with self.subTest(name, key_exchange=exchange):
                options = settings | {"ntlmssp_client:keyexchange": exchange}
                if ess:
                    context, answer, _ = self.accept(self.ours(1), "spnego", options=options)
                    self.assertEqual(answer["source"], ALICE)
                    self.check(self.ours(1), context)
                else:
                    # Its client always wants mechListMICs.
                    with self.assertRaises(GssFailure):
                        self.accept(self.ours(1), "spnego", options=options)

    def test_refuses_a_wrong_password_in_each_response(self):
        for name, (settings, _, _) in RESPONSES.items():
            with self.subTest(name):
                self.assertNotServed(self.accept, party=self.ours(1), options=settings, password="Battery Staple")

    def test_refuses_sessions_below_the_minimum(self):
        for minimum, options, served in (
            ("ess", PLAIN_V1, False),
            ("ess", V1, True),
            ("128", of_role("client", STRENGTHS["56"][0]), False),
            ("128", {}, True),
            ("ess,128,sign,seal", {}, True),
        ):
            with self.subTest(minimum, options=options):
                party = self.ours(1, GSS_NTLM_MINIMUM=minimum)
                if served:
                    context, _, _ = self.accept(party, options=options)
                    self.check(party, context)
                else:
                    self.assertNotServed(self.accept, party=party, options=options)

    def test_serves_anonymous_clients_where_that_is_allowed(self):
        for features in ((), SEALING):
            with self.subTest(features=features):
                self.assertNotServed(self.accept, party=self.ours(), anonymous=True, features=features)
                party = self.ours(GSS_NTLM_ANONYMOUS="yes")
                context, answer, _ = self.accept(party, anonymous=True, features=features)
                self.assertEqual(answer["source"], ANONYMOUS)
                self.assertTrue(answer["flags"] & ANON)
                if features:
                    self.check(party, context)


class WeInitiate(GensecTest):
    @classmethod
    def prepare(cls, party):
        for mech in ("ntlm", "spnego"):
            party.log_on(cred=mech, mech=mech)

    def initiate(self, party, mech="ntlm", flags=SEALED, cred=None, **choices):
        """Returns the context's name, our last answer, and the flags of the CHALLENGE_MESSAGE (0 through SPNEGO)."""
        # A server of Samba refuses clients that do not sign and seal when it wants that.
        features = [name for name, flag in (("sign", INTEG), ("seal", CONF)) if flags & flag]
        context = self.start("server", mech=mech, features=features, **choices)
        theirs = {"token": None, "more": True}
        received = []
        for _ in range(6):
            answer = party.init(context=context, cred=cred or mech, mech=mech, flags=flags, token=theirs["token"])
            self.addCleanup(party.drop, context=context)
            if answer["token"]:
                theirs = self.samba.step(context=context, token=answer["token"])
                received.append(theirs["token"])
            if not answer["more"] and not theirs["more"]:
                return context, answer, negotiated(received[0]) if mech == "ntlm" else 0
        self.fail("no end after six rounds")

    def test_is_served_at_the_levels_that_the_server_allows(self):
        for level, server in itertools.product(LEVELS, ({}, SERVES_V1)):
            with self.subTest(level=level, server=server):
                if level > 2 or server:
                    context, _, _ = self.initiate(self.ours(level), options=server)
                    self.check(self.ours(level), context)
                else:
                    self.assertRefused("NTSTATUS", self.initiate, party=self.ours(level), options=server)

    def test_speaks_every_kind_of_session(self):
        for level, ess, strength, exchange in itertools.product((0, 1, 2, 3), ("yes", "no"), STRENGTHS, ("yes", "no")):
            bits, ssf = STRENGTHS[strength]
            options = SERVES_V1 | of_role("server", bits | {"ntlm2": ess, "keyexchange": exchange})
            with self.subTest(level=level, ess=ess, strength=strength, key_exchange=exchange):
                context, _, flags = self.initiate(self.ours(level), options=options)
                expected = {
                    ESS: ess == "yes" and level > 0, NEG_128: strength == "128", KEY_EXCH: exchange == "yes", LM_KEY: False,
                }
                self.assertEqual({bit: bool(flags & bit) for bit in expected}, expected)
                self.check(self.ours(level), context, strength=ssf)

    def test_signs_where_sealing_was_not_asked_for(self):
        for level, ess in itertools.product((0, 1, 2, 3), ("yes", "no")):
            with self.subTest(level=level, ess=ess):
                options = SERVES_V1 | {"ntlmssp_server:ntlm2": ess}
                context, _, _ = self.initiate(self.ours(level), flags=SIGNED, options=options)
                self.check(self.ours(level), context, granted=INTEG, strength=1)

    def test_is_served_asking_for_nothing(self):
        for level in LEVELS:
            with self.subTest(level=level):
                _, answer, _ = self.initiate(self.ours(level), flags=UNPROTECTED, options=SERVES_V1)
                self.assertEqual(answer["flags"] & (INTEG | CONF), 0)

    def test_speaks_through_spnego(self):
        for level, ess, exchange in itertools.product((0, 1, 2, 3), ("yes", "no"), ("yes", "no")):
            with self.subTest(level=level, ess=ess, key_exchange=exchange):
                options = SERVES_V1 | {"ntlmssp_server:ntlm2": ess, "ntlmssp_server:keyexchange": exchange}
                if level < 3 or ess == "yes":
                    context, _, _ = self.initiate(self.ours(level), "spnego", options=options)
                    self.check(self.ours(level), context)
                else:
                    self.assertRefused("BAD_MIC", self.initiate, party=self.ours(level), mech="spnego", options=options)

    def test_speaks_through_spnego_without_ess_where_it_sends_no_mic(self):
        party = self.ours(3, GSS_NTLM_MIC="raw-only")
        context, _, _ = self.initiate(party, "spnego", options={"ntlmssp_server:ntlm2": "no"})
        self.check(party, context)

    def test_offers_what_the_application_says(self):
        """NEG_FLAGS of the credential, where the server would do more."""
        for flags, ssf in ((ESS | NEG_128, 64), (ESS | NEG_56, 56), (ESS, 40), (NEG_128, 64), (NEG_56, 56), (0, 40)):
            with self.subTest(flags=hex(flags)):
                self.ours().log_on(cred="choice")
                self.ours().set_neg_flags(cred="choice", flags=OFFER | flags)
                context, _, challenge = self.initiate(self.ours(), cred="choice")
                self.assertEqual(challenge & (ESS | NEG_128), flags & (ESS | NEG_128))
                self.check(self.ours(), context, strength=ssf)

    def test_refuses_servers_below_the_minimum(self):
        for minimum, lacking in (("ess", {"ntlm2": "no"}), ("128", STRENGTHS["56"][0])):
            with self.subTest(minimum):
                party = self.ours(GSS_NTLM_MINIMUM=minimum)
                self.assertNotServed(self.initiate, party=party, options=of_role("server", lacking))
                context, _, _ = self.initiate(party)
                self.check(party, context)

    def test_is_served_as_anonymous(self):
        for flags in (UNPROTECTED | ANON, SEALED | ANON):
            with self.subTest(flags=hex(flags)):
                context, answer, _ = self.initiate(self.ours(), flags=flags, anonymous=True)
                self.assertTrue(answer["flags"] & ANON)
                if flags & CONF:
                    self.check(self.ours(), context)
