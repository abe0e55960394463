"""A man in the middle lets a server begin a connectionless handshake, which may be exempt from the minimum of protection."""

import itertools

import middle
from middle import CHALLENGE, NEGOTIATE, AttackTest, Middle, Stopped, mechanisms, talk, without_time
from harness import CONF, ESS, INTEG, NEG_56, NEG_128

DATAGRAM = 0x40
STRONG = ESS | NEG_128
# What begins one, in place of the client's first message: its signature alone, the header of RFC 2743 with the OID of NTLM and
# nothing else, nothing at all, or the client's own message with the flag.
STARTS = (b"NTLMSSP\0", b"\x60\x0c\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a", b"", None)


def setUpModule():
    middle.set_up()


class Beginning(Middle):
    """The server sees `start` in place of the client's first message, if it is given, and DATAGRAM; the client sees neither."""

    def __init__(self, start, taken):
        self.start, self.taken = start, taken
        super().__init__(without_time, self.strip)

    def strip(self, message):
        message.flags &= ~self.taken
        message.flags = message.flags & ~DATAGRAM if message.kind == CHALLENGE else message.flags | DATAGRAM

    def change(self, token):
        changed = super().change(token)
        return changed if self.start is None or token[8] != NEGOTIATE else self.start


class Connectionless(AttackTest):
    def test_is_no_way_round_the_minimum(self):
        for mech, start, taken in itertools.product(mechanisms(), STARTS, (ESS, NEG_128 | NEG_56, STRONG | NEG_56)):
            for who, victims in self.pairs(mech, only_our_server=True):
                with self.subTest(who, mech=mech, start=start, taken=hex(taken)):
                    client, server = victims()
                    attack = Beginning(start, taken)
                    try:
                        talk(client, server, attack)
                    except Stopped:
                        continue
                    self.assertFalse(server.flags & (INTEG | CONF))
