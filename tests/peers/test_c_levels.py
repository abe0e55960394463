"""gss-ntlmssp, the C mechanism, with ours at every LM level, and with its NEG_FLAGS option.

The C mechanism behaves as follows, and the tests here expect it:

    its acceptor                  serves clients of every level at every level; at level 0 without extended session security;
                                  grants LM_KEY at every level, but has the key for it only at levels 0 and 1
    its initiator, level 0        no extended session security; LM_KEY too if confidentiality is asked for
    its initiator, level 1        extended session security only if confidentiality is asked for
    its initiator, levels 2 to 5  extended session security always
    NEG_FLAGS of its credential   with confidentiality it uses only the strengths and the character set; without, at levels 0
                                  and 1, also ESS; never KEY_EXCH, ALWAYS_SIGN and LM_KEY
"""

import itertools
import unittest.mock

from harness import (
    ALICE, CONF, ESS, INTEG, LM_KEY, NEG_56, NEG_128, NTLM, OEM, OFFER, REQUEST_TARGET, SEALED, SIGNED, UNICODE, UNPROTECTED,
    Party, PeerTest, Side, World, c_plugin, handshake, negotiated, plugin, require, shown,
)

LEVELS = range(6)
FLAGS = {"nothing": UNPROTECTED, "integrity": SIGNED, "confidentiality": SEALED}
STRENGTHS = {NEG_128 | NEG_56: 64, NEG_56: 56, 0: 40}


class Levels:
    """Both roles at each of their levels; the classes below assign the roles."""

    we_initiate = None
    numbers = itertools.count()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        require(c_plugin(), "gss-ntlmssp")
        libraries = (plugin(), c_plugin()) if cls.we_initiate else (c_plugin(), plugin())
        cls.initiators, cls.acceptors = ([cls.party(World(library), level) for level in LEVELS] for library in libraries)
        for mech in ("ntlm", "spnego"):
            for party in cls.initiators:
                party.log_on(cred=mech, mech=mech)
            for party in cls.acceptors:
                party.serve(cred=mech, mech=mech)

    @classmethod
    def party(cls, world, level):
        # The C mechanism at level 0 has no extended session security.
        party = Party(world, LM_COMPAT_LEVEL=str(level), **cls.WEAK)
        if world.library == plugin():
            cls.addClassCleanup(cls.close_cleanly, cls, party)
        else:
            cls.addClassCleanup(party.close)
        return party

    def exchange(self, client, server, flags=SEALED, mech="ntlm", cred=None):
        """Exchange messages at these levels. Returns the flags of the AUTHENTICATE_MESSAGE (0 through SPNEGO)."""
        context = "%s %d" % (self.id(), next(self.numbers))
        initiator, acceptor = self.initiators[client], self.acceptors[server]
        self.addCleanup(initiator.drop, context=context)
        self.addCleanup(acceptor.drop, context=context)
        sent, accepted = handshake(initiator, acceptor, context, mech, flags, initiator_cred=cred or mech, acceptor_cred=mech)
        self.assertEqual(shown(acceptor, accepted["source"]), ALICE)
        if flags != UNPROTECTED:
            one, other = Side(initiator, context), Side(acceptor, context)
            self.assertEqual(one.session_key(), other.session_key())
            self.assertEqual(initiator.ssf(context=context), acceptor.ssf(context=context))
            self.converse(one, other)
        if mech == "ntlm":
            for answer in (sent, accepted):
                self.assertEqual(answer["flags"] & (CONF | INTEG), flags & (CONF | INTEG))
            self.strength = initiator.ssf(context=context)["ssf"]
            return negotiated(sent["sent"][-1])
        return 0

    def test_speaks_at_every_pair_of_levels(self):
        for client, server, (name, flags) in itertools.product(LEVELS, LEVELS, FLAGS.items()):
            with self.subTest(client=client, server=server, asked=name):
                if self.is_served(client, server):
                    found = self.exchange(client, server, flags)
                    self.assertEqual(bool(found & ESS), self.has_ess(client, server, flags))
                else:
                    self.assertNotServed(self.exchange, client=client, server=server, flags=flags)

    def test_speaks_at_every_level_through_spnego(self):
        for client, server in itertools.product(LEVELS, (0, 1, 2, 3)):
            for flags in (SIGNED, SEALED):
                with self.subTest(client=client, server=server, flags=flags):
                    if self.is_served(client, server):
                        self.exchange(client, server, flags, "spnego")
                    else:
                        self.assertNotServed(self.exchange, client=client, server=server, flags=flags, mech="spnego")


class WeInitiate(Levels, PeerTest):
    we_initiate = True

    def test_needs_extended_session_security_from_level_3_on_by_default(self):
        strict = Party(World(plugin()), LM_COMPAT_LEVEL="3")
        self.addCleanup(self.close_cleanly, strict)
        strict.log_on(cred="ntlm")
        for server, flags, served in ((0, SIGNED, False), (0, SEALED, False), (0, UNPROTECTED, True), (1, SEALED, True)):
            with self.subTest(server=server, flags=flags):
                with unittest.mock.patch.object(self, "initiators", [*self.initiators[:3], strict]):
                    if served:
                        self.exchange(3, server, flags)
                    else:
                        told = self.assertNotServed(self.exchange, client=3, server=server, flags=flags)
                        self.assertIn("GSS_NTLM_MINIMUM=sign-as-asked", told.text)

    def is_served(self, client, server):
        return True

    def has_ess(self, client, server, flags):
        return client > 0 and server > 0

    def test_speaks_every_kind_of_session(self):
        """NEG_FLAGS of our credential. The C mechanism as an acceptor can do each of these flags."""
        for client, kind, bits in itertools.product((0, 1, 2, 3), (ESS, 0, LM_KEY), STRENGTHS):
            with self.subTest(client=client, kind=hex(kind), bits=hex(bits)):
                initiator = self.initiators[client]
                initiator.log_on(cred="choice")
                initiator.set_neg_flags(cred="choice", flags=OFFER | kind | bits)
                if kind == ESS and client == 0:
                    # NEG_FLAGS asks for this flag, but it is never offered at this level.
                    self.assertNotServed(self.exchange, client=client, server=0, cred="choice")
                    continue
                flags = self.exchange(client, server=min(client, 1), cred="choice")
                expected = kind if client < 2 or kind == ESS else 0
                self.assertEqual(flags & (ESS | LM_KEY), expected)
                self.assertEqual(self.strength, STRENGTHS[bits])


class WeAccept(Levels, PeerTest):
    we_initiate = False

    def is_served(self, client, server):
        return client > 2 or server < 3

    def has_ess(self, client, server, flags):
        return client > 1 or client == 1 and flags == SEALED

    def test_speaks_every_kind_of_session(self):
        """NEG_FLAGS of its credential, as far as the C mechanism uses them."""
        for client, flags, charset, bits in itertools.product(LEVELS, (SIGNED, SEALED), (UNICODE, OEM), STRENGTHS):
            with self.subTest(client=client, flags=flags, charset=charset, bits=hex(bits)):
                initiator = self.initiators[client]
                initiator.log_on(cred="choice")
                initiator.set_neg_flags(cred="choice", flags=charset | REQUEST_TARGET | NTLM | bits)
                for server in {min(client, 2), min(client, 1)}:
                    found = self.exchange(client, server, flags, cred="choice")
                    self.assertEqual(found & (UNICODE | OEM), charset)
                    self.assertEqual(bool(found & LM_KEY), client == 0 and flags == SEALED)
                    self.assertEqual(self.strength, STRENGTHS[bits] if flags == SEALED else 1)
