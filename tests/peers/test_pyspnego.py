"""pyspnego (from PyPI) with its NTLM in Python, as client and as server, NTLM alone and inside its own SPNEGO."""

import itertools
import os
import unittest.mock

from harness import (
    ALICE, CAROL_HASH, CAROL_PASSWORD, CHANNEL_BOUND, CONF, ESS, INTEG, KEY_EXCH, LM_KEY, NEG_56, NEG_128, OFFER, PASSWORD,
    REPLAY, SEAL, SEALED, SEQUENCE, SIGNED, SIZES, UNPROTECTED,
    GssFailure, OneOfOurs, PeerTest, Side, World, flip, may_skip, message, negotiated, plugin, require_module,
    spnego_loses_mic,
)


def setUpModule():
    require_module("spnego", "pyspnego")
    global spnego, channel_bindings, SpnegoError
    import spnego
    import spnego.channel_bindings as channel_bindings
    from spnego.exceptions import SpnegoError


class Pyspnego:
    """One side of pyspnego, with the methods of a Side."""

    def __init__(self, context):
        self.context = context

    def step(self, token):
        return self.context.step(token)

    def wrap(self, data, conf=True):
        return self.context.wrap(data, encrypt=conf).data

    def unwrap(self, data):
        return self.context.unwrap(data).data

    def get_mic(self, data):
        return self.context.sign(data)

    def verify_mic(self, data, mic):
        self.context.verify(data, mic)

    def session_key(self):
        return self.context.session_key


class Exchange(OneOfOurs):
    """The tests of one direction with one mechanism; the classes below say which."""

    mech = None

    def setUp(self):
        self.world = World(plugin())
        # Both sides have the same user file and the same computer name.
        self.enterContext(unittest.mock.patch.dict(os.environ, NTLM_USER_FILE=self.world.user_file))
        self.ours = self.party()
        self.names = ("context %d" % n for n in itertools.count())

    def pyspnego(self, start, binding=None, level=3, **options):
        """A client or server of pyspnego that uses only its own code."""
        protocol, choice = {
            "ntlm": ("ntlm", spnego.NegotiateOptions.use_ntlm),
            "spnego": ("negotiate", spnego.NegotiateOptions.use_negotiate),
        }[self.mech]
        if isinstance(binding, bytes):
            binding = channel_bindings.GssChannelBindings(application_data=binding)
        # pyspnego reads this when its NTLM begins, which inside SPNEGO is later; the patch of setUp removes it again.
        os.environ["LM_COMPAT_LEVEL"] = str(level)
        return Pyspnego(start(protocol=protocol, options=choice, channel_bindings=binding, **options))

    def test_agrees_on_the_session_key(self):
        for flags in (SEALED, SIGNED):
            with self.subTest(flags=flags):
                ours, theirs, _ = self.establish(flags=flags)
                self.assertEqual(len(ours.session_key()), 16)
                self.assertEqual(ours.session_key(), theirs.session_key())

    def test_wraps_and_signs_both_ways(self):
        for flags in (SEALED, SIGNED):
            ours, theirs, _ = self.establish(flags=flags)
            for size in SIZES:
                with self.subTest(flags=flags, size=size):
                    self.carry(ours, theirs, message(size))
                    self.carry(theirs, ours, message(size))
                    self.sign(ours, theirs, message(size))
                    self.sign(theirs, ours, message(size))

    def test_speaks_at_every_pair_of_levels(self):
        for ours in self.at_each_level():
            for theirs, flags in itertools.product(range(6), (SIGNED, SEALED)):
                with self.subTest(ours=ours, theirs=theirs, flags=flags):
                    if self.has_other_key(ours, theirs):
                        continue
                    if self.is_served(ours, theirs):
                        one, other, _ = self.establish(flags=flags, level=theirs)
                        self.assertEqual(one.session_key(), other.session_key())
                        # Without ESS everything shares one stream, which the lost mechListMIC has advanced.
                        if theirs > 0 or self.mech == "ntlm" or not spnego_loses_mic():
                            self.converse(one, other)
                    else:
                        with self.assertRaises((GssFailure, SpnegoError)):
                            self.establish(flags=flags, level=theirs)

    def test_seals_one_message_of_several_buffers(self):
        for ours in (1, 3):
            self.ours = self.party(LM_COMPAT_LEVEL=str(ours))
            one, other, _ = self.establish(level=ours)
            header, data, trailer = b"header in the clear", message(100), b"trailer in the clear"
            kinds = spnego.iov.BufferType
            with self.subTest(level=ours, way="from it"):
                sealed = other.context.wrap_iov(
                    [(kinds.sign_only, header), kinds.header, (kinds.data, data), (kinds.sign_only, trailer)]
                ).buffers
                opened = one.party.unwrap_iov(
                    context=one.context, mic=sealed[1].data, data=sealed[2].data, before=header, after=trailer
                )
                self.assertEqual(opened["data"], data)
            with self.subTest(level=ours, way="to it"):
                sealed = one.party.wrap_iov(context=one.context, data=data, before=header, after=trailer)
                opened = other.context.unwrap_iov(
                    [
                        (kinds.sign_only, header), (kinds.header, sealed["mic"]), (kinds.data, sealed["data"]),
                        (kinds.sign_only, trailer),
                    ]
                ).buffers
                self.assertEqual(opened[2].data, data)
            with self.subTest(level=ours, way="a stream"):
                token = one.wrap(data)
                opened = other.context.unwrap_iov([(kinds.stream, token), kinds.data]).buffers
                self.assertEqual(opened[1].data, data)

    def test_seals_for_winrm(self):
        ours, theirs, _ = self.establish()
        for size in SIZES:
            sealed = theirs.context.wrap_winrm(message(size))
            self.assertEqual(ours.unwrap(sealed.header + sealed.data), message(size))
            token = ours.wrap(message(size))
            self.assertEqual(theirs.context.unwrap_winrm(token[:16], token[16:]), message(size))

    def test_keeps_step_when_one_side_says_much_before_the_other_answers(self):
        ours, theirs, _ = self.establish()
        for _ in range(2):
            for sender, receiver in ((ours, theirs), (theirs, ours)):
                batch = [sender.wrap(message(n + 1)) for n in range(10)]
                self.assertEqual([receiver.unwrap(token) for token in batch], [message(n + 1) for n in range(10)])

    def test_refuses_what_was_tampered_with_and_goes_on(self):
        ours, theirs, _ = self.establish()
        token = theirs.wrap(message(64))
        for position in (0, 4, 12, -1):
            with self.assertRaises(GssFailure):
                ours.unwrap(flip(token, position))
        self.assertEqual(ours.unwrap(token), message(64))
        mic = theirs.get_mic(message(64))
        for position in (0, 4, 12):
            with self.assertRaises(GssFailure):
                ours.verify_mic(message(64), flip(mic, position))
        ours.verify_mic(message(64), mic)
        self.carry(ours, theirs, message(64))
        self.carry(theirs, ours, message(64))

    def test_sends_nothing_that_is_taken_after_it_was_tampered_with(self):
        ours, theirs, _ = self.establish()
        with self.assertRaises(SpnegoError):
            theirs.unwrap(flip(ours.wrap(message(64))))


