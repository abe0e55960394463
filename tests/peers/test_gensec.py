"""Samba's GENSEC, the NTLMSSP of its servers and tools, with signed and sealed messages: every kind of session that it has.

Without extended session security both directions share one key, one RC4 stream and one counter. Therefore only alternating traffic
shows whether two implementations agree.

Samba (4.17) differs from all others in these cases:

    LM_KEY                  the session keys are equal, but each of its contexts seals with another key; these messages are
                            tested with the C mechanism and pyspnego instead
    SPNEGO without ESS      its RC4 stream continues from the first mechListMIC to the second, but MS-SPNG 3.3.5.1 uses the state
                            before the first one. If the AUTHENTICATE_MESSAGE has no MIC, an initiator of MIT krb5 sends no
                            mechListMIC, and everything works
    KEY_EXCH alone          without SIGN and SEAL its client sends a key and uses it as the session key; by MS-NLMP 3.2.5.1.2 the
                            session key is the one that follows from the response

Its connectionless server (FEATURE_DATAGRAM_MODE) grants no protection, so there are no messages to test.
"""

import itertools

from harness import (
    ALICE, ANON, ANONYMOUS, CONF, ESS, INTEG, KEY_EXCH, LM_KEY, NEG_56, NEG_128, OEM, OFFER, SEAL, SEALED, SIGN, SIGNED,
    UNICODE, UNPROTECTED, GssFailure, Party, PeerTest, Side, World, negotiated, plugin,
    spnego_loses_mic,
)
from sambaside import LEVELS, PLAIN_V1, RESPONSES, SERVES_V1, STRENGTHS, V1, Gensec, of_role, require_gensec

SEALING = ("sign", "seal")
# What a client of Samba asks for, and what it gets.
WISHES = {"seal": (SEALING, INTEG | CONF), "sign": (("sign",), INTEG), "key": (("session key",), INTEG), "nothing": ((), 0)}
MECHANISMS = ("ntlm", "spnego")
ON_OFF = ("yes", "no")
ALWAYS_SIGN = 0x8000


def flags_inside(kind, token):
    """The NegotiateFlags of the NTLM message of that type inside a token; 0 if there is none."""
    place = (token or b"").find(b"NTLMSSP\0" + bytes([kind]))
    return 0 if place < 0 else negotiated(token[place:])


class GensecTest(PeerTest):
    """`self.ours(level)` is our party at this LM level, `self.samba` is Samba's."""

    numbers = itertools.count()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        require_gensec()
        cls.samba = Gensec(World())
        cls.addClassCleanup(cls.samba.close)
        cls.parties = {}

    @classmethod
    def lax(cls, level=3, **environment):
        """Our party that takes also weak sessions."""
        return cls.ours(level, **cls.WEAK, **environment)

    @classmethod
    def ours(cls, level=3, **environment):
        key = (level, *environment.items())
        if key not in cls.parties:
            cls.parties[key] = party = Party(World(plugin()), LM_COMPAT_LEVEL=str(level), **environment)
            cls.addClassCleanup(cls.close_cleanly, cls, party)
            cls.prepare(party)
        return cls.parties[key]

    def start(self, role, **choices):
        """A new context of Samba; ours gets the same name."""
        context = "%s %d" % (self.id(), next(self.numbers))
        self.samba.start(context=context, role=role, **choices)
        self.addCleanup(self.samba.drop, context=context)
        return context

    def check(self, party, context, granted=INTEG | CONF, strength=None, talks=True):
        """The two contexts have the same key and, if they should, can exchange messages."""
        ours, theirs = Side(party, context), Side(self.samba, context)
        self.assertEqual(party.inquire(context=context, target=False)["flags"] & (INTEG | CONF), granted)
        self.assertEqual(ours.session_key(), theirs.session_key())
        if strength:
            self.assertEqual(party.ssf(context=context)["ssf"], strength)
        # If sealing was not negotiated, Samba's wrap only signs, but ours seals.
        if talks:
            self.converse(ours, theirs, wrap=bool(granted & CONF))


