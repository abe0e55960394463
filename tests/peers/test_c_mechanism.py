"""gss-ntlmssp, the C mechanism, with ours: two processes, both directions, NTLM alone and inside SPNEGO."""

import itertools

from harness import (
    ALICE, CHANNEL_BOUND, CONF, INTEG, PASSWORD, SEALED, SIGNED, SIZES,
    GssFailure, Party, PeerTest, Side, World, c_plugin, flip, handshake, message, plugin, require, shown, spnego_loses_mic,
)


class Exchange:
    """The tests of one direction with one mechanism; the classes below say which."""

    we_initiate = None
    mech = None
    numbers = itertools.count()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        require(c_plugin(), "gss-ntlmssp")
        cls.ours = Party(World(plugin()))
        cls.addClassCleanup(cls.close_cleanly, cls, cls.ours)
        cls.theirs = Party(World(c_plugin()))
        cls.addClassCleanup(cls.theirs.close)
        cls.initiator, cls.acceptor = (cls.ours, cls.theirs) if cls.we_initiate else (cls.theirs, cls.ours)
        cls.initiator.log_on(mech=cls.mech)
        cls.acceptor.serve(mech=cls.mech)

    def establish(self, **options):
        """A new context with the name of the test; both sides drop it when the test ends."""
        name = "%s %d" % (self.id(), next(self.numbers))
        self.addCleanup(self.initiator.drop, context=name)
        self.addCleanup(self.acceptor.drop, context=name)
        sent, accepted = handshake(self.initiator, self.acceptor, name, self.mech, **options)
        return name, sent, accepted

    def both_ways(self):
        return ((self.initiator, self.acceptor), (self.acceptor, self.initiator))

    def test_accepts_the_user_and_says_who_it_is(self):
        context, sent, accepted = self.establish()
        self.assertEqual(shown(self.acceptor, accepted["source"]), ALICE)
        for party in (self.initiator, self.acceptor):
            self.assertEqual(shown(party, party.inquire(context=context, target=False)["initiator"]), ALICE)
        target = self.initiator.inquire(context=context)["target"]
        self.assertEqual(shown(self.initiator, target), "host/localhost")
        for flags in (sent["flags"], accepted["flags"]):
            self.assertEqual(flags & (CONF | INTEG), CONF | INTEG)

    def test_grants_integrity_without_confidentiality(self):
        _, sent, accepted = self.establish(flags=SIGNED)
        for flags in (sent["flags"], accepted["flags"]):
            self.assertEqual(flags & (CONF | INTEG), INTEG)

    def test_agrees_on_the_session_key(self):
        for flags in (SEALED, SIGNED):
            with self.subTest(flags=flags):
                context, _, _ = self.establish(flags=flags)
                key = self.initiator.session_key(context=context)["key"]
                self.assertEqual(len(key), 16)
                self.assertEqual(key, self.acceptor.session_key(context=context)["key"])

    def test_agrees_on_the_strength(self):
        context, _, _ = self.establish()
        self.assertEqual(self.initiator.ssf(context=context), self.acceptor.ssf(context=context))

    def test_wraps_messages_of_every_size_both_ways(self):
        context, _, _ = self.establish()
        for size in SIZES:
            for sender, receiver in self.both_ways():
                self.carry(Side(sender, context), Side(receiver, context), message(size))

    def test_wraps_with_integrity_only_both_ways(self):
        context, _, _ = self.establish(flags=SIGNED)
        for size in SIZES:
            for sender, receiver in self.both_ways():
                self.carry(Side(sender, context), Side(receiver, context), message(size))

    def test_signs_messages_of_every_size_both_ways(self):
        for flags in (SEALED, SIGNED):
            with self.subTest(flags=flags):
                context, _, _ = self.establish(flags=flags)
                for size in SIZES:
                    for sender, receiver in self.both_ways():
                        self.sign(Side(sender, context), Side(receiver, context), message(size))

    def test_keeps_step_when_wrapping_and_signing_alternate(self):
        context, _, _ = self.establish()
        for turn in range(12):
            sender, receiver = self.both_ways()[turn % 2]
            self.carry(Side(sender, context), Side(receiver, context), message(turn + 1))
            self.sign(Side(sender, context), Side(receiver, context), message(turn + 30))
            if turn % 3 == 0:  # sometimes the same side sends again
                self.carry(Side(sender, context), Side(receiver, context), message(5))

    def test_keeps_step_when_one_side_says_much_before_the_other_answers(self):
        context, _, _ = self.establish()
        for _ in range(3):
            for sender, receiver in self.both_ways():
                batch = [sender.wrap(context=context, data=message(n + 1))["data"] for n in range(20)]
                for n, token in enumerate(batch):
                    self.assertEqual(receiver.unwrap(context=context, data=token)["data"], message(n + 1))

    def test_refuses_a_tampered_wrap_and_takes_the_genuine_one_afterwards(self):
        context, _, _ = self.establish()
        peer = self.theirs
        token = peer.wrap(context=context, data=message(64))["data"]
        for position in (0, 4, 11, 12, 16, -1):
            self.assertRefused(["BAD_MIC", "DEFECTIVE_TOKEN"], self.ours.unwrap, context=context, data=flip(token, position))
        self.assertRefused("DEFECTIVE_TOKEN", self.ours.unwrap, context=context, data=token[:15])
        self.assertEqual(self.ours.unwrap(context=context, data=token)["data"], message(64))
        for sender, receiver in self.both_ways():
            self.carry(Side(sender, context), Side(receiver, context), message(100))

    def test_refuses_a_tampered_signature_and_takes_the_genuine_one_afterwards(self):
        context, _, _ = self.establish()
        mic = self.theirs.get_mic(context=context, data=message(64))["mic"]
        for position in (0, 4, 11, 12, -1):
            self.assertRefused(
                ["BAD_MIC", "DEFECTIVE_TOKEN"],
                self.ours.verify_mic, context=context, data=message(64), mic=flip(mic, position),
            )
        self.assertRefused("BAD_MIC", self.ours.verify_mic, context=context, data=message(65), mic=mic)
        self.assertRefused("DEFECTIVE_TOKEN", self.ours.verify_mic, context=context, data=message(64), mic=mic[:15])
        self.ours.verify_mic(context=context, data=message(64), mic=mic)
        for sender, receiver in self.both_ways():
            self.sign(Side(sender, context), Side(receiver, context), message(100))

    def test_refuses_a_replayed_message(self):
        context, _, _ = self.establish()
        token = self.theirs.wrap(context=context, data=b"once")["data"]
        self.ours.unwrap(context=context, data=token)
        self.assertRefused("BAD_MIC", self.ours.unwrap, context=context, data=token)
        self.carry(Side(self.theirs, context), Side(self.ours, context), b"and on it goes")

    def test_refuses_a_message_that_came_too_early(self):
        context, _, _ = self.establish()
        first, second = (self.theirs.wrap(context=context, data=text)["data"] for text in (b"first", b"second"))
        self.assertRefused("BAD_MIC", self.ours.unwrap, context=context, data=second)
        self.assertEqual(self.ours.unwrap(context=context, data=first)["data"], b"first")
        self.assertEqual(self.ours.unwrap(context=context, data=second)["data"], b"second")

    def test_refuses_a_wrong_password(self):
        self.initiator.log_on(cred="wrong", password="Battery Staple", mech=self.mech)
        with self.assertRaises(GssFailure):
            self.establish(initiator_cred="wrong")

    def test_refuses_an_unknown_user(self):
        self.initiator.log_on(cred="nobody", user="EXAMPLE\\nobody", mech=self.mech)
        with self.assertRaises(GssFailure):
            self.establish(initiator_cred="nobody")

    def test_accepts_a_user_whose_case_differs_from_the_file(self):
        self.initiator.log_on(cred="case", user="EXAMPLE\\ALICE", mech=self.mech)
        _, _, accepted = self.establish(initiator_cred="case")
        self.assertEqual(shown(self.acceptor, accepted["source"]).lower(), ALICE.lower())

    def test_accepts_matching_channel_bindings(self):
        binding = b"tls-server-end-point:" + message(32)
        _, _, accepted = self.establish(initiator_binding=binding, acceptor_binding=binding)
        self.assertTrue(accepted["flags"] & CHANNEL_BOUND)

    def test_refuses_channel_bindings_that_differ(self):
        with self.assertRaises(GssFailure) as caught:
            self.establish(initiator_binding=b"one channel", acceptor_binding=b"another channel")
        # Both mechanisms refuse; the major status of ours has the reason, also through SPNEGO.
        if not self.we_initiate:
            self.assertEqual(caught.exception.major, "BAD_BINDINGS", str(caught.exception))

    def test_accepts_bindings_that_only_the_initiator_gives(self):
        context, _, accepted = self.establish(initiator_binding=b"one channel")
        self.assertFalse(accepted["flags"] & CHANNEL_BOUND)
        self.carry(Side(self.initiator, context), Side(self.acceptor, context), b"established all the same")