class WeAccept(Exchange):
    def is_served(self, ours, theirs):
        return theirs > 2 or ours < 3

    def has_other_key(self, ours, theirs):
        return False

    def establish(
        self, user=ALICE, password=PASSWORD, flags=SEALED, binding=None, our_binding=None, our_addresses=None, level=3, without=0
    ):
        """Returns our side, its side and our last answer; `self.sent` is its last token. `without`: flags that it must not
        offer."""
        self.ours.serve(mech=self.mech)
        name = next(self.names)
        context_req = spnego.ContextReq(flags)
        client = self.pyspnego(
            spnego.client, username=user, password=password, hostname="localhost", service="host",
            context_req=context_req, binding=binding, level=level,
        )
        if without:
            client.context._context_req &= ~without
        token, answer = client.step(None), None
        while token:
            self.sent = token
            answer = self.ours.accept(context=name, token=token, cred="server", binding=our_binding, addresses=our_addresses)
            token = None if client.context.complete and not answer["token"] else client.step(answer["token"])
        self.assertTrue(client.context.complete)
        self.assertFalse(answer["more"])
        return Side(self.ours, name), client, answer

    def test_accepts_the_user_and_says_who_it_is(self):
        for flags in (SEALED, SIGNED):
            _, _, answer = self.establish(flags=flags)
            self.assertEqual(answer["source"], ALICE)
            self.assertEqual(answer["flags"] & (INTEG | CONF), flags & (INTEG | CONF))
            self.assertEqual(answer["flags"] & (REPLAY | SEQUENCE), REPLAY | SEQUENCE)

    def test_refuses_a_wrong_password(self):
        with self.assertRaises(GssFailure):
            self.establish(password="Battery Staple")

    def test_refuses_an_unknown_user(self):
        with self.assertRaises(GssFailure):
            self.establish(user="EXAMPLE\\nobody")

    def test_accepts_matching_channel_bindings(self):
        _, _, answer = self.establish(binding=b"one channel", our_binding=b"one channel")
        self.assertTrue(answer["flags"] & CHANNEL_BOUND)

    def test_refuses_channel_bindings_that_differ(self):
        with self.assertRaises(GssFailure) as caught:
            self.establish(binding=b"one channel", our_binding=b"another channel")
        self.assertEqual(caught.exception.major, "BAD_BINDINGS", str(caught.exception))


    def test_compares_channel_bindings_as_the_policy_says(self):
        for policy, both in (("when-sent", False), ("required", True)):
            self.ours = self.party(GSS_NTLM_CHANNEL_BINDINGS=policy)
            _, _, answer = self.establish(binding=b"one channel", our_binding=b"one channel")
            self.assertTrue(answer["flags"] & CHANNEL_BOUND)
            for theirs, ours in ((b"one channel", None), (None, b"one channel"), (None, None)):
                with self.subTest(policy, theirs=theirs, ours=ours):
                    if both:
                        self.assertRefused("BAD_BINDINGS", self.establish, binding=theirs, our_binding=ours)
                    else:
                        _, _, answer = self.establish(binding=theirs, our_binding=ours)
                        self.assertFalse(answer["flags"] & CHANNEL_BOUND)

    def test_verifies_its_mic(self):
        self.ours = self.party(GSS_NTLM_REQUIRE_MIC="yes")
        ours, _, _ = self.establish()
        self.assertEqual(self.ours.source(context=ours.context)["attributes"]["urn:gss-ntlm:mic"], ["verified"])

    def test_knows_users_however_they_are_spelled(self):
        for user, password, source in (
            ("example\\ALICE", PASSWORD, ALICE), ("alice", PASSWORD, ALICE), ("alice@EXAMPLE", PASSWORD, ALICE),
            ("dora", "No Domain", "dora"), ("ELSEWHERE\\Dora", "No Domain", "dora"), ("CAROL", CAROL_PASSWORD, "carol"),
        ):
            with self.subTest(user):
                ours, theirs, answer = self.establish(user=user, password=password)
                self.assertEqual(answer["source"], source)
                self.converse(ours, theirs)


