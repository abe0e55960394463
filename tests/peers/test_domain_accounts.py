"""Accounts of a Samba domain at our acceptor: on the domain controller, and on a member server that asks it through winbindd."""

import os

import domain
from harness import (
    ALICE, CAROL_PASSWORD, CONF, ESS, INTEG, SEALED, SIGNED, UNPROTECTED, GssFailure, Party, PeerTest, Side, World, handshake,
)

HOME = domain.DOMAIN + "\\"
OURS = HOME + "alice"
SID = "S-1-5-21-"
# The last part of the SIDs of every user and of the group Domain Users.
DOMAIN_USERS = "-513"


class DomainTest(PeerTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.domain = domain.shared()
        cls.world = World()
        cls.clients = {}

    @classmethod
    def client(cls, **environment):
        """An initiator outside the domain, with the password that a test gives it."""
        key = tuple(environment.items())
        if key not in cls.clients:
            cls.clients[key] = party = Party(cls.world, **environment)
            cls.addClassCleanup(cls.close_cleanly, cls, party)
        return cls.clients[key]

    def server(self, machine, serves=True, **environment):
        """An acceptor inside, with credentials for NTLM and for SPNEGO, and a trace."""
        world = World()
        party = machine.party(world, GSSNTLMSSP_DEBUG=os.path.join(world.path, "trace"), **environment)
        self.addCleanup(self.close_cleanly, party)
        party.trace_file = os.path.join(world.path, "trace")
        if serves:
            party.serve()
            party.serve(cred="spnego", mech="spnego")
        return party

    def log_on(self, server, user, password=domain.PASSWORD, client=None, flags=SEALED, mech="ntlm", **options):
        """A handshake that succeeds; returns its two Sides and the acceptor's last answer."""
        client = client or self.client()
        client.log_on(cred="user", user=user, password=password, mech=mech)
        context = self.name(user)
        _, last = handshake(
            client, server, context=context, flags=flags, mech=mech,
            acceptor_cred="server" if mech == "ntlm" else "spnego", **options,
        )
        return Side(client, context), Side(server, context), last

    number = 0

    def name(self, user):
        type(self).number += 1
        return "%s %d" % (user, self.number)

    def refusal(self, server, user, password=domain.PASSWORD, **options):
        """The error of a handshake of this user, which fails."""
        with self.assertRaises(GssFailure) as caught:
            self.log_on(server, user, password, **options)
        self.assertEqual(caught.exception.major, "FAILURE")
        return caught.exception.text

    @staticmethod
    def trace(server):
        with open(server.trace_file) as file:
            return file.read()


class OnTheDomainController(DomainTest):
    """What a domain says about its accounts. Its users log on at `self.acceptor`."""

    def machine(self):
        return self.domain.dc

    def setUp(self):
        self.acceptor = self.server(self.machine())

    def test_a_user_is_who_the_domain_says_however_the_client_spells_it(self):
        for spelling in (
            HOME + "alice", HOME + "ALICE", "adtest\\Alice", "alice@" + domain.DNS_DOMAIN, "alice\\@" + domain.DNS_DOMAIN,
            "ALICE\\@" + domain.DNS_DOMAIN.upper(), domain.DNS_DOMAIN + "\\alice", "alice",
        ):
            with self.subTest(spelling):
                self.assertEqual(self.log_on(self.acceptor, spelling)[2]["source"], OURS)

    def test_a_user_principal_name_need_not_have_the_accounts_name_in_it(self):
        escaped = domain.UPN.replace("@", "\\@")
        self.assertEqual(self.log_on(self.acceptor, escaped)[2]["source"], HOME + domain.UPN_USER)

    def test_names_and_passwords_may_have_any_letters(self):
        for spelling in (domain.UNICODE_USER, domain.UNICODE_USER.upper()):
            _, _, last = self.log_on(self.acceptor, HOME + spelling, domain.UNICODE_PASSWORD)
            self.assertEqual(last["source"], HOME + domain.UNICODE_USER)
        self.assertIn("LOGON_FAILURE", self.refusal(self.acceptor, HOME + domain.UNICODE_USER, domain.UNICODE_PASSWORD[:-1]))

    def test_messages_go_both_ways_raw_and_inside_spnego(self):
        for mech in ("ntlm", "spnego"):
            for flags in (SEALED, SIGNED):
                with self.subTest(mech=mech, flags=flags):
                    one, other, last = self.log_on(self.acceptor, OURS, mech=mech, flags=flags)
                    self.assertEqual(last["flags"] & (CONF | INTEG), flags & (CONF | INTEG))
                    self.assertEqual(one.session_key(), other.session_key())
                    self.converse(one, other)

    def test_the_source_name_has_what_the_domain_says_of_the_account(self):
        _, side, _ = self.log_on(self.acceptor, "alice@" + domain.DNS_DOMAIN)
        source = self.acceptor.source(context=side.context)
        self.assertEqual(source["name"], OURS)
        found = {name.removeprefix("urn:gss-ntlm:"): values for name, values in source["attributes"].items()}
        self.assertEqual(found["domain"], [domain.DOMAIN])
        self.assertEqual(found["full-name"], ["Alice Liddell"])
        self.assertEqual(found["logon-server"], ["DC"])
        self.assertEqual(found["version"], ["NTLMv2"])
        self.assertEqual(found["mic"], ["verified"])
        self.assertNotIn("guest", found)
        (sids,) = found["urn:gssntlmssp:sids"]
        account, primary, *groups = sids.split(",")
        self.assertTrue(account.startswith(SID) and account != primary, sids)
        self.assertEqual(found["primary-group"], [primary])
        self.assertEqual(primary, account.rpartition("-")[0] + DOMAIN_USERS)
        told = self.domain.dc.must_run(["wbinfo", "--name-to-sid", HOME + domain.STAFF]).split()[0]
        self.assertIn(told, groups)
        self.assertEqual(self.domain.dc.must_run(["wbinfo", "--name-to-sid", OURS]).split()[0], account)

    def test_a_thousand_groups_arrive_and_go_along_with_the_context(self):
        _, side, _ = self.log_on(self.acceptor, HOME + domain.GROUPED)
        before = self.acceptor.source(context=side.context)
        (sids,) = before["attributes"]["urn:gssntlmssp:sids"]
        self.assertGreaterEqual(len(set(sids.split(","))), domain.GROUPS + 2)
        token = self.acceptor.export(context=side.context)["token"]
        other = self.server(self.machine(), serves=False)
        other.import_(context="again", token=token)
        self.assertEqual(other.source(context="again"), before)

    def test_who_may_not_log_on_is_told_why(self):
        for user, status in (
            (domain.DISABLED, "NT_STATUS_ACCOUNT_DISABLED (0xC0000072)"),
            (domain.EXPIRED, "NT_STATUS_ACCOUNT_EXPIRED (0xC0000193)"),
            (domain.MUST_CHANGE, "NT_STATUS_PASSWORD_MUST_CHANGE (0xC0000224)"),
            (domain.LOCKED, "NT_STATUS_ACCOUNT_LOCKED_OUT (0xC0000234)"),
        ):
            with self.subTest(user):
                self.assertIn(status, self.refusal(self.acceptor, HOME + user))
                self.assertIn(status, self.trace(self.acceptor))

    def test_only_the_trace_tells_an_unknown_user_from_a_wrong_password(self):
        texts = {
            self.refusal(self.acceptor, user, password)
            for user, password in (
                (OURS, "wrong"), (HOME + "nobody", domain.PASSWORD), ("NOWHERE\\alice", domain.PASSWORD), ("nobody", "wrong"),
            )
        }
        self.assertEqual(len(texts), 1, texts)
        self.assertIn("STATUS_LOGON_FAILURE", texts.pop())
        trace = self.trace(self.acceptor)
        self.assertIn("refused ADTEST\\alice by winbind: NT_STATUS_WRONG_PASSWORD (0xC000006A)", trace)
        self.assertIn("refused ADTEST\\nobody by winbind: NT_STATUS_NO_SUCH_USER (0xC0000064)", trace)

    def test_names_with_wildcards_are_nobodys(self):
        for user in ("al*", "alic?", "*", 'al"ice', "al<ice"):
            with self.subTest(user):
                self.assertIn("STATUS_LOGON_FAILURE", self.refusal(self.acceptor, HOME + user))
        self.assertIn("STATUS_LOGON_FAILURE", self.refusal(self.acceptor, "AD*\\alice"))
        self.assertEqual(self.trace(self.acceptor).count("no account of a domain can have this name"), 6)

    def test_the_challenge_says_what_the_domain_is_called(self):
        self.log_on(self.acceptor, OURS)
        for wanted in ("TARGET_TYPE_DOMAIN", "MsvAvNbDomainName ADTEST", "MsvAvDnsDomainName " + domain.DNS_DOMAIN):
            self.assertIn(wanted, self.trace(self.acceptor))

class OnAMember(OnTheDomainController):
    """The same tests, and those that make sense only on another computer than the domain controller."""

    def machine(self):
        return self.domain.member

    def test_the_challenge_says_what_the_forest_is_called(self):
        self.log_on(self.acceptor, OURS)
        for wanted in ("MsvAvNbComputerName MEMBER", "MsvAvDnsComputerName " + domain.MEMBER_HOST):
            self.assertIn(wanted, self.trace(self.acceptor))
        # Samba 4.25 finds no domain controller without DNS, so that its winbindd knows no forest here.
        is_known = self.machine().run(["wbinfo", "--dsgetdcname=" + domain.DOMAIN]).returncode == 0
        self.assertEqual("MsvAvDnsTreeName " + domain.DNS_DOMAIN in self.trace(self.acceptor), is_known)

    def test_an_account_may_be_tied_to_a_computer(self):
        tied = HOME + domain.TIED
        at_desk = self.client(NETBIOS_COMPUTER_NAME=domain.WORKSTATION)
        self.assertEqual(self.log_on(self.acceptor, tied, client=at_desk)[2]["source"], tied)
        self.assertIn("NT_STATUS_INVALID_WORKSTATION (0xC0000070)", self.refusal(self.acceptor, tied))

    def test_a_user_principal_name_of_an_unknown_suffix_is_nobodys(self):
        # Samba's domain controller answers such a request on itself with "no memory".
        self.assertIn("STATUS_LOGON_FAILURE", self.refusal(self.acceptor, "alice\\@nowhere.example"))

    def test_the_environment_has_the_last_word_on_names(self):
        named = self.server(self.machine(), NETBIOS_COMPUTER_NAME="OTHER", NETBIOS_DOMAIN_NAME="ELSEWHERE")
        # The domain controller reads in the client's response which server it is for, and knows which servers it trusts.
        self.assertIn("STATUS_LOGON_FAILURE", self.refusal(named, OURS))
        for wanted in ("TARGET_TYPE_DOMAIN", "MsvAvNbDomainName ELSEWHERE", "MsvAvNbComputerName OTHER"):
            self.assertIn(wanted, self.trace(named))

    def test_ntlm_v1_rests_on_the_domains_keys_too(self):
        for level, offer in (("1", ESS), ("0", 0)):
            with self.subTest(level):
                server = self.server(self.machine(), LM_COMPAT_LEVEL=level)
                one, other, last = self.log_on(server, OURS, client=self.client(LM_COMPAT_LEVEL=level))
                self.assertEqual(last["source"], OURS)
                self.assertEqual(one.session_key(), other.session_key())
                self.converse(one, other)
                answer = [line for line in self.trace(server).splitlines() if "got AUTHENTICATE_MESSAGE" in line][-1]
                self.assertEqual(bool(offer), "EXTENDED_SESSIONSECURITY" in answer)
        refused = self.refusal(self.acceptor, OURS, client=self.client(LM_COMPAT_LEVEL="1"))
        self.assertIn("enable NTLMv2 on the client", refused)

    def test_whom_the_user_file_has_the_domain_is_not_asked_about(self):
        lines = "%s:alice:Of the File\n:carol:%s\n%s\\grouped:1:%s:%s:[DU         ]:LCT-00000000:\n" % (
            domain.DOMAIN, CAROL_PASSWORD, domain.DOMAIN, 32 * "X", 32 * "A"
        )
        both = self.server(self.machine(), NTLM_USER_FILE=World(user_file=lines).user_file)
        self.assertEqual(self.log_on(both, OURS, "Of the File")[2]["source"], OURS)
        self.assertIn("STATUS_LOGON_FAILURE", self.refusal(both, OURS, domain.PASSWORD))
        self.assertEqual(self.log_on(both, HOME + "carol", CAROL_PASSWORD)[2]["source"], "carol")
        self.assertEqual(self.log_on(both, HOME + domain.UPN_USER)[2]["source"], HOME + domain.UPN_USER)
        trace = self.trace(both)
        self.assertIn("wrong password", trace)
        self.assertNotIn("by winbind", trace)
        # Also not by another name that only the domain knows for this account. One of the accounts is disabled in the file.
        for user in ("alice", domain.GROUPED):
            for spelling in (domain.DNS_DOMAIN + "\\" + user, user + "\\@" + domain.DNS_DOMAIN):
                with self.subTest(spelling):
                    self.assertIn("STATUS_LOGON_FAILURE", self.refusal(both, spelling))
        self.assertEqual(self.trace(both).count("the user file has this account under another name"), 4)

    def test_a_key_file_in_the_store_is_the_only_source(self):
        alone = self.server(self.machine(), serves=False)
        alone.acquire(cred="server", usage="accept", store={"ntlmssp_keyfile": World().user_file})
        self.assertEqual(self.log_on(alone, ALICE, "Correct Horse")[2]["source"], ALICE)
        self.assertIn("STATUS_LOGON_FAILURE", self.refusal(alone, HOME + domain.UPN_USER))
        self.assertNotIn("by winbind", self.trace(alone))

    def test_winbind_can_be_left_out(self):
        with self.assertRaises(GssFailure) as caught:
            self.server(self.machine(), serves=False, GSS_NTLM_WINBIND="no").serve()
        self.assertEqual(caught.exception.major, "NO_CRED")
        without = self.server(self.machine(), GSS_NTLM_WINBIND="no", NTLM_USER_FILE=World().user_file)
        self.assertIn("STATUS_LOGON_FAILURE", self.refusal(without, OURS))

    def test_a_half_open_context_goes_on_in_another_process(self):
        client = self.client()
        client.log_on(cred="user", user=OURS, password=domain.PASSWORD)
        context = self.name(OURS)
        negotiate = client.init(context=context, flags=SEALED, cred="user")["token"]
        challenge = self.acceptor.accept(context=context, token=negotiate, cred="server")["token"]
        moved = self.acceptor.export(context=context)["token"]
        other = self.server(self.machine())
        other.import_(context=context, token=moved)
        answer = client.init(context=context, flags=SEALED, cred="user", token=challenge)["token"]
        # Without its own credential, as in a server that hands on connections.
        self.assertEqual(other.accept(context=context, token=answer)["source"], OURS)
        self.converse(Side(client, context), Side(other, context))

    def test_an_acceptors_credential_goes_on_in_another_process(self):
        token = self.acceptor.export_cred(cred="server")["token"]
        other = self.server(self.machine(), serves=False)
        other.import_cred(cred="server", token=token)
        self.assertEqual(self.log_on(other, OURS)[2]["source"], OURS)

    def test_an_account_of_the_domain_is_not_the_computers_of_that_name_unless_the_administrator_says_so(self):
        for environment, local in (({}, OURS), ({"NETBIOS_DOMAIN_NAME": domain.DOMAIN}, "alice")):
            server = self.server(self.machine(), **environment)
            _, side, _ = self.log_on(server, OURS)
            self.assertEqual(server.local_name(context=side.context)["name"], local)

    def test_policy_holds_for_the_domain_too(self):
        strict = self.server(self.machine(), GSS_NTLM_MINIMUM="128,ess,sign", GSS_NTLM_REQUIRE_MIC="yes")
        self.assertEqual(self.log_on(strict, OURS)[2]["source"], OURS)
        self.refusal(strict, OURS, flags=UNPROTECTED)
        self.refusal(strict, OURS, client=self.client(GSS_NTLM_MIC="off"))

    def test_a_program_that_may_not_ask_is_told_whom_to_ask(self):
        server = self.server(self.machine(), serves=False)
        server.become_nobody()
        server.serve()
        self.assertIn("winbindd does not let this program check accounts", self.refusal(server, OURS))


class WinbindGoesAway(DomainTest):
    """These tests stop the member's winbindd, and always start it again afterwards."""

    def setUp(self):
        self.member = self.domain.member
        self.addCleanup(self.start_again)

    def start_again(self):
        if not self.member.daemons:
            self.member.start()

    def test_a_winbindd_that_is_down_is_one_clear_error(self):
        server = self.server(self.member)
        self.log_on(server, OURS)
        self.member.stop()
        self.assertIn("winbindd does not answer: start winbindd", self.refusal(server, OURS))
        self.member.start()
        self.assertEqual(self.log_on(server, OURS)[2]["source"], OURS)

    def test_a_winbindd_that_restarts_between_two_logons_is_not_missed(self):
        server = self.server(self.member)
        self.log_on(server, OURS)
        self.member.stop()
        self.member.start()
        self.assertEqual(self.log_on(server, OURS)[2]["source"], OURS)

    def test_without_winbindd_and_user_file_there_is_nobody_to_serve(self):
        self.member.stop()
        server = self.server(self.member, serves=False)
        failure = self.assertRefused("NO_CRED", server.serve)
        self.assertIn("winbindd does not answer", failure.text)
        self.member.start()
        server.serve()
        self.assertEqual(self.log_on(server, OURS)[2]["source"], OURS)

    def test_a_user_file_does_without_a_winbindd_that_never_was(self):
        self.member.stop()
        server = self.server(self.member, NTLM_USER_FILE=World().user_file)
        self.assertEqual(self.log_on(server, ALICE, "Correct Horse")[2]["source"], ALICE)
        self.assertIn("STATUS_LOGON_FAILURE", self.refusal(server, OURS))
        self.assertIn("winbindd does not answer", self.trace(server))
