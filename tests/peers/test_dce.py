"""Messages in many buffers, as DCE/RPC and WinRM protect their packets: some buffers are only signed, others also sealed, and the
signature may be anywhere.

The other implementations have peculiarities, which the tests also check:

    pyspnego    allows one DATA only; refuses MIC_TOKEN, PADDING, TRAILER and EMPTY, and a STREAM with anything beside the DATA.
                It signs what it calls data_readonly, which is SIGN_ONLY in GSS. It cannot sign several buffers: its sign and
                verify take one string
    Samba       with ESS the signature covers the whole packet, without ESS only the sealed data, whether or not the signing of
                headers was agreed on. Its Python module has sign_packet and check_packet for a packet that is more than its
                data, but cannot seal one: for this the tests use its DCE/RPC client
"""

import base64
import contextlib
import functools
import itertools
import os
import socket
import struct
import threading
import unittest.mock

from harness import (
    ALICE, ESS, KEY_EXCH, NEG_56, NEG_128, OFFER, PASSWORD, PATIENCE, SEALED,
    Party, PeerTest, Side, World, flip, message, negotiated, plugin, require_module,
)
from sambaside import PLAIN_V1, SERVES_V1, STRENGTHS, Gensec, of_role, require_gensec

# Every kind of session: NegotiateFlags. As an initiator that signs or seals, ours always offers KEY_EXCH.
KINDS = [ess | bits | KEY_EXCH for ess in (ESS, 0) for bits in (NEG_128, NEG_56, 0)]
OF_A_KIND = ESS | NEG_128 | NEG_56 | KEY_EXCH

BEFORE, BEHIND = message(24), message(48)[40:]
HEADER = ("header", None)
# The orders in which programs put buffers; None is the place of the signature.
LAYOUTS = {
    "DCE/RPC": [("sign_only", BEFORE), ("data", message(5000)), ("sign_only", BEHIND), HEADER],
    "header first": [HEADER, ("data", message(300))],
    "header first, more behind": [HEADER, ("sign_only", BEFORE), ("data", message(7)), ("sign_only", BEHIND)],
    "header in the middle": [("sign_only", BEFORE), HEADER, ("data", message(64)), ("sign_only", BEHIND)],
    "header last": [("data", message(1)), HEADER],
    "much that is only signed": [("sign_only", message(9)), ("sign_only", b""), ("sign_only", BEHIND), HEADER, ("data", b"x")],
    "nothing to seal": [("sign_only", BEFORE), ("data", b""), HEADER],
}
SIGNED_LAYOUTS = {
    "DCE/RPC": [("sign_only", BEFORE), ("data", message(5000)), ("sign_only", BEHIND), ("mic_token", None)],
    "signature first": [("mic_token", None), ("data", message(64))],
    "signature in the middle": [("data", message(7)), ("mic_token", None), ("data", message(9)), ("sign_only", BEHIND)],
    "nothing": [("data", b""), ("mic_token", None)],
    "nothing but what is only signed": [("sign_only", BEFORE), ("mic_token", None)],
}


def bytes_of(buffers, *kinds):
    return b"".join(value for kind, value in buffers if kind in kinds)


def signed(buffers):
    return bytes_of(buffers, "data", "sign_only")


class Ours(Side):
    """A context of ours, with the calls for several buffers."""

    def iov(self, call, buffers):
        coded = [(kind, None if value is None else base64.b64encode(value).decode()) for kind, value in buffers]
        answer = self.party.iov(context=self.context, call=call, buffers=coded)["buffers"]
        return [(kind, base64.b64decode(value)) for (kind, _), value in zip(buffers, answer)]

    def wrap_iov(self, buffers):
        return self.iov("wrap_iov", buffers)

    def unwrap_iov(self, buffers):
        return self.iov("unwrap_iov", buffers)

    def get_mic_iov(self, buffers):
        return self.iov("get_mic_iov", buffers)

    def verify_mic_iov(self, buffers):
        self.iov("verify_mic_iov", buffers)

    def wrap_aead(self, data, beside):
        return self.party.wrap_aead(context=self.context, data=data, beside=beside)["data"]

    def unwrap_aead(self, data, beside):
        return self.party.unwrap_aead(context=self.context, data=data, beside=beside)["data"]