class WeInitiate(Exchange):
    def is_served(self, ours, theirs):
        # Its acceptor has another rule than ours: it accepts NTLMv1 up to level 4.
        return ours > 2 or theirs < 5

    def has_other_key(self, ours, theirs):
        # If LM_KEY was offered, it makes the key from an LM response that was not sent.
        return ours == 0 and theirs == 4

    def establish(
        self, user=ALICE, password=PASSWORD, flags=SEALED, binding=None, our_binding=None, level=3, offer=None, **more
    ):
        """Returns our side, its side and our last answer; `self.sent` is our last token. `offer`: NEG_FLAGS of the
        credential."""
        self.ours.log_on(user=user, password=password, mech=self.mech, **more)
        if offer is not None:
            self.ours.set_neg_flags(cred="user", flags=offer)
        name = next(self.names)
        server = self.pyspnego(spnego.server, binding=binding, level=level)
        token = None
        while True:
            answer = self.ours.init(
                context=name, cred="user", mech=self.mech, flags=flags, token=token, binding=our_binding
            )
            if not answer["token"]:
                break
            self.sent = answer["token"]
            token = server.step(answer["token"])
            if not token:
                break
        self.assertFalse(answer["more"])
        if self.mech == "spnego" and spnego_loses_mic():
            # It waits for a mechListMIC, which an SPNEGO that loses them also does not send.
            self.assertFalse(server.context.complete)
            may_skip("pyspnego as a server inside SPNEGO")
        self.assertTrue(server.context.complete)
        return Side(self.ours, name), server, answer

    def test_is_accepted_as_the_user(self):
        for flags in (SEALED, SIGNED):
            _, server, answer = self.establish(flags=flags)
            self.assertEqual(server.context.client_principal, ALICE)
            self.assertEqual(answer["flags"] & (INTEG | CONF), flags & (INTEG | CONF))

    def test_is_refused_with_a_wrong_password(self):
        with self.assertRaises(SpnegoError):
            self.establish(password="Battery Staple")

    def test_is_accepted_with_matching_channel_bindings(self):
        self.establish(binding=b"one channel", our_binding=b"one channel")

    def test_is_refused_with_channel_bindings_that_differ(self):
        with self.assertRaises(SpnegoError):
            self.establish(binding=b"one channel", our_binding=b"another channel")


    def test_offers_what_the_application_says(self):
        self.ours = self.party(**self.WEAK)
        for flags, ssf in ((ESS | NEG_128, 64), (ESS | NEG_56, 56), (ESS, 40), (NEG_128, 64), (NEG_56, 56), (0, 40)):
            for asked, offer in ((SEALED, OFFER | flags), (SIGNED, OFFER & ~SEAL | flags)):
                with self.subTest(flags=hex(flags), asked=asked):
                    ours, theirs, _ = self.establish(flags=asked, offer=offer)
                    self.assertEqual(self.ours.ssf(context=ours.context)["ssf"], ssf if asked == SEALED else 1)
                    self.assertEqual(ours.session_key(), theirs.session_key())
                    self.converse(ours, theirs)

    def test_is_accepted_without_a_mic(self):
        self.ours = self.party(GSS_NTLM_MIC="off")
        ours, theirs, _ = self.establish()
        self.converse(ours, theirs)

    def test_is_accepted_with_each_kind_of_credential(self):
        from spnego._ntlm_raw.crypto import ntowfv1

        for name, user, choice in (
            ("a hash", ALICE, {"store": {"ntlmssp_nthash": ntowfv1(PASSWORD).hex()}}),
            ("a password of the store", ALICE, {"store": {"password": PASSWORD, "ntlmssp_keyfile": "/nonexistent"}}),
            ("the user file", "alice@EXAMPLE", {}),
            ("the user file, nobody in particular", None, {}),
        ):
            with self.subTest(name):
                ours, theirs, _ = self.establish(user=user, password=None, **choice)
                self.assertEqual(theirs.context.client_principal, ALICE)
                self.converse(ours, theirs)


