"""A man in the middle changes SPNEGO's part of the tokens: the list of mechanisms, its MIC, the state, the flags."""

import middle
from middle import AttackTest, Middle, Stopped, talk
from harness import NTLM_OID, flip

KERBEROS = "1.2.840.113554.1.2.2"
# How many tokens there are where mechListMICs are exchanged: two of each side.
NEG_TOKEN_INIT, FIRST_ANSWER, OF_CLIENT, OF_SERVER = 1, 2, 3, 4


def setUpModule():
    middle.set_up()
    middle.require_spnego()


def in_token(wanted, change):
    return lambda number, token: change(token) if number == wanted else None


def offer_kerberos_too(token):
    token.mech_types = [*token.mech_types, KERBEROS]


def offer_it_twice(token):
    token.mech_types = [*token.mech_types, NTLM_OID]


def remove_mic(token):
    token.mech_list_mic = None


def spoil_mic(token):
    token.mech_list_mic = flip(token.mech_list_mic)


def put_constant_mic(token):
    """The signature of sessions that protect nothing, which everybody can make."""
    token.mech_list_mic = b"\1" + bytes(15)


def say_it_is_done(token):
    token.neg_state = middle.wire.NegState.accept_complete
    token.mech_list_mic = None


ON_THE_LIST = (offer_kerberos_too, offer_it_twice)
WRONG, REMOVED = (spoil_mic, put_constant_mic), (remove_mic, say_it_is_done)


class Downgrade(AttackTest):
    def test_the_list_of_mechanisms_cannot_be_changed(self):
        for who, victims in self.pairs("spnego"):
            for change in ON_THE_LIST:
                with self.subTest(who, change=change.__name__):
                    self.assertStops(*victims(), Middle(on_spnego=in_token(NEG_TOKEN_INIT, change)))

    def test_a_wrong_mic_of_the_list_is_refused(self):
        for who, victims in self.pairs("spnego"):
            for change in WRONG:
                with self.subTest(who, change=change.__name__):
                    self.assertStops(*victims(), Middle(on_spnego=in_token(OF_CLIENT, change)))
            if who.startswith("ours"):
                for change in WRONG:
                    with self.subTest(who, change=change.__name__, of="server"):
                        self.assertStops(*victims(), Middle(on_spnego=in_token(OF_SERVER, change)), by="client")

    def test_our_client_misses_the_mic_of_the_list(self):
        """The SPNEGO of krb5 asks our initiator whether there must be one. It does not ask an acceptor."""
        for who, victims in self.pairs("spnego"):
            if who.startswith("ours"):
                for number in (OF_CLIENT, OF_SERVER):
                    for change in REMOVED:
                        with self.subTest(who, number=number, change=change.__name__):
                            self.assertStops(*victims(), Middle(on_spnego=in_token(number, change)))

    def test_the_requested_flags_mean_nothing(self):
        """reqFlags are not protected, so nobody may believe them."""

        def ask_for_nothing(token):
            token.req_flags = middle.wire.ContextFlags(0)

        def ask_for_all(token):
            token.req_flags = middle.wire.ContextFlags(0x7F)

        for who, victims in self.pairs("spnego"):
            for change in (ask_for_nothing, ask_for_all):
                with self.subTest(who, change=change.__name__):
                    client, server = victims()
                    talk(client, server)
                    expected = server.flags
                    client, server = victims()
                    try:
                        talk(client, server, Middle(on_spnego=in_token(NEG_TOKEN_INIT, change)))
                    except Stopped:
                        continue
                    self.assertEqual(server.flags, expected)