class Pyspnego:
    """A context of pyspnego with the same methods."""

    def __init__(self, context):
        self.context = context

    def wrap_iov(self, buffers):
        return self.iov(self.context.wrap_iov, buffers, True)

    def unwrap_iov(self, buffers):
        return self.iov(self.context.unwrap_iov, buffers, None)

    @staticmethod
    def iov(call, buffers, allocate):
        typed = [(spnego.iov.BufferType[kind], allocate if value is None else value) for kind, value in buffers]
        return [(buffer.type.name, buffer.data) for buffer in call(typed).buffers]


class Sessions:
    """What the tests of all peers share: our parties for a class of tests, and names for their contexts."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.world = World(plugin())
        cls.contexts = ("context %d" % n for n in itertools.count())

    @classmethod
    def party(cls, **environment):
        party = Party(cls.world, **environment)
        cls.addClassCleanup(cls.close_cleanly, cls, party)
        return party

    def offer(self, party, kind):
        """A credential with which `party` offers a session of this kind."""
        party.log_on()
        party.set_neg_flags(cred="user", flags=OFFER & ~OF_A_KIND | kind)


class Pairs(Sessions):
    """Tests of two sides that have the same calls; the classes below choose the sides."""

    kinds = KINDS

    def assertCarried(self, sender, receiver, buffers):
        sealed = sender.wrap_iov(buffers)
        clear = bytes_of(buffers, "data")
        self.assertEqual([kind for kind, _ in sealed], [kind for kind, _ in buffers])
        self.assertEqual(bytes_of(sealed, "sign_only"), bytes_of(buffers, "sign_only"))
        self.assertEqual(len(bytes_of(sealed, "header")), 16)
        self.assertEqual(len(bytes_of(sealed, "data")), len(clear))
        if len(clear) > 8:
            self.assertNotEqual(bytes_of(sealed, "data"), clear)
        opened = receiver.unwrap_iov(sealed)
        self.assertEqual([one for one in opened if one[0] != "header"], [one for one in buffers if one[0] != "header"])

    def test_seals_in_every_order(self):
        for kind in self.kinds:
            pair = self.establish(kind)
            for name, buffers in LAYOUTS.items():
                for sender, receiver in (pair, pair[::-1]):
                    with self.subTest(name, kind=hex(kind), sender=type(sender).__name__):
                        self.assertCarried(sender, receiver, buffers)
            self.assertInStep(*pair)

    def assertInStep(self, one, other):
        for sender, receiver in ((one, other), (other, one)):
            self.assertCarried(sender, receiver, LAYOUTS["DCE/RPC"])


class WithPyspnego(Pairs):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        require_module("spnego", "pyspnego")
        global spnego, SpnegoError
        import spnego
        from spnego.exceptions import SpnegoError

        cls.enterClassContext(unittest.mock.patch.dict(os.environ, NTLM_USER_FILE=cls.world.user_file, LM_COMPAT_LEVEL="3"))
        cls.ours = cls.party(**cls.WEAK)

    def start(self, start, **more):
        return start(protocol="ntlm", options=spnego.NegotiateOptions.use_ntlm, **more)

    def check(self, name, theirs, kind, token):
        self.assertEqual(negotiated(token) & OF_A_KIND, kind)
        self.assertTrue(theirs.complete)
        ours, theirs = Ours(self.ours, name), Pyspnego(theirs)
        self.assertEqual(ours.session_key(), theirs.context.session_key)
        self.assertEqual(self.ours.ssf(context=name)["ssf"], 64 if kind & NEG_128 else 56 if kind & NEG_56 else 40)
        return ours, theirs

    def both(self, ess=ESS):
        return self.establish(ess | NEG_128 | KEY_EXCH)

    def test_signs_what_is_in_many_buffers(self):
        for kind in self.kinds:
            ours, theirs = self.establish(kind)
            for name, buffers in SIGNED_LAYOUTS.items():
                with self.subTest(name, kind=hex(kind)):
                    signature = bytes_of(ours.get_mic_iov(buffers), "mic_token")
                    theirs.context.verify(signed(buffers), signature)
                    signature = theirs.context.sign(signed(buffers))
                    ours.verify_mic_iov([(one, value or signature if one == "mic_token" else value) for one, value in buffers])
                    # Concatenated, the buffers are the same string.
                    ours.verify_mic(signed(buffers), theirs.context.sign(signed(buffers)))
                    theirs.context.verify(signed(buffers), ours.get_mic(signed(buffers)))
            self.assertInStep(ours, theirs)

    def test_cuts_the_data_where_it_likes(self):
        for kind in self.kinds:
            ours, theirs = self.establish(kind)
            for cuts in ((0, 0), (1, 1), (3, 8), (8, 16), (64, 64)):
                with self.subTest(kind=hex(kind), cuts=cuts):
                    data = message(64)
                    pieces = [("data", data[: cuts[0]]), ("data", data[cuts[0] : cuts[1]]), HEADER, ("data", data[cuts[1] :])]
                    sealed = ours.wrap_iov(pieces)
                    whole = [("header", bytes_of(sealed, "header")), ("data", bytes_of(sealed, "data"))]
                    self.assertEqual(bytes_of(theirs.unwrap_iov(whole), "data"), data)

                    sealed = theirs.wrap_iov([HEADER, ("data", data)])
                    whole = bytes_of(sealed, "data")
                    pieces = [whole[: cuts[0]], whole[cuts[0] : cuts[1]], whole[cuts[1] :]]
                    opened = ours.unwrap_iov(sealed[:1] + [("data", piece) for piece in pieces])
                    self.assertEqual(bytes_of(opened, "data"), data)

    def test_takes_a_token_as_a_stream(self):
        for kind in self.kinds:
            ours, theirs = self.establish(kind)
            for size in (0, 1, 300):
                with self.subTest(kind=hex(kind), size=size):
                    stream = [("stream", theirs.context.wrap(message(size)).data), ("data", None)]
                    self.assertEqual(bytes_of(ours.unwrap_iov(stream), "data"), message(size))
                    stream = [("stream", ours.wrap(message(size))), ("data", None)]
                    self.assertEqual(bytes_of(theirs.unwrap_iov(stream), "data"), message(size))
                    # The result of wrap_iov with the signature first is such a token.
                    token = bytes_of(ours.wrap_iov([HEADER, ("data", message(size))]), "header", "data")
                    self.assertEqual(theirs.context.unwrap(token).data, message(size))

    def test_seals_for_winrm(self):
        for kind in self.kinds:
            ours, theirs = self.establish(kind)
            with self.subTest(kind=hex(kind)):
                sealed = theirs.context.wrap_winrm(message(300))
                self.assertEqual(sealed.padding_length, 0)
                opened = ours.unwrap_iov([("header", sealed.header), ("data", sealed.data)])
                self.assertEqual(bytes_of(opened, "data"), message(300))
                sealed = ours.wrap_iov([HEADER, ("data", message(300)), ("padding", None)])
                self.assertEqual(sealed[2][1], b"")
                self.assertEqual(theirs.context.unwrap_winrm(sealed[0][1], sealed[1][1]), message(300))

    def test_seals_with_something_in_the_clear_beside_it(self):
        """gss_wrap_aead and gss_unwrap_aead, which the mechglue makes from the calls for several buffers."""
        for kind in self.kinds:
            ours, theirs = self.establish(kind)
            for beside, data in ((BEFORE, message(300)), (b"", message(300)), (BEFORE, b"x")):
                with self.subTest(kind=hex(kind), beside=beside, size=len(data)):
                    token = ours.wrap_aead(data, beside)
                    self.assertEqual(len(token), 16 + len(data))
                    opened = theirs.unwrap_iov([("sign_only", beside), ("header", token[:16]), ("data", token[16:])])
                    self.assertEqual(bytes_of(opened, "data"), data)
                    sealed = theirs.wrap_iov([HEADER, ("sign_only", beside), ("data", data)])
                    self.assertEqual(ours.unwrap_aead(bytes_of(sealed, "header", "data"), beside), data)
            with self.subTest("something else beside it", kind=hex(kind)):
                sealed = theirs.wrap_iov([HEADER, ("sign_only", BEFORE), ("data", message(300))])
                token = bytes_of(sealed, "header", "data")
                self.assertRefused("BAD_MIC", ours.unwrap_aead, data=token, beside=flip(BEFORE))
                self.assertEqual(ours.unwrap_aead(token, BEFORE), message(300))

    def test_refuses_what_was_changed_and_goes_on(self):
        for kind in self.kinds:
            ours, theirs = self.establish(kind)
            sealed = theirs.wrap_iov(LAYOUTS["DCE/RPC"])
            for at, (name, value) in enumerate(sealed):
                # The RandomPad, bytes 4 to 7 of a signature without ESS, has no meaning.
                with self.subTest(kind=hex(kind), changed=at, name=name):
                    changed = [(one, flip(data, 9) if n == at and one == "header" else flip(data) if n == at else data)
                               for n, (one, data) in enumerate(sealed)]
                    self.assertRefused("BAD_MIC", ours.unwrap_iov, buffers=changed)
            with self.subTest("exchanged", kind=hex(kind)):
                exchanged = [sealed[2], sealed[1], sealed[0], sealed[3]]
                self.assertRefused("BAD_MIC", ours.unwrap_iov, buffers=exchanged)
            self.assertEqual(bytes_of(ours.unwrap_iov(sealed), "data"), message(5000))
            signature = ("mic_token", theirs.context.sign(signed(LAYOUTS["DCE/RPC"])))
            buffers = LAYOUTS["DCE/RPC"][:3] + [signature]
            for at in range(3):
                changed = [(one, flip(data) if n == at else data) for n, (one, data) in enumerate(buffers)]
                self.assertRefused("BAD_MIC", ours.verify_mic_iov, buffers=changed)
            ours.verify_mic_iov(buffers)
            self.assertInStep(ours, theirs)

    def test_sends_nothing_that_is_taken_after_it_was_changed(self):
        for kind, at in itertools.product(self.kinds, range(4)):
            with self.subTest(kind=hex(kind), changed=at):
                # pyspnego loses its place in the key stream when it refuses a message.
                ours, theirs = self.establish(kind)
                sealed = ours.wrap_iov(LAYOUTS["DCE/RPC"])
                sealed[at] = (sealed[at][0], flip(sealed[at][1]))
                with self.assertRaises(SpnegoError):
                    theirs.unwrap_iov(sealed)

    def test_signs_what_it_calls_read_only(self):
        for ess in (ESS, 0):
            with self.subTest(ess=ess):
                ours, theirs = self.both(ess)
                sealed = theirs.wrap_iov([("data_readonly", BEFORE), ("data", message(64)), HEADER])
                opened = ours.unwrap_iov([("sign_only", BEFORE)] + sealed[1:])
                self.assertEqual(bytes_of(opened, "data"), message(64))
                sealed = ours.wrap_iov([("sign_only", BEFORE), ("data", message(64)), HEADER])
                opened = theirs.unwrap_iov([("data_readonly", BEFORE)] + sealed[1:])
                self.assertEqual(bytes_of(opened, "data"), message(64))

    def test_does_what_it_does_not(self):
        """Lists that we accept and pyspnego does not."""
        data = ("data", message(64))
        ours, theirs = self.both()
        for buffers, what in (
            ([HEADER, data, data], "1 data"),
            ([HEADER], "no IOV data"),
            ([HEADER, data, ("padding", None)], "unsupported IOV buffer type padding"),
            ([HEADER, data, ("trailer", None)], "unsupported IOV buffer type trailer"),
            ([HEADER, data, ("empty", b"")], "unsupported IOV buffer type empty"),
        ):
            with self.subTest(buffers=[kind for kind, _ in buffers]):
                with self.assertRaisesRegex(SpnegoError, what):
                    theirs.wrap_iov(buffers)
                ours.wrap_iov(buffers)
        with self.assertRaisesRegex(SpnegoError, "unsupported IOV buffer type stream"):
            theirs.unwrap_iov([("stream", ours.wrap_aead(b"x", b"y")), ("sign_only", b"y"), ("data", b"")])
        with self.assertRaisesRegex(SpnegoError, "unsupported IOV buffer type mic_token"):
            theirs.wrap_iov([HEADER, data, ("mic_token", None)])


class WeInitiateToPyspnego(WithPyspnego, PeerTest):
    def establish(self, kind):
        name = next(self.contexts)
        self.offer(self.ours, kind)
        server = self.start(spnego.server)
        answer = self.ours.init(context=name, cred="user", flags=SEALED)
        answer = self.ours.init(context=name, cred="user", flags=SEALED, token=server.step(answer["token"]))
        server.step(answer["token"])
        return self.check(name, server, kind, answer["token"])


class WeAcceptPyspnego(WithPyspnego, PeerTest):
    kinds = KINDS + [kind & ~KEY_EXCH for kind in KINDS]

    def establish(self, kind):
        name = next(self.contexts)
        self.ours.serve()
        client = self.start(
            spnego.client, username=ALICE, password=PASSWORD, hostname="localhost", service="host",
            context_req=spnego.ContextReq(SEALED),
        )
        client._context_req &= ~(OF_A_KIND & ~kind)
        answer = self.ours.accept(context=name, token=client.step(None), cred="server")
        token = client.step(answer["token"])
        self.assertFalse(self.ours.accept(context=name, token=token, cred="server")["more"])
        return self.check(name, client, kind, token)


class BetweenOurs(Pairs, PeerTest):
    """Both sides are ours, each in its own process, through MIT's library."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.initiator, cls.acceptor = cls.party(**cls.WEAK), cls.party(**cls.WEAK)
        cls.acceptor.serve()

    def establish(self, kind, mech="ntlm"):
        name = next(self.contexts)
        self.initiator.log_on(mech=mech)
        if kind is not None:
            self.offer(self.initiator, kind)
        token = None
        while True:
            ours = self.initiator.init(context=name, cred="user", mech=mech, flags=SEALED, token=token)
            if ours["token"]:
                # A credential of the acceptor is for NTLM only.
                token = self.acceptor.accept(context=name, token=ours["token"], cred=None if mech == "spnego" else "server")
                token = token["token"]
            if not ours["more"]:
                return Ours(self.initiator, name), Ours(self.acceptor, name)

    def each(self):
        """Every kind of session in both directions, then one through SPNEGO: the sender, the receiver, and a name."""
        for kind, mech in [(kind, "ntlm") for kind in self.kinds] + [(None, "spnego")]:
            pair = self.establish(kind, mech)
            for sender, receiver in (pair, pair[::-1]):
                yield sender, receiver, {"kind": kind and hex(kind), "mech": mech, "sender": sender.party is self.initiator}

    def test_opens_with_one_call_what_another_has_sealed(self):
        for sender, receiver, case in self.each():
            with self.subTest(**case):
                for size in (0, 1, 300):
                    data = message(size)
                    ways_to_seal = (
                        sender.wrap,
                        lambda data: sender.wrap_aead(data, b""),
                        lambda data: bytes_of(sender.wrap_iov([HEADER, ("data", data)]), "header", "data"),
                        lambda data: bytes_of(sender.wrap_iov([("data", data), HEADER])[::-1], "header", "data"),
                        lambda data: bytes_of(
                            sender.wrap_iov([("header", bytes(16)), ("data", data), ("padding", None), ("trailer", None)]),
                            "header", "data", "padding", "trailer",
                        ),
                    )
                    ways_to_open = (
                        receiver.unwrap,
                        lambda token: receiver.unwrap_aead(token, b""),
                        lambda token: bytes_of(receiver.unwrap_iov([("stream", token), ("data", None)]), "data"),
                        lambda token: bytes_of(receiver.unwrap_iov([("header", token[:16]), ("data", token[16:])]), "data"),
                    )
                    for seal, opened in itertools.product(ways_to_seal, ways_to_open):
                        self.assertEqual(opened(seal(data)), data)

    def test_opens_what_has_something_beside_it(self):
        for sender, receiver, case in self.each():
            with self.subTest(**case):
                for beside in (BEFORE, b"x"):
                    token = sender.wrap_aead(message(64), beside)
                    buffers = [("sign_only", beside), ("data", token[16:]), ("header", token[:16])]
                    self.assertEqual(bytes_of(receiver.unwrap_iov(buffers), "data"), message(64))
                    token = sender.wrap_aead(message(64), beside)
                    buffers = [("stream", token), ("sign_only", beside), ("data", None)]
                    self.assertEqual(bytes_of(receiver.unwrap_iov(buffers), "data"), message(64))
                    sealed = sender.wrap_iov([HEADER, ("sign_only", beside), ("data", message(64))])
                    token = bytes_of(sealed, "header", "data")
                    self.assertRefused("BAD_MIC", receiver.unwrap, data=token)
                    self.assertEqual(receiver.unwrap_aead(token, beside), message(64))

    def test_verifies_with_one_call_what_another_has_signed(self):
        for sender, receiver, case in self.each():
            with self.subTest(**case):
                for buffers in SIGNED_LAYOUTS.values():
                    made = sender.get_mic_iov(buffers)
                    receiver.verify_mic(signed(buffers), bytes_of(made, "mic_token"))
                    receiver.verify_mic_iov(sender.get_mic_iov(buffers))
                    signature = sender.get_mic(signed(buffers))
                    receiver.verify_mic_iov([("mic_token", signature), ("data", signed(buffers))])

    def test_says_how_long_the_signature_is(self):
        for sender, receiver, case in self.each():
            with self.subTest(**case):
                buffers = [("header", b""), ("data", message(64)), ("padding", b""), ("trailer", b"")]
                lengths = [len(value) for _, value in sender.iov("wrap_iov_length", buffers)]
                self.assertEqual(lengths, [16, 64, 0, 0])
                asked = sender.iov("get_mic_iov_length", [("data", message(64)), ("mic_token", b"")])
                self.assertEqual(len(asked[1][1]), 16)
                self.assertInStep(sender, receiver)

    def test_makes_the_same_bytes_with_every_call(self):
        """Copies of one context, which have the same state."""
        for sender, receiver, case in self.each():
            with self.subTest(**case):
                exported = sender.party.export(context=sender.context)["token"]

                def copy():
                    sender.party.import_(context=sender.context, token=exported)
                    return sender

                data = message(300)
                made = [
                    copy().wrap(data),
                    copy().wrap_aead(data, b""),
                    bytes_of(copy().wrap_iov([HEADER, ("data", data)]), "header", "data"),
                    bytes_of(copy().wrap_iov([("data", data[:9]), ("data", data[9:]), HEADER])[::-1], "header")
                    + bytes_of(copy().wrap_iov([("data", data[:9]), ("data", data[9:]), HEADER]), "data"),
                ]
                self.assertEqual(made, made[:1] * 4)
                signatures = [copy().get_mic(data)] + [
                    bytes_of(copy().get_mic_iov(buffers), "mic_token")
                    for buffers in (
                        [("data", data), ("mic_token", None)],
                        [("sign_only", data[:100]), ("mic_token", bytes(16)), ("data", data[100:])],
                    )
                ]
                self.assertEqual(signatures, signatures[:1] * 3)
                copy()