class WeAcceptRaw(WeAccept, PeerTest):
    mech = "ntlm"

    def test_grants_each_flag_that_it_asks_for(self):
        wanted = spnego.ContextReq
        for asked, granted in (
            (wanted.integrity, INTEG),
            (wanted.sequence_detect, INTEG),
            (wanted.replay_detect, INTEG),
            (wanted.confidentiality | wanted.integrity, INTEG | CONF),
            (wanted.default, INTEG | CONF),
            (wanted.default | wanted.delegate | wanted.identify, INTEG | CONF),
        ):
            with self.subTest(asked=asked):
                ours, theirs, answer = self.establish(flags=asked)
                self.assertEqual(answer["flags"] & (INTEG | CONF), granted)
                self.converse(ours, theirs, sign=bool(granted & INTEG))

    def test_speaks_every_kind_of_session(self):
        self.ours = self.party(LM_COMPAT_LEVEL="1")
        strengths = ((0, 64), (NEG_128, 56), (NEG_128 | NEG_56, 40))
        for level, (weaker, ssf), old, exchange, flags in itertools.product(
            (1, 3), strengths, (0, ESS), (0, KEY_EXCH), (SEALED, SIGNED)
        ):
            without = weaker | old | exchange
            with self.subTest(level=level, without=hex(without), flags=flags):
                ours, theirs, _ = self.establish(level=level, flags=flags, without=without)
                self.assertEqual(negotiated(self.sent) & without, 0)
                self.assertEqual(self.ours.ssf(context=ours.context)["ssf"], ssf if flags == SEALED else 1)
                self.assertEqual(ours.session_key(), theirs.session_key())
                self.converse(ours, theirs)

    def test_seals_where_only_sealing_was_asked_for(self):
        # Its messages then have the dummy signature, which ours do not have: no messages can be exchanged.
        _, _, answer = self.establish(flags=spnego.ContextReq.confidentiality)
        self.assertTrue(answer["flags"] & CONF)

    def test_serves_a_client_that_asked_for_nothing(self):
        # It then sends an EncryptedRandomSessionKey of one byte.
        for asked in (spnego.ContextReq.none, spnego.ContextReq.mutual_auth, spnego.ContextReq.no_integrity):
            with self.subTest(asked=asked):
                ours, client, answer = self.establish(flags=asked)
                self.assertEqual((answer["source"], answer["flags"] & (INTEG | CONF)), (ALICE, 0))
                self.assertEqual(ours.session_key(), client.session_key())
                self.assertRefused("FAILURE", self.establish, flags=asked, password="wrong")

    def test_accepts_each_kind_of_credential(self):
        self.ours.serve()
        for name, credential, source in (
            ("a hash", spnego.NTLMHash("carol", nt_hash=CAROL_HASH), "carol"),
            ("the user file", spnego.CredentialCache(ALICE), ALICE),
            ("the user file, nobody in particular", spnego.CredentialCache(), ALICE),
        ):
            with self.subTest(name):
                _, _, answer = self.establish(user=credential, password=None)
                self.assertEqual(answer["source"], source)

    def test_agrees_on_a_key_of_the_lm_hash_where_ess_is_off(self):
        for level in (0, 1):
            with self.subTest(level=level):
                self.ours = self.party(LM_COMPAT_LEVEL=str(level))
                self.establish(level=0)
                self.assertEqual(negotiated(self.sent) & (ESS | LM_KEY), LM_KEY)

    def test_serves_an_lm_response_alone_at_levels_0_and_1(self):
        """pyspnego by itself sends no LM response alone, nor does any other peer. The key is that of MS-NLMP 3.4.5.1 with LM_KEY;
        without it the key of Windows: half of the LM hash."""
        from spnego import _ntlm

        def lm_alone(context, challenge, credential, channel_bindings):
            _, response, key = _ntlm.compute_response_v1(
                challenge.flags, credential.nt_hash, credential.lm_hash, challenge.server_challenge, bytes(8), False
            )
            return b"", response, key if challenge.flags & LM_KEY else credential.lm_hash[:8] + bytes(8)

        self.enterContext(unittest.mock.patch.object(_ntlm.NTLMProxy, "_compute_response", lm_alone))
        for level in self.at_each_level():
            for kind, flags in itertools.product((LM_KEY, 0), (SIGNED, SEALED)):
                with self.subTest(level=level, flags=flags, kind=kind):
                    if level > 1:
                        self.assertNotServed(self.establish, flags=flags, level=0, without=LM_KEY ^ kind)
                        continue
                    ours, theirs, answer = self.establish(flags=flags, level=0, without=LM_KEY ^ kind)
                    self.assertEqual(answer["source"], ALICE)
                    self.assertEqual(negotiated(self.sent) & LM_KEY, kind)
                    self.assertEqual(ours.session_key(), theirs.session_key())
                    self.converse(ours, theirs)

    def test_accepts_channel_bindings_with_addresses(self):
        self.ours.serve()
        kind = channel_bindings.AddressType
        theirs = channel_bindings.GssChannelBindings(
            initiator_addrtype=kind.inet, initiator_address=b"\x7f\0\0\1", acceptor_addrtype=kind.inet,
            acceptor_address=b"\x7f\0\0\2", application_data=b"one channel",
        )
        _, _, answer = self.establish(binding=theirs, our_binding=b"one channel", our_addresses=("127.0.0.1", "127.0.0.2"))
        self.assertTrue(answer["flags"] & CHANNEL_BOUND)


class WeAcceptThroughSpnego(WeAccept, PeerTest):
    mech = "spnego"


class WeInitiateRaw(WeInitiate, PeerTest):
    mech = "ntlm"

    def test_is_served_asking_for_nothing(self):
        ours, theirs, answer = self.establish(flags=UNPROTECTED)
        self.assertEqual(answer["flags"] & (INTEG | CONF), 0)
        self.assertEqual(ours.session_key(), theirs.session_key())

    def test_signs_with_the_dummy_signature_where_nothing_was_asked_for(self):
        ours, theirs, _ = self.establish(flags=UNPROTECTED)
        self.assertEqual(ours.get_mic(b"data"), b"\1" + bytes(15))
        theirs.verify_mic(b"data", ours.get_mic(b"data"))
        # It proves nothing, so it is not verified here.
        self.assertRefused("UNAVAILABLE", ours.verify_mic, data=b"data", mic=theirs.get_mic(b"data"))

    def test_sends_extended_session_security_from_level_1_on(self):
        for level in self.at_each_level():
            with self.subTest(level=level):
                self.establish()
                self.assertEqual(bool(negotiated(self.sent) & ESS), level > 0)


class WeInitiateThroughSpnego(WeInitiate, PeerTest):
    mech = "spnego"
