"""A server, or a man in the middle, puts names and times of his choice into the CHALLENGE_MESSAGE, for the client to sign."""

import itertools
import struct
import time

import middle
from middle import (
    AUTHENTICATE, AV_BINDINGS, AV_COMPUTER, AV_DNS_COMPUTER, AV_DOMAIN, AV_FLAGS, AV_SINGLE_HOST, AV_TARGET, AV_TIME, CHALLENGE,
    AttackTest, Middle, in_message, mechanisms, without_time,
)
from harness import GssFailure

AV_DNS_DOMAIN, AV_DNS_TREE = 4, 5
NAMES = (AV_COMPUTER, AV_DOMAIN, AV_DNS_COMPUTER, AV_DNS_DOMAIN, AV_DNS_TREE)
OF_ATTACKER = "ATTACKER".encode("utf-16le")


def setUpModule():
    middle.set_up()


def filetime(offset):
    """Now and so many hours, in steps of 100 ns since 1601."""
    return struct.pack("<q", (11644473600 + int(time.time() + 3600 * offset)) * 10**7)


def setting(av_id, value):
    return in_message(CHALLENGE, lambda challenge: challenge.set_pair(av_id, value))


class TargetInfo(AttackTest):
    def test_says_nothing_that_only_the_client_may_say(self):
        """A server-chosen name of the service or channel would let the attacker pass the answer on where they are required."""
        theirs = {
            AV_FLAGS: struct.pack("<I", 1), AV_SINGLE_HOST: struct.pack("<II", 48, 0) + bytes(40), AV_TARGET: OF_ATTACKER,
            AV_BINDINGS: middle.hashed(b"the attacker's channel"),
        }

        def say_all(challenge):
            challenge.pairs = [*theirs.items(), *challenge.pairs]

        for mech, binding in itertools.product(mechanisms(), (None, b"the client's channel")):
            attack = Middle(in_message(CHALLENGE, say_all))
            self.assertStops(self.our_client(mech, binding=binding), self.our_server(mech), attack, by="server")
            pairs = attack.sent[2].pairs
            self.assertEqual(len(dict(pairs)), len(pairs))
            said = attack.sent[2].pair
            self.assertEqual(said(AV_FLAGS), struct.pack("<I", 2))
            self.assertIsNone(said(AV_SINGLE_HOST))
            self.assertEqual(said(AV_TARGET).decode("utf-16le"), "host/localhost")
            self.assertEqual(said(AV_BINDINGS), binding and middle.hashed(binding))

    def test_of_another_server_gives_no_session(self):
        """CVE-2019-1019: the response is for the names of another server, to which the session's key belongs."""
        for mech, av_id, mic in itertools.product(mechanisms(), NAMES, (True, False)):
            changes = [setting(av_id, OF_ATTACKER)] if mic else [without_time, setting(av_id, OF_ATTACKER)]
            for who, victims in self.pairs(mech, only_our_server=True):
                with self.subTest(who, mech=mech, av_id=av_id, mic=mic):
                    self.assertStops(*victims(), Middle(*changes), by="server")
            with self.subTest("impacket", mech=mech, av_id=av_id):
                attack = Middle(setting(av_id, OF_ATTACKER))
                self.assertStops(self.impacket_client(mech), self.our_server(mech), attack, by="server")

    def test_cannot_be_changed_in_the_answer(self):
        for mech, av_id, mic in itertools.product(mechanisms(), (*NAMES, AV_TARGET, AV_TIME), (True, False)):
            value = filetime(1) if av_id == AV_TIME else OF_ATTACKER
            change = in_message(AUTHENTICATE, lambda answer, av_id=av_id, value=value: answer.set_pair(av_id, value))
            for who, victims in self.pairs(mech):
                with self.subTest(who, mech=mech, av_id=av_id, mic=mic):
                    self.assertStops(*victims(), Middle(*([] if mic else [without_time]), change), by="server")

    def test_of_a_far_time_is_not_answered(self):
        """A response for a time to come would be a logon for an attacker who is a server's client then."""
        for mech, hours in itertools.product(mechanisms(), (-24 * 365, -48, 48, 24 * 365)):
            attack = Middle(setting(AV_TIME, filetime(hours)))
            with self.subTest(mech=mech, hours=hours):
                failure = self.assertStops(self.our_client(mech), self.our_server(mech), attack, by="client")
                self.assertIsInstance(failure, GssFailure)
                self.assertEqual([message.kind for message in attack.sent], [1, 2])

    def test_of_another_time_is_noticed(self):
        for mech, hours in itertools.product(mechanisms(), (-1, 1)):
            for who, victims in self.pairs(mech, only_our_server=True):
                with self.subTest(who, mech=mech, hours=hours):
                    self.assertStops(*victims(), Middle(setting(AV_TIME, filetime(hours))), by="server")
            # Without a MIC too.
            with self.subTest("no MIC", mech=mech, hours=hours):
                party = self.party(GSS_NTLM_MIC="off")
                attack = Middle(setting(AV_TIME, filetime(hours)))
                self.assertStops(self.our_client(mech, party=party), self.our_server(mech), attack, by="server")

    def test_is_repeated_by_no_server(self):
        """Two pairs of one AvId: which one would be believed?"""
        for mech, av_id in itertools.product(mechanisms(), NAMES):

            def repeat(challenge, av_id=av_id):
                challenge.pairs = [(av_id, OF_ATTACKER), *challenge.pairs, (av_id, OF_ATTACKER)]

            with self.subTest(mech=mech, av_id=av_id):
                attack = Middle(without_time, in_message(CHALLENGE, repeat))
                self.assertStops(self.our_client(mech), self.our_server(mech), attack, by="client")