@functools.cache
def samba():
    """One process for all tests of the class."""
    require_gensec()
    started = Gensec(World())
    unittest.addModuleCleanup(started.close)
    unittest.addModuleCleanup(samba.cache_clear)
    return started


class WithSamba(Sessions):
    """At LM level 1: its client has sessions without ESS at no other level."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.samba = samba()
        cls.ours = cls.party(LM_COMPAT_LEVEL="1")

    @staticmethod
    def sessions(role, more):
        """Every kind of session: whether it has ESS, and Samba's settings for it."""
        for ess, (strength, _), exchange in itertools.product((True, False), STRENGTHS.values(), ("yes", "no")):
            yield ess, more | of_role(role, strength | {"ntlm2": "yes" if ess else "no", "keyexchange": exchange})


class Signing(WithSamba):
    """Signatures of packets that are larger than their data: PKT_INTEGRITY."""

    def test_signs_packets_that_are_more_than_their_data(self):
        for level, (ess, options) in itertools.product(("integrity", "privacy"), self.sessions(self.role, self.options)):
            with self.subTest(level=level, options=options):
                ours, theirs, name = self.establish(level, options)
                self.assertEqual(ours.session_key(), self.samba.session_key(context=name)["key"])
                for before, data, behind in (
                    (BEFORE, message(300), BEHIND), (BEFORE, b"", b""), (b"", message(64), BEHIND), (BEFORE, message(64), b""),
                ):
                    pdu = before + data + behind
                    whole = [("sign_only", before), ("data", data), ("sign_only", behind)]
                    buffers = whole if ess else [("data", data)]
                    # Both sides in turn, and one side twice: without ESS they share one counter.
                    for _ in range(2):
                        signature = bytes_of(ours.get_mic_iov(buffers + [("mic_token", None)]), "mic_token")
                        self.samba.check_packet(context=name, data=data, pdu=pdu, mic=signature)
                    signature = self.samba.sign_packet(context=name, data=data, pdu=pdu)["mic"]
                    ours.verify_mic_iov(buffers + [("mic_token", signature)])
                    if level == "privacy":
                        self.carry(ours, theirs, data)
                        self.carry(theirs, ours, data)

    def test_is_refused_by_the_other_rule(self):
        """Checks the rule in the table above."""
        for ess, options in self.sessions(self.role, self.options):
            with self.subTest(options=options):
                ours, _, name = self.establish("integrity", options)
                pdu = BEFORE + message(64) + BEHIND
                parts = [("sign_only", BEFORE), ("data", message(64)), ("sign_only", BEHIND)]
                right, wrong = (parts, parts[1:2]) if ess else (parts[1:2], parts)
                signature = ("mic_token", self.samba.sign_packet(context=name, data=message(64), pdu=pdu)["mic"])
                self.assertRefused("BAD_MIC", ours.verify_mic_iov, buffers=wrong + [signature])
                for at in range(len(right)):
                    changed = [(kind, flip(value) if n == at else value) for n, (kind, value) in enumerate(right)]
                    self.assertRefused("BAD_MIC", ours.verify_mic_iov, buffers=changed + [signature])
                ours.verify_mic_iov(right + [signature])
                signature = bytes_of(ours.get_mic_iov(wrong + [("mic_token", None)]), "mic_token")
                self.assertRefused(
                    "NTSTATUS", self.samba.check_packet, context=name, data=message(64), pdu=pdu, mic=signature
                )


