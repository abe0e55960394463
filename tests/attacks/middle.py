"""What the attacks share: victims with the software of gss-ntlm, pyspnego and impacket, a man in the middle between any two of
them, and NTLM messages taken apart.

An attack is a function that changes a message on its way. The man in the middle finds the message inside SPNEGO too.
"""

import hashlib
import itertools
import os
import struct
import sys
import unittest.mock

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "peers"))

from harness import (  # noqa: E402: harness stands in the directory above
    ALICE, PASSWORD, SEALED, USER_FILE,
    GssFailure, OneOfOurs, PeerTest, Side, World, may_skip, negotiated, plugin, require_module, spnego_loses_mic,
)

# AvIds (MS-NLMP 2.2.2.1).
AV_COMPUTER, AV_DOMAIN, AV_DNS_COMPUTER, AV_FLAGS, AV_TIME, AV_SINGLE_HOST, AV_TARGET, AV_BINDINGS = 1, 2, 3, 6, 7, 8, 9, 10

NEGOTIATE, CHALLENGE, AUTHENTICATE = 1, 2, 3
# The place of MIC, behind Version.
MIC = slice(72, 88)


def set_up():
    """Call this in each setUpModule."""
    require_module("spnego", "pyspnego")
    require_module("impacket", "impacket")
    global spnego, channel_bindings, impacketpeer, wire, REFUSALS
    import impacketpeer
    import spnego
    import spnego.channel_bindings as channel_bindings
    from spnego import _spnego as wire
    from spnego.exceptions import SpnegoError

    REFUSALS = (GssFailure, SpnegoError, impacketpeer.Refused)


def mechanisms():
    """NTLM alone, and inside SPNEGO where that does not lose its MIC."""
    return ("ntlm",) if spnego_loses_mic() else ("ntlm", "spnego")


def require_spnego():
    """Call this at the start of a test that is only about SPNEGO."""
    if spnego_loses_mic():
        may_skip("attacks inside SPNEGO")


class Message:
    """An NTLM message. What is not changed is packed again as it was."""

    FIELDS = {
        NEGOTIATE: {},
        CHALLENGE: {"name": 12, "info": 40},
        AUTHENTICATE: {"lm": 12, "nt": 20, "domain": 28, "user": 36, "workstation": 44, "key": 52},
    }

    def __init__(self, token):
        self.kind = token[8]
        self.places = self.FIELDS[self.kind]
        spans = {name: struct.unpack_from("<HHI", token, at) for name, at in self.places.items()}
        self.header = bytearray(token[: min((span[2] for span in spans.values() if span[0]), default=len(token))])
        self.fields = {name: token[at : at + length] for name, (length, _, at) in spans.items()}
        self.order = sorted(self.fields, key=lambda name: spans[name][2])

    def pack(self):
        payload = b""
        for name in self.order:
            value = self.fields[name]
            struct.pack_into("<HHI", self.header, self.places[name], len(value), len(value), len(self.header) + len(payload))
            payload += value
        return bytes(self.header) + payload

    @property
    def flags(self):
        return negotiated(self.header)

    @flags.setter
    def flags(self, flags):
        struct.pack_into("<I", self.header, {1: 12, 2: 20, 3: 60}[self.kind], flags)

    @property
    def pairs(self):
        """The AV_PAIRs, as a list of (AvId, value)."""
        data = self.fields["info"] if self.kind == CHALLENGE else self.fields["nt"][44:]
        pairs = []
        while len(data) >= 4 and (av_id := int.from_bytes(data[:2], "little")):
            end = 4 + int.from_bytes(data[2:4], "little")
            pairs.append((av_id, data[4:end]))
            data = data[end:]
        return pairs

    @pairs.setter
    def pairs(self, pairs):
        data = b"".join(struct.pack("<HH", av_id, len(value)) + value for av_id, value in pairs) + bytes(4)
        if self.kind == CHALLENGE:
            self.fields["info"] = data
        else:
            self.fields["nt"] = self.fields["nt"][:44] + data + bytes(4)

    def pair(self, wanted):
        return dict(self.pairs).get(wanted)

    def remove_pairs(self, *unwanted):
        self.pairs = [pair for pair in self.pairs if pair[0] not in unwanted]

    def set_pair(self, av_id, value):
        """Put `value` in the place of what the pair had, or at the end."""
        pairs = dict(self.pairs)
        pairs[av_id] = value
        self.pairs = list(pairs.items())

    @property
    def has_mic(self):
        flags = self.pair(AV_FLAGS) if len(self.fields["nt"]) > 44 else None
        return bool(flags and flags[0] & 2)


