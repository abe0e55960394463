"""Single sign-on: our initiator with the password that winbindd has kept since the user logged on."""

import os

import domain
from harness import (
    ALICE, CONF, INTEG, PASSWORD, REPLAY, SEALED, SEQUENCE, SIGNED, UNPROTECTED, PeerTest, Side, World, flip, handshake,
    spnego_loses_mic,
)

OURS = domain.DOMAIN + "\\alice"
UNICODE = domain.DOMAIN + "\\" + domain.UNICODE_USER
BINDING = b"tls-server-end-point:the certificate"


class LogonTest(PeerTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.member = domain.shared().member
        for user, password in ((OURS, domain.PASSWORD), (UNICODE, domain.UNICODE_PASSWORD)):
            cls.member.must_run(["wbinfo", "--ccache-save=%s%%%s" % (user, password)])
        cls.acceptor = cls.member.party(World())
        cls.addClassCleanup(cls.close_cleanly, cls, cls.acceptor)
        cls.acceptor.serve(cred="ntlm")
        cls.acceptor.serve(cred="spnego", mech="spnego")

    def party(self, **environment):
        world = World()
        party = self.member.party(world, GSSNTLMSSP_DEBUG=os.path.join(world.path, "trace"), **environment)
        self.addCleanup(self.close_cleanly, party)
        party.trace_file = os.path.join(world.path, "trace")
        return party

    def acquire(self, party, user=None, mech="ntlm"):
        party.acquire(cred=mech, usage="initiate", user=user, mech=mech, neg=["ntlm"] if mech == "spnego" else None)

    def log_on(self, party, user=None, mech="ntlm", flags=SEALED, acceptor=None, **options):
        """The last answers of both sides, and both sides."""
        self.acquire(party, user, mech)
        context = self.id() + str(self.number())
        acceptor = acceptor or self.acceptor
        mine, theirs = handshake(
            party, acceptor, context=context, mech=mech, flags=flags, initiator_cred=mech, acceptor_cred=mech, **options
        )
        return mine, theirs, Side(party, context), Side(acceptor, context)

    numbers = iter(range(1_000_000))

    def number(self):
        return next(self.numbers)

    @staticmethod
    def trace(party):
        with open(party.trace_file) as file:
            return file.read()


class SingleSignOn(LogonTest):
    def test_who_is_asked_for_or_named_by_the_environment_logs_on(self):
        for asked, environment in (
            (OURS, {}), ("alice", {}), ("adtest\\ALICE", {}), ("alice@" + domain.DNS_DOMAIN, {}),
            (None, {"NTLMUSER": OURS}), (None, {"USER": "alice"}), (None, {"NTLMUSER": "alice", "USER": "bob"}),
            (OURS, {"NTLMUSER": "bob"}),
        ):
            with self.subTest(asked=asked, **environment):
                party = self.party(**environment)
                self.assertEqual(self.log_on(party, asked)[1]["source"], OURS)
                shown = party.inquire_cred(cred="ntlm")["name"]
                self.assertEqual(shown.lower(), OURS.lower())

    def test_names_and_passwords_may_have_any_letters(self):
        self.assertEqual(self.log_on(self.party(), UNICODE)[1]["source"], UNICODE)

    def test_messages_go_both_ways_with_all_that_was_asked_for(self):
        party = self.party(USER="alice")
        for mech in ("ntlm", "spnego"):
            for flags in (SEALED, SIGNED):
                with self.subTest(mech=mech, flags=flags):
                    mine, theirs, one, other = self.log_on(party, mech=mech, flags=flags)
                    wanted = flags & (CONF | INTEG | REPLAY | SEQUENCE)
                    self.assertEqual([mine["flags"] & SEALED, theirs["flags"] & SEALED], [wanted, wanted])
                    self.assertEqual(one.session_key(), other.session_key())
                    self.converse(one, other)

    def test_who_asks_for_nothing_gets_no_protection(self):
        mine, _, one, other = self.log_on(self.party(USER="alice"), flags=UNPROTECTED)
        self.assertEqual(mine["flags"] & SEALED, 0)
        self.assertEqual(one.session_key(), other.session_key())

    def test_the_message_has_a_mic(self):
        party = self.party(USER="alice")
        for mech in ("ntlm", "spnego"):
            _, _, one, other = self.log_on(party, mech=mech)
            mic = "none" if mech == "spnego" and spnego_loses_mic() else "verified"
            self.assertEqual(self.acceptor.source(context=other.context)["attributes"]["urn:gss-ntlm:mic"], [mic])
        self.assertIn("by winbind, MIC true", self.trace(party))

    def test_without_a_mic_winbind_signs_and_seals_all_the_same(self):
        for mech, setting in (("ntlm", "off"), ("spnego", "off"), ("spnego", "raw-only")):
            with self.subTest(mech=mech, setting=setting):
                without = self.party(USER="alice", GSS_NTLM_MIC=setting)
                for flags in (SIGNED, SEALED):
                    mine, theirs, one, other = self.log_on(without, mech=mech, flags=flags)
                    self.assertEqual(self.acceptor.source(context=other.context)["attributes"]["urn:gss-ntlm:mic"], ["none"])
                    self.assertEqual([mine["flags"] & SEALED, theirs["flags"] & SEALED], [flags & SEALED] * 2)
                    self.converse(one, other)

    def test_a_strict_server_is_content(self):
        strict = self.member.party(
            World(), GSS_NTLM_MINIMUM="128,ess,sign,seal", GSS_NTLM_REQUIRE_MIC="yes", NTLM_USER_FILE=None
        )
        self.addCleanup(self.close_cleanly, strict)
        strict.serve(cred="ntlm")
        self.assertEqual(self.log_on(self.party(USER="alice"), acceptor=strict)[1]["source"], OURS)

    def test_a_changed_challenge_is_noticed_by_the_server(self):
        party = self.party(USER="alice")
        self.acquire(party)
        negotiate = party.init(context="c", flags=SEALED, cred="ntlm")["token"]
        challenge = self.acceptor.accept(context=self.id(), token=negotiate, cred="ntlm")["token"]
        # A bit of Version, which is not used: only the MIC notices the change.
        answer = party.init(context="c", flags=SEALED, cred="ntlm", token=flip(challenge, 48))["token"]
        failure = self.assertRefused("FAILURE", self.acceptor.accept, context=self.id(), token=answer, cred="ntlm")
        self.assertIn("MIC", failure.text)

    def test_channel_bindings_cannot_be_sent_and_are_not_forgotten(self):
        party = self.party(USER="alice")
        failure = self.assertRefused("BAD_BINDINGS", self.log_on, party=party, initiator_binding=BINDING)
        self.assertIn("GSS_NTLM_CHANNEL_BINDINGS", failure.text)
        without = self.party(USER="alice", GSS_NTLM_CHANNEL_BINDINGS="off")
        self.assertEqual(self.log_on(without, initiator_binding=BINDING)[1]["source"], OURS)

    def test_a_half_open_context_goes_on_in_another_process(self):
        first, second = self.party(USER="alice"), self.party(USER="alice")
        self.acquire(first)
        self.acquire(second)
        negotiate = first.init(context="c", flags=SEALED, cred="ntlm")["token"]
        challenge = self.acceptor.accept(context=self.id(), token=negotiate, cred="ntlm")["token"]
        second.import_(context="c", token=first.export(context="c")["token"])
        answer = second.init(context="c", flags=SEALED, cred="ntlm", token=challenge)["token"]
        self.assertEqual(self.acceptor.accept(context=self.id(), token=answer, cred="ntlm")["source"], OURS)
        self.converse(Side(second, "c"), Side(self.acceptor, self.id()))


    def test_a_credential_goes_on_in_another_process(self):
        first, second = self.party(USER="alice"), self.party()
        self.acquire(first)
        token = first.export_cred(cred="ntlm")["token"]
        without = self.party(GSS_NTLM_WINBIND="no")
        self.assertRefused("NO_CRED", without.import_cred, cred="ntlm", token=token)
        second.import_cred(cred="ntlm", token=token)
        handshake(second, self.acceptor, context=self.id(), initiator_cred="ntlm", acceptor_cred="ntlm")
        self.assertEqual(second.inquire_cred(cred="ntlm")["name"].lower(), OURS.lower())


class WhoHasNoLogon(LogonTest):
    def refusal(self, party, user=None):
        return self.assertRefused("NO_CRED", self.acquire, party=party, user=user).text

    def test_is_told_how_to_get_one(self):
        self.assertIn("wbinfo --ccache-save", self.refusal(self.party(), domain.DOMAIN + "\\" + domain.UPN_USER))
        self.assertIn("no credentials for bob", self.refusal(self.party(USER="bob")))
        self.assertIn("NTLMUSER", self.refusal(self.party()))
        for strange in ("*", "al*ce", "a" * 300):
            self.assertIn("no credentials", self.refusal(self.party(USER=strange)))

    def test_does_not_get_anothers(self):
        # winbindd gives a user only what this user saved, and gives root everything.
        other = self.party(USER="alice")
        other.become_nobody()
        self.refusal(other)

    def test_the_user_file_comes_first_and_a_key_file_alone(self):
        world = World()
        with_file = self.party(NTLM_USER_FILE=world.user_file, USER="alice")
        self.acquire(with_file)
        self.assertEqual(with_file.inquire_cred(cred="ntlm")["name"], ALICE)
        # Winbind may have accounts that the file does not have.
        self.assertEqual(self.log_on(with_file, OURS)[1]["source"], OURS)
        store = {"ntlmssp_keyfile": world.user_file}
        self.assertRefused("NO_CRED", with_file.acquire, cred="ntlm", usage="initiate", user=OURS, store=store)

    def test_a_password_given_is_the_one_that_counts(self):
        party = self.party(USER="alice")
        party.acquire(cred="ntlm", usage="initiate", user=OURS, password="wrong")
        with self.assertRaisesRegex(Exception, "STATUS_LOGON_FAILURE"):
            handshake(party, self.acceptor, context=self.id(), initiator_cred="ntlm", acceptor_cred="ntlm")

    def test_a_password_that_has_changed_is_refused_by_the_domain(self):
        other = domain.DOMAIN + "\\" + domain.GROUPED
        self.member.must_run(["wbinfo", "--ccache-save=%s%%%s" % (other, PASSWORD)])
        with self.assertRaisesRegex(Exception, "STATUS_LOGON_FAILURE"):
            self.log_on(self.party(), other)
