"""pyspnego (from PyPI) with its NTLM written in Python, as client and as server, raw and inside its own SPNEGO."""

import itertools
import os
import unittest.mock

from harness import (
    ALICE, CHANNEL_BOUND, CONF, INTEG, PASSWORD, REPLAY, SEALED, SEQUENCE, SIGNED, SIZES,
    GssFailure, Party, PeerTest, World, flip, message, plugin, require_module,
)


def setUpModule():
    require_module("spnego", "pyspnego")
    global spnego, channel_bindings, SpnegoError
    import spnego
    import spnego.channel_bindings as channel_bindings
    from spnego.exceptions import SpnegoError


class Pyspnego:
    """One side of pyspnego with the words of a gsspeer Party, as far as the tests below need them."""

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


class Ours:
    """Our context in the same words."""

    def __init__(self, party, name):
        self.party, self.name = party, name

    def wrap(self, data):
        return self.party.wrap(context=self.name, data=data)["data"]

    def unwrap(self, data):
        return self.party.unwrap(context=self.name, data=data)["data"]

    def get_mic(self, data):
        return self.party.get_mic(context=self.name, data=data)["mic"]

    def verify_mic(self, data, mic):
        self.party.verify_mic(context=self.name, data=data, mic=mic)

    def session_key(self):
        return self.party.session_key(context=self.name)["key"]


class Exchange:
    """The tests of one direction through one mechanism; the classes below say which."""

    mech = None

    def setUp(self):
        self.world = World(plugin())
        # Its server reads the same user file as ours.
        self.enterContext(unittest.mock.patch.dict(os.environ, NTLM_USER_FILE=self.world.user_file))
        self.ours = Party(self.world)
        self.addCleanup(self.close_cleanly, self.ours)
        self.names = ("context %d" % n for n in itertools.count())

    def pyspnego(self, start, binding=None, **options):
        """A client or server of pyspnego that uses nothing but its own code."""
        protocol, choice = {
            "ntlm": ("ntlm", spnego.NegotiateOptions.use_ntlm),
            "spnego": ("negotiate", spnego.NegotiateOptions.use_negotiate),
        }[self.mech]
        if binding is not None:
            binding = channel_bindings.GssChannelBindings(application_data=binding)
        return Pyspnego(start(protocol=protocol, options=choice, channel_bindings=binding, **options))

    def carry(self, sender, receiver, data):
        self.assertEqual(receiver.unwrap(sender.wrap(data)), data)

    def sign(self, sender, receiver, data):
        receiver.verify_mic(data, sender.get_mic(data))

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
    def establish(self, user=ALICE, password=PASSWORD, flags=SEALED, binding=None, our_binding=None):
        """Returns our side, its side and our last answer."""
        self.ours.serve(mech=self.mech)
        name = next(self.names)
        context_req = spnego.ContextReq(flags)
        client = self.pyspnego(
            spnego.client, username=user, password=password, hostname="localhost", service="host",
            context_req=context_req, binding=binding,
        )
        token, answer = client.step(None), None
        while token:
            answer = self.ours.accept(context=name, token=token, cred="server", binding=our_binding)
            token = None if client.context.complete and not answer["token"] else client.step(answer["token"])
        self.assertTrue(client.context.complete)
        self.assertFalse(answer["more"])
        return Ours(self.ours, name), client, answer

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


class WeInitiate(Exchange):
    def establish(self, user=ALICE, password=PASSWORD, flags=SEALED, binding=None, our_binding=None):
        """Returns our side, its side and our last answer."""
        self.ours.log_on(user=user, password=password, mech=self.mech)
        name = next(self.names)
        server = self.pyspnego(spnego.server, binding=binding)
        token = None
        while True:
            answer = self.ours.init(
                context=name, cred="user", mech=self.mech, flags=flags, token=token, binding=our_binding
            )
            if not answer["token"]:
                break
            token = server.step(answer["token"])
            if not token:
                break
        self.assertFalse(answer["more"])
        self.assertTrue(server.context.complete)
        return Ours(self.ours, name), server, answer

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


class WeAcceptRaw(WeAccept, PeerTest):
    mech = "ntlm"


class WeAcceptThroughSpnego(WeAccept, PeerTest):
    mech = "spnego"


class WeInitiateRaw(WeInitiate, PeerTest):
    mech = "ntlm"


class WeInitiateThroughSpnego(WeInitiate, PeerTest):
    mech = "spnego"