def in_message(kind, change):
    """`change` for messages of this kind alone."""
    return lambda message: change(message) if message.kind == kind else None


def hashed(binding):
    """Channel bindings without addresses, as in a message."""
    return hashlib.md5(bytes(16) + struct.pack("<I", len(binding)) + binding).digest()


def without_time(message):
    """An attacker who removes the server's time removes the MIC of clients: they send it only to servers with a time."""
    if message.kind == CHALLENGE:
        message.remove_pairs(AV_TIME)


class Middle:
    """The man in the middle. `changes`: functions that get each Message and change it. `on_spnego` gets each SPNEGO token
    with its number, and changes it. `sent` has the Messages as they were sent, `arrived` as they arrived."""

    def __init__(self, *changes, on_spnego=None):
        self.changes, self.on_spnego = changes, on_spnego
        self.sent, self.arrived, self.number = [], [], 0

    def __call__(self, token):
        self.number += 1
        if token.startswith(b"NTLMSSP\0"):
            return self.change(token)
        outer = wire.unpack_token(token)
        name = "mech_token" if isinstance(outer, wire.NegTokenInit) else "response_token"
        inner = getattr(outer, name)
        if inner and inner.startswith(b"NTLMSSP\0"):
            setattr(outer, name, self.change(inner))
        if self.on_spnego:
            self.on_spnego(self.number, outer)
        return outer.pack()

    def change(self, token):
        message = Message(token)
        assert message.pack() == token, "the man in the middle changes nothing by himself"
        for change in self.changes:
            change(message)
        self.sent.append(Message(token))
        self.arrived.append(Message(message.pack()))
        return message.pack()

    @property
    def has_changed_something(self):
        return [message.pack() for message in self.sent] != [message.pack() for message in self.arrived]


class OurVictim(Side):
    """A client or server of ours."""

    def __init__(self, party, context, call, **arguments):
        super().__init__(party, context)
        self.call = lambda token: call(context=context, token=token, **arguments)

    def step(self, token):
        self.answer = self.call(token)
        self.is_done = not self.answer["more"]
        return self.answer["token"]

    @property
    def flags(self):
        return self.answer["flags"]

    @property
    def user(self):
        return self.answer["source"]


class PyspnegoVictim:
    def __init__(self, context):
        self.context = context

    def step(self, token):
        return self.context.step(token)

    @property
    def is_done(self):
        return self.context.complete

    @property
    def flags(self):
        return int(self.context.context_attr)

    @property
    def user(self):
        return self.context.client_principal

    def session_key(self):
        return self.context.session_key

    def wrap(self, data):
        return self.context.wrap(data).data

    def unwrap(self, data):
        return self.context.unwrap(data).data

    def get_mic(self, data):
        return self.context.sign(data)

    def verify_mic(self, data, mic):
        self.context.verify(data, mic)


class ImpacketVictim:
    """One of impacket's clients or servers: `steps` are its methods for the tokens in their order."""

    def __init__(self, peer, *steps):
        self.peer, self.steps = peer, list(steps)

    def step(self, token):
        answer = self.steps.pop(0)(token) if self.steps else None
        return answer if isinstance(answer, bytes) else None

    @property
    def is_done(self):
        return not self.steps

    @property
    def user(self):
        return self.peer.name

    def __getattr__(self, name):
        return getattr(self.peer.session, name)


class Stopped(Exception):
    """A victim has refused: `by` is client or server."""

    def __init__(self, by, failure):
        super().__init__("%s: %s" % (by, failure))
        self.by, self.failure = by, failure


