"""A program of this system with a program of another release, each with its own plugin and libgssapi. scripts/test-distribution
runs these tests, because they need a root of the other release.

GSSNTLM_OTHER          the command that runs a command in the other release, as JSON
GSSNTLM_OTHER_PLUGIN   the plugin that was built there, in a directory that both sides see; TMPDIR is also in it
"""

import itertools
import json
import os

from harness import ALICE, SEALED, SIGNED, GssFailure, Party, PeerTest, Side, World, handshake, message, plugin

# In the other release, the peer's program and Python have other paths.
THERE = ["bash", "-euc", 'exec /usr/bin/python3 "tests/peers/${2##*/}"', "peer"]


class Across(PeerTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.here = Party(World(plugin()))
        cls.addClassCleanup(cls.close_cleanly, cls, cls.here)
        world = World(os.environ["GSSNTLM_OTHER_PLUGIN"])
        settings = ["%s=%s" % setting for setting in world.environment().items()]
        cls.there = Party(world, prefix=[*json.loads(os.environ["GSSNTLM_OTHER"]), "env", *settings, *THERE])
        cls.addClassCleanup(cls.close_cleanly, cls, cls.there)
        cls.numbers = itertools.count()

    def directions(self):
        for initiator, acceptor in ((self.here, self.there), (self.there, self.here)):
            for mech in ("ntlm", "spnego"):
                with self.subTest(mech=mech, initiator="here" if initiator is self.here else "there"):
                    yield initiator, acceptor, mech

    def test_authenticates_signs_and_seals(self):
        for initiator, acceptor, mech in self.directions():
            initiator.log_on(mech=mech)
            acceptor.serve(mech=mech)
            for flags in (SEALED, SIGNED):
                context = "context %d" % next(self.numbers)
                _, accepted = handshake(initiator, acceptor, context=context, mech=mech, flags=flags)
                self.assertEqual(accepted["source"], ALICE)
                one, other = Side(initiator, context), Side(acceptor, context)
                self.assertEqual(one.session_key(), other.session_key())
                self.converse(one, other)
                if mech == "ntlm":
                    # Without SPNEGO no mechListMIC can be lost.
                    source = acceptor.source(context=context)
                    self.assertEqual(source["attributes"]["urn:gss-ntlm:mic"], ["verified"])

    def test_refuses_a_wrong_password(self):
        for initiator, acceptor, mech in self.directions():
            initiator.log_on(mech=mech, password="Battery Staple")
            acceptor.serve(mech=mech)
            with self.assertRaises(GssFailure):
                handshake(initiator, acceptor, context="context %d" % next(self.numbers), mech=mech)

    def test_binds_the_channel(self):
        for initiator, acceptor, mech in self.directions():
            initiator.log_on(mech=mech)
            acceptor.serve(mech=mech)
            for theirs, fits in ((message(20), True), (message(21), False)):
                arguments = {"mech": mech, "initiator_binding": message(20), "acceptor_binding": theirs}
                context = "context %d" % next(self.numbers)
                if fits:
                    handshake(initiator, acceptor, context=context, **arguments)
                else:
                    with self.assertRaises(GssFailure):
                        handshake(initiator, acceptor, context=context, **arguments)
