"""A man in the middle takes flags out of one of the three messages, to weaken the protection or to take it away."""

import itertools

import middle
from middle import AUTHENTICATE, CHALLENGE, NEGOTIATE, AttackTest, Middle, OurVictim, Stopped, talk, without_time
from harness import CONF, ESS, INTEG, KEY_EXCH, NEG_56, NEG_128, NTLM, SEAL, SEALED, SIGN, SIGNED, UNICODE, UNPROTECTED, VERSION

ALWAYS_SIGN, TARGET_INFO = 0x8000, 0x800000
TAKEN = {
    "SIGN": SIGN, "SEAL": SEAL, "SIGN, SEAL": SIGN | SEAL, "ESS": ESS, "128": NEG_128, "128, 56": NEG_128 | NEG_56,
    "KEY_EXCH": KEY_EXCH, "ESS, 128, 56, KEY_EXCH": ESS | NEG_128 | NEG_56 | KEY_EXCH, "ALWAYS_SIGN": ALWAYS_SIGN,
    "TARGET_INFO": TARGET_INFO, "VERSION": VERSION, "NTLM": NTLM, "UNICODE": UNICODE,
}
# With these no message can be forged: signatures are HMACs, and keys have 128 bits.
STRONG = ESS | NEG_128


def setUpModule():
    middle.set_up()


def take(kind, flags):
    def change(message):
        if message.kind == kind:
            message.flags &= ~flags

    return change


class Flags(AttackTest):
    def attacks(self, mech, flags):
        """Each attack on each pair of victims: its name, a change, new victims."""
        for (who, victims), kind in itertools.product(self.pairs(mech, flags), (NEGOTIATE, CHALLENGE, AUTHENTICATE)):
            for name, taken in TAKEN.items():
                yield "%s: %s of message %d" % (who, name, kind), take(kind, taken), victims

    def check_with_mic(self, mech):
        count = 0
        for name, change, victims in self.attacks(mech, SEALED):
            with self.subTest(name):
                attack = Middle(change)
                try:
                    talk(*victims(), attack)
                except Stopped:
                    count += 1
                    continue
                self.assertFalse(attack.has_changed_something, "nobody noticed")
        # A few flags are not there to be taken.
        self.assertGreater(count, 60)

    def test_a_mic_lets_no_flag_be_taken(self):
        self.check_with_mic("ntlm")

    def test_a_mic_lets_no_flag_be_taken_inside_spnego(self):
        middle.require_spnego()
        self.check_with_mic("spnego")

    def of_impacket(self, mech, flags):
        return self.impacket_client(mech, without=0 if flags & CONF else SEAL), self.our_server(mech)

    def check_without_mic(self, mech, flags):
        """Our side fails, or is protected as strongly as ever, or says that it is not protected."""
        attacks = [(name, [without_time, change], victims) for name, change, victims in self.attacks(mech, flags)]
        # impacket's client sends no MIC, but a time of its own.
        attacks += [
            ("impacket, ours: %s of message %d" % (name, kind), [take(kind, taken)], lambda: self.of_impacket(mech, flags))
            for kind in (NEGOTIATE, CHALLENGE, AUTHENTICATE) for name, taken in TAKEN.items()
        ]
        for name, changes, victims in attacks:
            with self.subTest(name, flags=flags):
                client, server = victims()
                attack = Middle(*changes)
                try:
                    talk(client, server, attack)
                except Stopped:
                    continue
                challenge, answer = attack.sent[1], attack.sent[2]
                self.assertFalse(answer.has_mic)
                if isinstance(client, OurVictim):
                    # What the application asked for is there.
                    self.assertEqual(client.flags & (INTEG | CONF), flags & (INTEG | CONF))
                    self.assertEqual(answer.flags & STRONG, STRONG)
                if isinstance(server, OurVictim) and server.flags & (INTEG | CONF):
                    self.assertEqual(challenge.flags & attack.arrived[2].flags & STRONG, STRONG)
                    # Without KEY_EXCH in one message only, they have two keys, and take nothing from each other.
                    if isinstance(client, OurVictim) and client.session_key() == server.session_key():
                        self.converse(client, server)

    def test_no_protection_is_weakened_without_a_mic(self):
        for flags in (SEALED, SIGNED):
            self.check_without_mic("ntlm", flags)

    def test_no_protection_is_weakened_inside_spnego_without_a_mic(self):
        middle.require_spnego()
        self.check_without_mic("spnego", SEALED)

    def test_no_message_is_verified_that_nothing_protects(self):
        """Everybody can make the signature of sessions without protection."""
        everybodys = b"\1" + bytes(15)
        # Inside SPNEGO our client asks for protection whatever the application asks for, and pyspnego sends a MIC.
        for flags in (UNPROTECTED, SIGNED):
            for who, victims in self.pairs("ntlm", flags, only_our_server=True):
                with self.subTest(who, flags=flags):
                    client, server = victims()
                    # The attacker takes away what the client asks for, or need not.
                    attack = Middle(without_time, *(take(kind, SIGN | SEAL) for kind in (NEGOTIATE, CHALLENGE, AUTHENTICATE)))
                    try:
                        talk(client, server, attack)
                    except Stopped:
                        # Ours does not go on without the protection that it asked for.
                        self.assertEqual((who, flags), ("ours, ours", SIGNED))
                        continue
                    self.assertFalse(server.flags & (INTEG | CONF))
                    for victim in (client, server):
                        if isinstance(victim, OurVictim):
                            self.assertTakesNothing(victim, [("verify_mic", b"by the attacker", everybodys)])
                            self.assertTakesNothing(victim, [("unwrap", everybodys + b"by the attacker")])