def talk(client, server, middle=lambda token: token):
    """Let a client log on to a server through `middle`. Raises Stopped if one of them refuses."""
    token = None
    while True:
        for by, victim in (("client", client), ("server", server)):
            try:
                token = victim.step(token)
            except REFUSALS as failure:
                raise Stopped(by, failure) from failure
            if not token:
                break
            token = middle(token)
        if not token:
            break
    if not (client.is_done and server.is_done):
        raise Stopped("client" if server.is_done else "server", "waits for another token")


class AttackTest(OneOfOurs, PeerTest):
    """`self.client` and `self.server` are processes with our mechanism and its default settings."""

    USERS = USER_FILE

    def setUp(self):
        self.world = World(plugin(), self.USERS)
        self.enterContext(unittest.mock.patch.dict(os.environ, NTLM_USER_FILE=self.world.user_file))
        self.client, self.server = self.party(), self.party()
        self.names = ("context %d" % n for n in itertools.count())

    # The victims.

    def our_client(self, mech="ntlm", party=None, flags=SEALED, user=ALICE, password=PASSWORD, **options):
        """`options`: binding, target."""
        party = party or self.client
        party.log_on(mech=mech, user=user, password=password)
        return OurVictim(party, next(self.names), party.init, cred="user", mech=mech, flags=flags, **options)

    def our_server(self, mech="ntlm", party=None, service=None, **options):
        """`service`: what the server is acquired for. `options`: binding."""
        party = party or self.server
        party.serve(mech=mech, service=service)
        return OurVictim(party, next(self.names), party.accept, cred="server", **options)

    def pyspnego(self, start, mech, binding=None, **options):
        protocol, choice = {
            "ntlm": ("ntlm", spnego.NegotiateOptions.use_ntlm),
            "spnego": ("negotiate", spnego.NegotiateOptions.use_negotiate),
        }[mech]
        if binding is not None:
            binding = channel_bindings.GssChannelBindings(application_data=binding)
        return PyspnegoVictim(start(protocol=protocol, options=choice, channel_bindings=binding, **options))

    def pyspnego_client(self, mech="ntlm", flags=SEALED, user=ALICE, password=PASSWORD, target="host@localhost", **options):
        service, _, host = target.partition("@")
        return self.pyspnego(
            spnego.client, mech, username=user, password=password, service=service, hostname=host,
            context_req=spnego.ContextReq(flags), **options,
        )

    def pyspnego_server(self, mech="ntlm", **options):
        return self.pyspnego(spnego.server, mech, **options)

    def impacket_client(self, mech="ntlm", user="alice", password=PASSWORD, **options):
        """It never sends a MIC."""
        client = impacketpeer.Client(user, password, **options)
        client = impacketpeer.ThroughSpnego(client) if mech == "spnego" else client
        return ImpacketVictim(client, lambda _: client.negotiate(), client.authenticate)

    def impacket_server(self, **options):
        server = impacketpeer.Server("alice", PASSWORD, **options)
        return ImpacketVictim(server, server.challenge, server.judge)

    def pairs(self, mech, flags=SEALED, only_our_server=False):
        """Makes pairs of victims: each is a name and a function that returns a new client and a new server."""
        yield "ours, ours", lambda: (self.our_client(mech, flags=flags), self.our_server(mech))
        yield "pyspnego, ours", lambda: (self.pyspnego_client(mech, flags=flags), self.our_server(mech))
        if not only_our_server:
            yield "ours, pyspnego", lambda: (self.our_client(mech, flags=flags), self.pyspnego_server(mech))

    # What must come of an attack.

    def assertStops(self, client, server, middle, by=None):
        """One of the victims refuses; `by`: which one."""
        with self.assertRaises(Stopped) as caught:
            talk(client, server, middle)
        if by:
            self.assertEqual(caught.exception.by, by, str(caught.exception))
        return caught.exception.failure

    def assertLogsOn(self, client, server, middle=lambda token: token, user=ALICE):
        talk(client, server, middle)
        self.assertEqual(server.user, user)

    def assertTakesNothing(self, victim, calls):
        """The victim refuses each of these calls: the name of a method, and its arguments."""
        for name, *arguments in calls:
            with self.assertRaises(REFUSALS):
                getattr(victim, name)(*arguments)