class WeInitiateRaw(Exchange, PeerTest):
    we_initiate, mech = True, "ntlm"


class WeInitiateThroughSpnego(Exchange, PeerTest):
    we_initiate, mech = True, "spnego"


class WeAcceptRaw(Exchange, PeerTest):
    we_initiate, mech = False, "ntlm"

    def test_accepts_bindings_that_only_the_acceptor_gives(self):
        _, _, accepted = self.establish(acceptor_binding=b"one channel")
        self.assertFalse(accepted["flags"] & CHANNEL_BOUND)

    def test_says_the_same_of_a_wrong_password_and_an_unknown_user(self):
        failures = []
        for cred, user, password in (("bad", ALICE, "Battery Staple"), ("none", "EXAMPLE\\nobody", PASSWORD)):
            self.initiator.log_on(cred=cred, user=user, password=password)
            with self.assertRaises(GssFailure) as caught:
                self.establish(initiator_cred=cred)
            failures.append(caught.exception)
        wrong, unknown = failures
        self.assertEqual((wrong.status, wrong.minor, wrong.text), (unknown.status, unknown.minor, unknown.text))


class WeAcceptThroughSpnego(Exchange, PeerTest):
    we_initiate, mech = False, "spnego"


class Defaults(PeerTest):
    """What is negotiated when the application does not name NTLM."""

    def setUp(self):
        require(c_plugin(), "gss-ntlmssp")
        self.ours = Party(World(plugin()))
        self.addCleanup(self.close_cleanly, self.ours)
        self.theirs = Party(World(c_plugin()))
        self.addCleanup(self.theirs.close)

    def test_falls_back_to_ntlm_where_spnego_finds_no_kerberos(self):
        for n, (initiator, acceptor) in enumerate(((self.ours, self.theirs), (self.theirs, self.ours))):
            with self.subTest(we_initiate=initiator is self.ours):
                initiator.acquire(cred="user", usage="initiate", user=ALICE, password=PASSWORD, mech="spnego")
                acceptor.serve(mech="spnego")
                context = str(n)
                _, accepted = handshake(initiator, acceptor, context, "spnego")
                self.assertEqual(shown(acceptor, accepted["source"]), ALICE)
                for sender, receiver in ((initiator, acceptor), (acceptor, initiator)):
                    token = sender.wrap(context=context, data=b"hello")["data"]
                    self.assertEqual(receiver.unwrap(context=context, data=token)["data"], b"hello")

    def test_accepts_raw_tokens_with_the_default_credential(self):
        self.theirs.log_on()
        _, accepted = handshake(self.theirs, self.ours, acceptor_cred=None)
        self.assertEqual(accepted["source"], ALICE)


