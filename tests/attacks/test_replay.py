"""Somebody has recorded handshakes, and gives their messages to a server again."""

import middle
from middle import AUTHENTICATE, AttackTest, Middle, in_message, talk, without_time


def setUpModule():
    middle.set_up()


class Replay(AttackTest):
    def record(self, client, server):
        """The AUTHENTICATE_MESSAGE of this client. It also logs on."""
        wire = Middle(without_time)
        talk(client, server, wire)
        return wire.sent[2].pack()

    def clients(self):
        yield "ours", self.our_client
        yield "pyspnego", self.pyspnego_client

    def test_a_message_of_another_context_is_refused(self):
        for who, client in self.clients():
            with self.subTest(who):
                established = self.our_server()
                token = self.record(client(), established)
                negotiate = self.our_client().step(None)
                same_process, other_process = self.our_server(), self.our_server(party=self.party())
                for server in (same_process, other_process):
                    server.step(negotiate)
                    with self.assertRaises(middle.GssFailure):
                        server.step(token)
                # Nor does a context take it twice.
                with self.assertRaises(middle.GssFailure):
                    established.step(token)

    def test_no_part_of_it_is_taken_in_another_context(self):
        """The names, the response and the key of a recorded message, in the message of a client with a wrong password."""
        for who, client in self.clients():
            recorded = middle.Message(self.record(client(), self.our_server()))
            for parts in (("nt",), ("nt", "lm"), ("nt", "lm", "key"), ("lm",), ("key",)):
                with self.subTest(who, parts=parts):

                    def graft(answer, parts=parts):
                        answer.fields.update({name: recorded.fields[name] for name in parts})

                    attack = Middle(without_time, in_message(AUTHENTICATE, graft))
                    wrong = self.our_client(password="Battery Staple")
                    self.assertStops(wrong, self.our_server(), attack, by="server")

    def test_each_handshake_has_a_challenge_of_its_own(self):
        negotiate = self.our_client().step(None)
        parties = (self.server, self.server, self.server, self.party(), self.party())
        challenges = {bytes(middle.Message(self.our_server(party=party).step(negotiate)).header[24:32]) for party in parties}
        self.assertEqual(len(challenges), len(parties))
