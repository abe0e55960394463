"""A man in the middle changes a message, and takes away the MIC that would tell (CVE-2019-1040, CVE-2019-1166)."""

import itertools

import middle
from middle import AUTHENTICATE, AV_FLAGS, CHALLENGE, MIC, AttackTest, Middle, in_message, mechanisms, without_time
from harness import VERSION, GssFailure, flip


def setUpModule():
    middle.set_up()


def zero(message):
    message.header[MIC] = bytes(16)


def spoil(message):
    message.header[MIC] = flip(message.header[MIC])


def leave_no_room(message):
    """The message without the field, as clients without MIC send it."""
    message.header = message.header[: MIC.start]


def leave_no_version(message):
    """CVE-2019-1040: neither MIC nor Version, and no flag of them."""
    message.flags &= ~VERSION
    message.header = message.header[: MIC.start - 8]


def clear_the_bit(message):
    message.set_pair(AV_FLAGS, bytes(4))


def remove_the_pair(message):
    message.remove_pairs(AV_FLAGS)


def repeat_the_pair(message):
    message.pairs = [(AV_FLAGS, bytes(4)), *message.pairs]


WRONG = (zero, spoil)
FIELD = (*WRONG, leave_no_room, leave_no_version)
ANNOUNCEMENT = (clear_the_bit, remove_the_pair, repeat_the_pair)


class Mic(AttackTest):
    def check(self, mech):
        for who, victims in self.pairs(mech):
            for change in (*WRONG, *ANNOUNCEMENT):
                with self.subTest(who, change=change.__name__):
                    attack = Middle(in_message(AUTHENTICATE, change))
                    self.assertStops(*victims(), attack, by="server")
                    self.assertTrue(attack.sent[2].has_mic)
        for who, victims in self.pairs(mech, only_our_server=True):
            for field, announcement in itertools.product(FIELD, (None, *ANNOUNCEMENT)):
                with self.subTest(who, field=field.__name__, announcement=announcement and announcement.__name__):
                    changes = [in_message(AUTHENTICATE, change) for change in (field, announcement) if change]
                    self.assertStops(*victims(), Middle(*changes), by="server")

    def test_cannot_be_removed(self):
        self.check("ntlm")

    def test_cannot_be_removed_inside_spnego(self):
        middle.require_spnego()
        self.check("spnego")

    def test_is_announced_whatever_the_challenge_says(self):
        """CVE-2019-1166: with MsvAvFlags of the attacker in the CHALLENGE_MESSAGE, the client is to announce none."""

        def put_flags(challenge):
            challenge.pairs = [(AV_FLAGS, bytes(4)), *challenge.pairs]

        for mech in mechanisms():
            for who, victims in self.pairs(mech):
                with self.subTest(who, mech=mech):
                    attack = Middle(in_message(CHALLENGE, put_flags))
                    self.assertStops(*victims(), attack, by="server")
                    if who.startswith("ours"):
                        ids = [av_id for av_id, _ in attack.sent[2].pairs]
                        self.assertEqual(ids.count(AV_FLAGS), 1)
                        self.assertTrue(attack.sent[2].has_mic)
            for (who, victims), removal in itertools.product(self.pairs(mech, only_our_server=True), FIELD):
                with self.subTest(who, mech=mech, removal=removal.__name__):
                    attack = Middle(in_message(CHALLENGE, put_flags), in_message(AUTHENTICATE, removal))
                    self.assertStops(*victims(), attack, by="server")

    def test_is_missed_where_it_is_required(self):
        strict = self.party(GSS_NTLM_REQUIRE_MIC="yes")
        # impacket never sends one; inside SPNEGO pyspnego always does.
        clients = [("impacket", self.impacket_client, mech, []) for mech in mechanisms()]
        clients += [("ours", self.our_client, mech, [without_time]) for mech in mechanisms()]
        clients += [("pyspnego", self.pyspnego_client, "ntlm", [without_time])]
        for who, client, mech, changes in clients:
            with self.subTest(who, mech=mech):
                attack = Middle(*changes)
                failure = self.assertStops(client(mech), self.our_server(mech, party=strict), attack, by="server")
                self.assertIsInstance(failure, GssFailure)
                self.assertFalse(attack.sent[2].has_mic)
                # Where it is not required, they log on.
                self.assertLogsOn(client(mech), self.our_server(mech), Middle(*changes))