class WeInitiateToSamba(Signing, PeerTest):
    role, options = "server", SERVES_V1

    def establish(self, level, options):
        name = next(self.contexts)
        self.ours.log_on()
        self.samba.start(context=name, role="server", options=options, dce_level=level)
        answer = self.ours.init(context=name, cred="user", flags=SEALED)
        theirs = self.samba.step(context=name, token=answer["token"])
        answer = self.ours.init(context=name, cred="user", flags=SEALED, token=theirs["token"])
        self.assertFalse(self.samba.step(context=name, token=answer["token"])["more"])
        return Ours(self.ours, name), Side(self.samba, name), name


class WeAcceptSamba(Signing, PeerTest):
    role, options = "client", PLAIN_V1

    def establish(self, level, options):
        name = next(self.contexts)
        self.ours.serve()
        self.samba.start(context=name, role="client", options=options, dce_level=level)
        answer = self.ours.accept(context=name, cred="server", token=self.samba.step(context=name)["token"])
        theirs = self.samba.step(context=name, token=answer["token"])
        self.assertFalse(self.ours.accept(context=name, cred="server", token=theirs["token"])["more"])
        return Ours(self.ours, name), Side(self.samba, name), name


REQUEST, RESPONSE, BIND, BIND_ACK, ALTER, ALTER_ACK, AUTH3 = 0, 2, 11, 12, 14, 15, 16
FIRST_AND_LAST, HEADERS_ARE_SIGNED = 3, 4
LEVELS, PRIVACY = {"sign": 5, "seal": 6}, 6
AUTH_TYPES = {"spnego": 9, "ntlm": 10}
HEAD = struct.Struct("<BBBB4sHHI")
# The security trailer before the signature: type and level of the authentication, length of the padding, and a number.
TRAILER = struct.Struct("<BBBxI")