class WeAccept(GensecTest):
    @classmethod
    def prepare(cls, party):
        party.serve(cred="ntlm")
        party.serve(cred="spnego", mech="spnego")

    def accept(self, party, mech="ntlm", features=SEALING, **choices):
        """Returns the context's name, our last answer, and the flags of the AUTHENTICATE_MESSAGE."""
        context = self.start("client", mech=mech, features=features, **choices)
        token, flags = None, 0
        for _ in range(6):
            theirs = self.samba.step(context=context, token=token)
            if theirs["token"]:
                flags |= flags_inside(3, theirs["token"])
                answer = party.accept(context=context, token=theirs["token"], cred=mech)
                self.addCleanup(party.drop, context=context)
            token = answer["token"]
            if not theirs["more"] and not answer["more"]:
                return context, answer, flags
        self.fail("the handshake has not ended after six rounds")

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
        for mech, response, wish, strength, exchange, unicode in itertools.product(
            MECHANISMS, RESPONSES, WISHES, STRENGTHS, ON_OFF, ON_OFF
        ):
            settings, _, ess = RESPONSES[response]
            bits, ssf = STRENGTHS[strength]
            features, granted = WISHES[wish]
            choices = {
                "mech": mech, "features": features, "party": self.lax(3 if response == "NTLMv2" else 1),
                "options": settings | of_role("client", bits | {"keyexchange": exchange, "unicode": unicode}),
            }
            with self.subTest(response, mech=mech, wish=wish, strength=strength, key_exchange=exchange, unicode=unicode):
                if mech == "spnego" and granted and not ess and not spnego_loses_mic():
                    # Its client then always requires mechListMICs.
                    with self.assertRaises(GssFailure):
                        self.accept(**choices)
                    continue
                context, answer, flags = self.accept(**choices)
                self.assertEqual(answer["source"], ALICE)
                expected = {
                    SIGN: bool(granted), SEAL: bool(granted & CONF), ESS: ess, NEG_128: strength == "128",
                    NEG_56: strength != "40", KEY_EXCH: exchange == "yes", UNICODE: unicode == "yes", OEM: unicode == "no",
                    LM_KEY: "LM_KEY" in response,
                }
                self.assertEqual({bit: bool(flags & bit) for bit in expected}, expected)
                if not granted and exchange == "yes":
                    self.assertEqual(answer["flags"] & (INTEG | CONF), 0)
                    continue
                self.check(
                    choices["party"], context, granted, strength={CONF | INTEG: ssf, INTEG: 1}.get(granted),
                    talks=granted and "LM_KEY" not in response,
                )

    def test_needs_no_always_sign(self):
        for mech, (features, granted) in itertools.product(MECHANISMS, WISHES.values()):
            with self.subTest(mech=mech, features=features):
                context, _, flags = self.accept(
                    self.ours(), mech, features, options={"ntlmssp_client:alwayssign": "no", "ntlmssp_client:keyexchange": "no"}
                )
                self.assertFalse(flags & ALWAYS_SIGN)
                self.check(self.ours(), context, granted, talks=granted)

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
            ("", of_role("client", STRENGTHS["56"][0]), False),
            ("", {}, True),
        ):
            with self.subTest(minimum, options=options):
                party = self.ours(1 if minimum else 3, GSS_NTLM_MINIMUM=minimum)
                if served:
                    context, _, _ = self.accept(party, options=options)
                    self.check(party, context)
                else:
                    self.assertNotServed(self.accept, party=party, options=options)

    def test_serves_anonymous_clients_where_that_is_allowed(self):
        for features in ((), SEALING):
            with self.subTest(features=features):
                self.assertNotServed(self.accept, party=self.ours(), anonymous=True, features=features)
                party = self.lax(GSS_NTLM_ANONYMOUS="yes")
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
        """Returns the context's name, our last answer, and the flags of the CHALLENGE_MESSAGE."""
        # A Samba server that requires signing and sealing refuses clients without.
        features = [name for name, flag in (("sign", INTEG), ("seal", CONF)) if flags & flag]
        context = self.start("server", mech=mech, features=features, **choices)
        theirs = {"token": None, "more": True}
        challenge = 0
        for _ in range(6):
            answer = party.init(context=context, cred=cred or mech, mech=mech, flags=flags, token=theirs["token"])
            self.addCleanup(party.drop, context=context)
            if answer["token"]:
                theirs = self.samba.step(context=context, token=answer["token"])
                challenge |= flags_inside(2, theirs["token"])
            if not answer["more"] and not theirs["more"]:
                return context, answer, challenge
        self.fail("the handshake has not ended after six rounds")

    def test_is_served_at_the_levels_that_the_server_allows(self):
        for level, server in itertools.product(LEVELS, ({}, SERVES_V1)):
            with self.subTest(level=level, server=server):
                if level > 2 or server:
                    context, _, _ = self.initiate(self.ours(level), options=server)
                    self.check(self.ours(level), context)
                else:
                    self.assertRefused("NTSTATUS", self.initiate, party=self.ours(level), options=server)

    def test_speaks_every_kind_of_session(self):
        for mech, level, asked, ess, strength, exchange in itertools.product(
            MECHANISMS, (0, 1, 2, 3), (SEALED, SIGNED, UNPROTECTED), ON_OFF, STRENGTHS, ON_OFF
        ):
            bits, ssf = STRENGTHS[strength]
            options = SERVES_V1 | of_role("server", bits | {"ntlm2": ess, "keyexchange": exchange})
            choices = {"party": self.lax(level), "mech": mech, "flags": asked, "options": options}
            # SPNEGO asks for INTEG itself.
            granted = asked & (INTEG | CONF) or (INTEG if mech == "spnego" else 0)
            with self.subTest(mech=mech, level=level, asked=asked, ess=ess, strength=strength, key_exchange=exchange):
                if mech == "spnego" and level > 2 and ess == "no" and not spnego_loses_mic():
                    self.assertRefused("BAD_MIC", self.initiate, **choices)
                    continue
                context, answer, flags = self.initiate(**choices)
                self.assertEqual(answer["flags"] & (INTEG | CONF), granted)
                expected = {
                    SIGN: bool(granted), SEAL: bool(granted & CONF), ESS: ess == "yes" and level > 0,
                    NEG_128: strength == "128", NEG_56: strength != "40", KEY_EXCH: exchange == "yes" and bool(granted),
                    UNICODE: True, OEM: False, LM_KEY: False,
                }
                self.assertEqual({bit: bool(flags & bit) for bit in expected}, expected)
                self.check(
                    choices["party"], context, granted, strength={CONF | INTEG: ssf, INTEG: 1}.get(granted), talks=granted
                )

    def test_needs_no_always_sign(self):
        for mech, flags in itertools.product(MECHANISMS, (SEALED, SIGNED)):
            with self.subTest(mech=mech, flags=flags):
                context, _, challenge = self.initiate(
                    self.ours(), mech, flags, options={"ntlmssp_server:alwayssign": "no"}
                )
                self.assertFalse(challenge & ALWAYS_SIGN)
                self.check(self.ours(), context, granted=flags & (INTEG | CONF))

    def test_speaks_through_spnego_without_ess_where_it_sends_no_mic(self):
        party = self.lax(3, GSS_NTLM_MIC="raw-only")
        context, _, _ = self.initiate(party, "spnego", options={"ntlmssp_server:ntlm2": "no"})
        self.check(party, context)

    def test_offers_what_the_application_says(self):
        """NEG_FLAGS of the credential limit what the server would do."""
        offers = ((ESS | NEG_128, 64), (ESS | NEG_56, 56), (ESS, 40), (NEG_128, 64), (NEG_56, 56), (0, 40))
        for mech, (flags, ssf), charset in itertools.product(MECHANISMS, offers, (UNICODE, OEM)):
            with self.subTest(mech=mech, flags=hex(flags), charset=charset):
                self.lax().log_on(cred="choice", mech=mech)
                self.lax().set_neg_flags(cred="choice", flags=OFFER & ~UNICODE | charset | flags)
                choices = {"party": self.lax(), "mech": mech, "cred": "choice"}
                if mech == "spnego" and not flags & ESS and not spnego_loses_mic():
                    self.assertRefused("BAD_MIC", self.initiate, **choices)
                    continue
                context, _, challenge = self.initiate(**choices)
                expected = ESS | NEG_128 | UNICODE | OEM
                self.assertEqual(challenge & expected, (flags | charset) & expected)
                self.check(self.lax(), context, strength=ssf)

    def test_refuses_servers_below_the_minimum(self):
        for minimum, lacking in (
            ("ess", {"ntlm2": "no"}), ("128", STRENGTHS["56"][0]), ("", {"ntlm2": "no"}), ("", STRENGTHS["56"][0]),
        ):
            with self.subTest(minimum):
                party = self.ours(GSS_NTLM_MINIMUM=minimum)
                told = self.assertNotServed(self.initiate, party=party, options=of_role("server", lacking))
                self.assertIn("GSS_NTLM_MINIMUM=sign-as-asked", told.text)
                context, _, _ = self.initiate(party)
                self.check(party, context)

    def test_is_served_as_anonymous(self):
        for flags in (UNPROTECTED | ANON, SEALED | ANON):
            with self.subTest(flags=hex(flags)):
                context, answer, _ = self.initiate(self.ours(), flags=flags, anonymous=True)
                self.assertTrue(answer["flags"] & ANON)
                if flags & CONF:
                    self.check(self.ours(), context)