class Policy(PeerTest):
    """Our switches, which are environment variables, with the C mechanism on the other side."""

    def party(self, library, **environment):
        party = Party(World(library), **environment)
        self.addCleanup(party.close)
        return party

    def setUp(self):
        require(c_plugin(), "gss-ntlmssp")

    def we_accept(self, mech="ntlm", flags=SEALED, binding=None, our_binding=None, **environment):
        ours, theirs = self.party(plugin(), **environment), self.party(c_plugin())
        theirs.log_on(mech=mech)
        ours.serve(mech=mech)
        return handshake(theirs, ours, mech=mech, flags=flags, initiator_binding=binding, acceptor_binding=our_binding)

    def test_refuses_an_authenticate_without_mic_where_one_is_required(self):
        # The C mechanism sends a MIC only inside SPNEGO.
        self.assertRefused("FAILURE", self.we_accept, GSS_NTLM_REQUIRE_MIC="yes")
        if spnego_loses_mic():
            # With a MIC there is also a mechListMIC.
            self.assertRefused("DEFECTIVE_TOKEN", self.we_accept, mech="spnego", GSS_NTLM_REQUIRE_MIC="yes")
        else:
            self.we_accept("spnego", GSS_NTLM_REQUIRE_MIC="yes")

    def test_refuses_absent_channel_bindings_where_they_are_required(self):
        self.assertRefused(
            "BAD_BINDINGS", self.we_accept, our_binding=b"one channel", GSS_NTLM_CHANNEL_BINDINGS="required"
        )
        _, accepted = self.we_accept(
            binding=b"one channel", our_binding=b"one channel", GSS_NTLM_CHANNEL_BINDINGS="required"
        )
        self.assertTrue(accepted["flags"] & CHANNEL_BOUND)

    def test_accepts_channel_bindings_that_differ_where_they_do_not_matter(self):
        _, accepted = self.we_accept(binding=b"one", our_binding=b"another", GSS_NTLM_CHANNEL_BINDINGS="off")
        self.assertFalse(accepted["flags"] & CHANNEL_BOUND)

    def test_refuses_less_than_the_minimum_protection(self):
        with self.assertRaises(GssFailure):
            self.we_accept(flags=SIGNED, GSS_NTLM_MINIMUM="sign,seal")
        self.we_accept(flags=SEALED, GSS_NTLM_MINIMUM="128,ess,sign,seal")

    def test_is_accepted_with_and_without_mic(self):
        for switch in ("auto", "raw-only", "off"):
            for mech in ("ntlm", "spnego"):
                with self.subTest(switch=switch, mech=mech):
                    ours, theirs = self.party(plugin(), GSS_NTLM_MIC=switch), self.party(c_plugin())
                    ours.log_on(mech=mech)
                    theirs.serve(mech=mech)
                    _, accepted = handshake(ours, theirs, mech=mech)
                    self.assertEqual(shown(theirs, accepted["source"]), ALICE)
                    token = ours.wrap(context="c", data=b"hello")["data"]
                    self.assertEqual(theirs.unwrap(context="c", data=token)["data"], b"hello")