class RpcServer:
    """A server of DCE/RPC on a loopback port, for one connection. It answers a request with its octets in reverse.

    `headers`: whether it agrees to sign headers. `ess`: whether the session will have ESS. `spoil`: the place of an octet that it
    changes in its answers.
    """

    def __init__(self, party, context, mech, headers, ess, spoil=None):
        self.party, self.side, self.mech = party, Ours(party, context), mech
        self.headers, self.ess, self.spoil = headers, ess, spoil
        self.levels, self.failure = set(), None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(PATIENCE)
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            with self.listener, self.listener.accept()[0] as self.peer:
                self.peer.settimeout(PATIENCE)
                while head := self.read(HEAD.size):
                    self.take(head + self.read(HEAD.unpack(head)[5] - HEAD.size))
        except Exception as failure:  # `join` raises it again.
            self.failure = failure

    def join(self):
        self.thread.join(PATIENCE)
        if self.failure:
            raise self.failure

    def read(self, size):
        data = b""
        while len(data) < size:
            more = self.peer.recv(size - len(data))
            if not more:
                return b""
            data += more
        return data

    @staticmethod
    def head(kind, call, body, token_length, flags=FIRST_AND_LAST):
        length = HEAD.size + len(body) + TRAILER.size + token_length
        return HEAD.pack(5, 0, kind, flags, b"\x10\0\0\0", length, token_length, call)

    def take(self, pdu):
        _, _, kind, flags, _, length, token_length, call = HEAD.unpack_from(pdu)
        body, trailer, token = (
            pdu[: length - token_length - TRAILER.size], pdu[-token_length - TRAILER.size : -token_length], pdu[-token_length:]
        )
        auth_type, level, _, _ = TRAILER.unpack(trailer)
        assert auth_type == AUTH_TYPES[self.mech], auth_type
        self.levels.add(level)
        if kind == REQUEST:
            self.answer(call, body, trailer, token)
            return
        assert kind in (BIND, ALTER, AUTH3), kind
        answer = self.party.accept(context=self.side.context, token=token, cred=self.mech)["token"] or b""
        if kind != AUTH3:
            agreed = HEADERS_ARE_SIGNED if self.headers and flags & HEADERS_ARE_SIGNED else 0
            ack = self.ack(kind, body)
            kind = BIND_ACK if kind == BIND else ALTER_ACK
            self.peer.sendall(self.head(kind, call, ack, len(answer), FIRST_AND_LAST | agreed) + ack + trailer + answer)

    def ack(self, kind, body):
        """The first presentation context that the client asks for is the interface in NDR, and is granted; others are refused."""
        count, syntax = body[24], body[52:72]
        address = b"%d\0" % self.port if kind == BIND else b""
        ack = struct.pack("<HHIH", 4280, 4280, 1, len(address)) + address
        ack += bytes(-len(ack) % 4) + struct.pack("<Bxxx", count)
        return ack + struct.pack("<HH", 0, 0) + syntax + (count - 1) * struct.pack("<HH20x", 2, 2)

    def signed(self, before, data, behind):
        return [("sign_only", before), ("data", data), ("sign_only", behind)] if self.ess else [("data", data)]

    def answer(self, call, body, trailer, token):
        auth_type, level, pad, number = TRAILER.unpack(trailer)
        buffers = self.signed(body[:24], body[24:], trailer)
        if level == PRIVACY:
            data = bytes_of(self.side.unwrap_iov(buffers + [("header", token)]), "data")
        else:
            self.side.verify_mic_iov(buffers + [("mic_token", token)])
            data = body[24:]
        data = data[: len(data) - pad][::-1]

        pad = -len(data) % 16
        trailer = TRAILER.pack(auth_type, level, pad, number)
        body = struct.pack("<IHH", len(data), 0, 0) + data + bytes(pad)
        pdu = self.head(RESPONSE, call, body, 16) + body
        buffers = self.signed(pdu[:24], pdu[24:], trailer)
        if level == PRIVACY:
            made = self.side.wrap_iov(buffers + [HEADER])
        else:
            made = self.side.get_mic_iov(buffers + [("mic_token", None)])
        pdu = pdu[:24] + bytes_of(made, "data") + trailer + bytes_of(made, "header", "mic_token")
        self.peer.sendall(pdu if self.spoil is None else flip(pdu, self.spoil))


