"""Somebody passes on the handshake of a client that has come to him, to log on as the client elsewhere.

By itself NTLM does not prevent this, and by default neither do we: the attacker is logged on. But he has no key. The tests say
what he can do without, and which settings keep him out.
"""

import itertools
import os

import middle
from middle import (
    AUTHENTICATE, AV_BINDINGS, AV_TARGET, CHALLENGE, MIC, AttackTest, Middle, OurVictim, Stopped, in_message, mechanisms, talk,
    without_time,
)
from harness import CHANNEL_BOUND, ESS, INTEG, SEALED, SIGNED, UNPROTECTED, flip, message

THE_CLIENTS, THE_SERVERS = b"tls-server-end-point:the attacker's", b"tls-server-end-point:the server's"


def setUpModule():
    middle.set_up()


class Relay(AttackTest):
    # The server and the client are in different processes here, and in one process in Reflection.

    def servers_party(self, **environment):
        """A process of a server with these settings, for our_server, and for our_client the process of a client."""
        party = self.party(**environment)
        return party, self.client

    def clients(self, mech, party, flags=SEALED, **options):
        """Clients who have come to the attacker; ours is of `party`."""
        yield "ours", self.our_client(mech, party=party, flags=flags, **options)
        yield "pyspnego", self.pyspnego_client(mech, flags=flags, **options)

    def forgeries(self, wire):
        """Messages that the attacker can make: from what he has seen, and what everybody knows."""
        answer, challenge = wire.sent[2], bytes(wire.sent[1].header[24:32])
        known = [bytes(16), 2 * challenge, answer.fields["key"], bytes(answer.header[MIC]), answer.fields["nt"][:16]]
        known = [key for key in known if len(key) == 16]
        for key, flags, mode in itertools.product(known, (answer.flags, answer.flags & ~ESS), ("Client", "Server")):
            session = middle.impacketpeer.Session(flags, key, mode)
            yield "unwrap", session.wrap(b"by the attacker")
            session = middle.impacketpeer.Session(flags, key, mode)
            yield "verify_mic", b"by the attacker", session.get_mic(b"by the attacker")
        for signature in (bytes(16), b"\1" + bytes(15), os.urandom(16)):
            yield "unwrap", signature + b"by the attacker"
            yield "verify_mic", b"by the attacker", signature

    def check_messages(self, client, server, wire):
        """Ours takes no message that the attacker made or changed, none twice, and none of its own."""
        for sender, receiver in ((client, server), (server, client)):
            if not isinstance(receiver, OurVictim):
                continue
            self.assertTakesNothing(receiver, self.forgeries(wire))
            wrapped = sender.wrap(message(24))
            self.assertTakesNothing(receiver, [("unwrap", flip(wrapped, at)) for at in range(len(wrapped))])
            own = receiver.wrap(message(24))
            self.assertTakesNothing(receiver, [("unwrap", own)])
            self.assertEqual(sender.unwrap(own), message(24))
            self.assertEqual(receiver.unwrap(wrapped), message(24))
            self.assertTakesNothing(receiver, [("unwrap", wrapped)])
            mic, own = sender.get_mic(message(24)), receiver.get_mic(message(24))
            changed = [("verify_mic", message(24), flip(mic, at)) for at in range(16)]
            self.assertTakesNothing(receiver, [*changed, ("verify_mic", flip(message(24)), mic)])
            self.assertTakesNothing(receiver, [("verify_mic", message(24), own)])
            sender.verify_mic(message(24), own)
            receiver.verify_mic(message(24), mic)
            self.assertTakesNothing(receiver, [("verify_mic", message(24), mic)])

    def test_logs_on_but_has_no_key(self):
        party, own = self.servers_party()
        for mech, flags in itertools.product(mechanisms(), (SEALED, SIGNED)):
            for who, client in self.clients(mech, own, flags, target="cifs@attacker"):
                with self.subTest(who, mech=mech, flags=flags):
                    server, wire = self.our_server(mech, party=party, service="HTTP@server"), Middle()
                    self.assertLogsOn(client, server, wire)
                    self.check_messages(client, server, wire)

    def test_gets_no_protection_that_the_client_did_not_ask_for(self):
        """The attacker asks the server for signatures in the client's name, as for LDAP of a client of HTTP."""
        party, own = self.servers_party()

        def ask(wire_message):
            wire_message.flags |= 0x30

        for mech in mechanisms():
            for who, client in self.clients(mech, own, UNPROTECTED):
                with self.subTest(who, mech=mech):
                    server, wire = self.our_server(mech, party=party), Middle(ask)
                    # The MIC covers the flags.
                    self.assertStops(client, server, wire)
            for who, client in self.clients(mech, own, UNPROTECTED):
                with self.subTest(who, mech=mech, mic=False):
                    server, wire = self.our_server(mech, party=party), Middle(without_time, ask)
                    try:
                        talk(client, server, wire)
                    except Stopped:
                        continue
                    if server.flags & INTEG:
                        self.assertTakesNothing(server, self.forgeries(wire))

    def test_is_kept_out_by_channel_bindings(self):
        strict, own = self.servers_party(GSS_NTLM_CHANNEL_BINDINGS="required")
        default, other = self.servers_party()
        for mech in mechanisms():
            # A client that knows what its channel is tells the attacker from the server, also if nothing is required.
            for party, of in ((strict, own), (default, other)):
                for who, client in self.clients(mech, of, binding=THE_CLIENTS):
                    with self.subTest(who, mech=mech):
                        failure = self.assertStops(
                            client, self.our_server(mech, party=party, binding=THE_SERVERS), Middle(), by="server"
                        )
                        self.assertEqual(failure.major, "BAD_BINDINGS")
            # One that does not gets in where they are not required.
            for who, client in self.clients(mech, other):
                with self.subTest(who, mech=mech, bound=False):
                    self.assertLogsOn(client, self.our_server(mech, party=default, binding=THE_SERVERS))
            for who, client in self.clients(mech, own):
                with self.subTest(who, mech=mech, bound=False):
                    failure = self.assertStops(
                        client, self.our_server(mech, party=strict, binding=THE_SERVERS), Middle(), by="server"
                    )
                    self.assertEqual(failure.major, "BAD_BINDINGS")
            # So does one whose bindings are zeros, which are none.
            for client in (lambda: self.impacket_client(mech), lambda: self.impacket_client(mech, binding=bytes(16))):
                self.assertLogsOn(client(), self.our_server(mech, party=default, binding=THE_SERVERS))
                failure = self.assertStops(
                    client(), self.our_server(mech, party=strict, binding=THE_SERVERS), Middle(), by="server"
                )
                self.assertEqual(failure.major, "BAD_BINDINGS")
            # And who is bound to the right channel.
            for who, client in self.clients(mech, own, binding=THE_SERVERS):
                server = self.our_server(mech, party=strict, binding=THE_SERVERS)
                self.assertLogsOn(client, server)
                self.assertTrue(server.flags & CHANNEL_BOUND)

    def test_is_kept_out_by_target_names(self):
        strict, own = self.servers_party(GSS_NTLM_TARGET_NAME="required")
        for mech in mechanisms():
            for target in ("cifs@attacker", "HTTP@attacker", "cifs@server"):
                for who, client in self.clients(mech, own, target=target):
                    with self.subTest(who, mech=mech, target=target):
                        server = self.our_server(mech, party=strict, service="HTTP@server")
                        self.assertStops(client, server, Middle(), by="server")
            for who, client in self.clients(mech, own, target="HTTP@server"):
                self.assertLogsOn(client, self.our_server(mech, party=strict, service="HTTP@server"))

    def test_cannot_put_the_servers_channel_and_name_into_the_answer(self):
        strict, own = self.servers_party(GSS_NTLM_CHANNEL_BINDINGS="required", GSS_NTLM_TARGET_NAME="required")
        binding = middle.hashed(THE_SERVERS)

        def replace(answer):
            answer.set_pair(AV_BINDINGS, binding)
            answer.set_pair(AV_TARGET, "HTTP/server".encode("utf-16le"))

        def add(answer):
            answer.pairs = [(AV_BINDINGS, binding), (AV_TARGET, "HTTP/server".encode("utf-16le")), *answer.pairs]

        def in_challenge(challenge):
            # As if the client had been told by the server.
            challenge.pairs = [(AV_BINDINGS, binding), (AV_TARGET, "HTTP/server".encode("utf-16le")), *challenge.pairs]

        attacks = {
            "replaced": in_message(AUTHENTICATE, replace), "added": in_message(AUTHENTICATE, add),
            "told": in_message(CHALLENGE, in_challenge),
        }
        for mech, (name, change), mic in itertools.product(mechanisms(), attacks.items(), (True, False)):
            for who, client in self.clients(mech, own, target="cifs@attacker", binding=THE_CLIENTS):
                with self.subTest(who, mech=mech, attack=name, mic=mic):
                    attack = Middle(change) if mic else Middle(without_time, change)
                    server = self.our_server(mech, party=strict, service="HTTP@server", binding=THE_SERVERS)
                    self.assertStops(client, server, attack)


class Reflection(Relay):
    """The attacker passes a server's challenge to a client in the same process, who has come to him."""

    def servers_party(self, **environment):
        party = self.party(**environment)
        return party, party

    def clients(self, mech, party, flags=SEALED, **options):
        yield "ours", self.our_client(mech, party=party, flags=flags, **options)
