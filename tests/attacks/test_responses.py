"""A man in the middle, or a server of his, wants a weaker response than NTLMv2, or uses one in place of another."""

import itertools

import middle
from middle import AUTHENTICATE, CHALLENGE, AttackTest, Middle, Stopped, in_message, mechanisms, talk, without_time
from harness import ESS, KEY_EXCH, LM_KEY, NEG_128, OEM, SEALED, UNICODE, UNPROTECTED

NON_NT_SESSION_KEY, TARGET_INFO, ANONYMOUS = 0x400000, 0x800000, 0x800
# The levels at which NTLMv1 is refused (MS-NLMP 3.1.1.1); 3 is the default.
WITHOUT_NTLM_V1 = (None, "3", "4", "5")


def setUpModule():
    middle.set_up()


class ToServers(AttackTest):
    def test_lm_v2_is_no_proof(self):
        """CVE-2019-1338: LMv2 covers neither the MIC nor the names."""

        def nothing(answer):
            answer.fields["nt"] = b""

        def lm_v2(answer):
            answer.fields["nt"] = answer.fields["lm"]

        def of_length(length):
            return lambda answer: answer.fields.update(nt=answer.fields["nt"][:length])

        def wrong(answer):
            answer.fields["nt"] = bytes(16) + answer.fields["nt"][16:]

        attacks = [nothing, lm_v2, wrong, *map(of_length, (1, 8, 16, 23, 24, 25, 44))]
        for level, mech in itertools.product((None, "5"), mechanisms()):
            party = self.party(LM_COMPAT_LEVEL=level)
            clients = {"ours": self.our_client, "pyspnego": self.pyspnego_client}
            if mech == "spnego":
                # Inside SPNEGO pyspnego always sends a MIC, and then no LMv2 response.
                del clients["pyspnego"]
            for (who, client), change in itertools.product(clients.items(), attacks):
                with self.subTest(who, level=level, mech=mech):
                    attack = Middle(without_time, in_message(AUTHENTICATE, change))
                    self.assertStops(client(mech), self.our_server(mech, party=party), attack, by="server")
                    self.assertEqual(len(attack.sent[2].fields["lm"]), 24)
                    self.assertNotEqual(attack.sent[2].fields["lm"], bytes(24))

    def test_ntlm_v1_is_refused(self):
        for level, mech in itertools.product(WITHOUT_NTLM_V1, mechanisms()):
            party = self.party(LM_COMPAT_LEVEL=level)
            for without in (0, ESS, ESS | NEG_128, ESS | KEY_EXCH):
                with self.subTest(level=level, mech=mech, without=without):
                    attack = Middle()
                    client = self.impacket_client(mech, v2=False, without=without)
                    self.assertStops(client, self.our_server(mech, party=party), attack, by="server")
                    self.assertEqual(len(attack.sent[2].fields["nt"]), 24)
        # Only who says so gets it.
        old = self.party(LM_COMPAT_LEVEL="2")
        self.assertLogsOn(self.impacket_client(v2=False), self.our_server(party=old))


class OfClients(AttackTest):
    def challenges(self):
        """What a server can say to get something else: changes of the CHALLENGE_MESSAGE."""

        def flags(remove, add):
            def change(challenge):
                challenge.flags = challenge.flags & ~remove | add

            return change

        def no_info(challenge):
            challenge.fields["info"] = b""
            challenge.flags &= ~TARGET_INFO

        def no_pair(challenge):
            challenge.pairs = []

        old = ESS | NEG_128 | KEY_EXCH | TARGET_INFO
        for remove, add in itertools.product((0, ESS, old, old | UNICODE), (0, LM_KEY, NON_NT_SESSION_KEY, OEM, ANONYMOUS)):
            yield flags(remove, add)
            yield lambda challenge, change=flags(remove, add): (no_info(challenge), change(challenge))
        yield no_info
        yield no_pair

    def test_send_ntlm_v2_whatever_the_server_says(self):
        """Neither an NTLMv1 nor an LM response leaves the client: it would give the password away."""
        count = 0
        for flags, mech, change in itertools.product((SEALED, UNPROTECTED), mechanisms(), self.challenges()):
            attack = Middle(in_message(CHALLENGE, change))
            try:
                talk(self.our_client(mech, flags=flags), self.our_server(mech), attack)
            except Stopped:
                pass
            if len(attack.sent) == 3:
                answer = attack.sent[2]
                count += 1
                # NTLMv2_RESPONSE: the proof, then the version of the client's challenge.
                self.assertGreater(len(answer.fields["nt"]), 44)
                self.assertEqual(answer.fields["nt"][16:18], b"\1\1")
                # In place of an LM response: zeros, or LMv2, which ends with the client's challenge.
                self.assertIn(answer.fields["lm"][16:], (bytes(8), answer.fields["nt"][32:40]))
                self.assertEqual(len(answer.fields["lm"]), 24)
                self.assertFalse(answer.flags & (LM_KEY | NON_NT_SESSION_KEY))
        self.assertGreater(count, 20)

    def test_answer_the_same_challenge_differently(self):
        """A server that repeats a challenge learns nothing by it, and what it recorded does not fit."""
        recorded = Middle()
        talk(self.our_client(), self.our_server(), recorded)
        challenge = recorded.sent[1].pack()
        answers = set()
        for _ in range(4):
            client = self.our_client()
            client.step(None)
            answers.add(middle.Message(client.step(challenge)).fields["nt"])
        self.assertEqual(len(answers), 4)