class RpcOfSamba(WithSamba, PeerTest):
    """Samba's DCE/RPC client, and a server that protects its packets with our mechanism."""

    @contextlib.contextmanager
    def connection(self, level, ess, options, mech="ntlm", headers=True, spoil=None):
        """The name of an open connection."""
        self.ours.serve(cred=mech, mech=mech)
        name = next(self.contexts)
        server = RpcServer(self.ours, name, mech, headers, ess, spoil)
        try:
            binding = "ncacn_ip_tcp:127.0.0.1[%d,%s,%s]" % (server.port, level, mech)
            self.samba.connect(context=name, binding=binding, options=options)
            yield name
        finally:
            self.samba.drop(context=name)
            server.join()
        self.assertEqual(server.levels, {LEVELS[level]})

    def converse(self, name):
        for size in (1, 300, 16, 4000):
            answer = self.samba.request(context=name, number=0, data=message(size))["data"]
            # Samba adds its own trailer to a request, which repeats some of the header.
            self.assertEqual(answer[::-1][:size], message(size))

    def test_is_served(self):
        for level, (ess, options) in itertools.product(LEVELS, self.sessions("client", PLAIN_V1)):
            with self.subTest(level=level, options=options), self.connection(level, ess, options) as name:
                self.converse(name)

    def test_is_served_where_headers_are_not_signed(self):
        for level, ess in itertools.product(LEVELS, (True, False)):
            options = PLAIN_V1 | {"ntlmssp_client:ntlm2": "yes" if ess else "no"}
            with self.subTest(level=level, ess=ess), self.connection(level, ess, options, headers=False) as name:
                self.converse(name)

    def test_is_served_through_spnego(self):
        for level in LEVELS:
            with self.subTest(level=level), self.connection(level, True, {}, mech="spnego") as name:
                self.converse(name)

    def test_refuses_an_answer_that_was_changed(self):
        """Octet 16 is in the header, 24 is the first of the data, the last one is in the signature."""
        for level, ess, spoil in itertools.product(LEVELS, (True, False), (16, 24, -1)):
            options = PLAIN_V1 | {"ntlmssp_client:ntlm2": "yes" if ess else "no"}
            with self.subTest(level=level, ess=ess, spoil=spoil):
                with self.connection(level, ess, options, spoil=spoil) as name:
                    if ess or spoil != 16:
                        self.assertRefused("NTSTATUS", self.samba.request, context=name, number=0, data=message(64))
                    else:
                        self.converse(name)
