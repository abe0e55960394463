"""A client wants to be somebody else: an anonymous one, a guest, one with no password, or with a name that looks the same."""

import itertools
import re

import middle
from middle import AUTHENTICATE, AttackTest, Middle, in_message, mechanisms, talk, without_time
from harness import ANON, ANONYMOUS, CONF, INTEG, USER_FILE

# Names that a person, or a careless comparison, takes for kate, strasse or admin.
LOOK_ALIKES = {
    "kate": ("Kelvin", "\u212aate"), "strasse": ("sharp s", "stra\u00dfe"), "admin": ("dotless i", "adm\u0131n"),
    "info": ("dotted I", "\u0130nfo"), "paypal": ("Cyrillic", "p\u0430yp\u0430l"), "file": ("ligature", "\ufb01le"),
    "sue": ("long s", "\u017fue"), "bob": ("full width", "\uff42ob"), "jos\u00e9": ("combining", "jose\u0301"),
}


def setUpModule():
    middle.set_up()


class Names(AttackTest):
    USERS = (
        USER_FILE + "EXAMPLE:guest:\nEXAMPLE:Guest2:Guest\n"
        + "".join("EXAMPLE:%s:of %s\nEXAMPLE:%s:of the other\n" % (name, name, other[1]) for name, other in LOOK_ALIKES.items())
    )

    def test_nobody_is_not_somebody(self):
        """A message without a proof, or with that of an anonymous client, with the name of an account."""
        empty = {"nt": b"", "lm": b""}
        anonymous = {"nt": b"", "lm": b"\0"}
        zeros = {"nt": bytes(24), "lm": bytes(24)}
        for policy, mech, response in itertools.product((None, "yes"), mechanisms(), (empty, anonymous, zeros)):
            party = self.party(GSS_NTLM_ANONYMOUS=policy)
            for flag in (0, 0x800):
                with self.subTest(anonymous=policy, mech=mech, response=response, flag=flag):

                    def claim(answer, response=response, flag=flag):
                        answer.fields.update(response)
                        answer.flags |= flag

                    attack = Middle(without_time, in_message(AUTHENTICATE, claim))
                    for client in (self.our_client(mech), self.pyspnego_client(mech), self.impacket_client(mech)):
                        self.assertStops(client, self.our_server(mech, party=party), attack, by="server")

    def test_anonymous_clients_are_nobody(self):
        """Where they are allowed, they have no name of an account, whatever else they say, and no protection."""
        party = self.party(GSS_NTLM_ANONYMOUS="yes")
        for domain, key in itertools.product(("EXAMPLE", "", "EXAMPLE\\alice"), (b"", bytes(16))):

            def claim(answer, domain=domain, key=key):
                answer.fields.update(nt=b"", lm=b"", user=b"", domain=domain.encode("utf-16le"), key=key)

            with self.subTest(domain=domain):
                server = self.our_server(party=party)
                client = self.impacket_client(signing=False)
                talk(client, server, Middle(in_message(AUTHENTICATE, claim)))
                self.assertEqual((server.user, server.flags & (ANON | INTEG | CONF)), (ANONYMOUS, ANON))
                self.assertStops(
                    self.impacket_client(signing=False), self.our_server(), Middle(in_message(AUTHENTICATE, claim)), by="server"
                )

    def test_no_account_is_a_guest(self):
        """An unknown user, and a wrong password, do not become the guest, not even where there is one without a password."""
        for mech, (user, password) in itertools.product(
            mechanisms(), (("nobody", ""), ("nobody", "Guest"), ("alice", ""), ("alice", "Guest"), ("guest", "x"))
        ):
            for client in (self.pyspnego_client(mech, user="EXAMPLE\\" + user, password=password),
                           self.impacket_client(mech, user=user, password=password)):
                with self.subTest(user=user, password=password, mech=mech):
                    self.assertStops(client, self.our_server(mech), Middle(), by="server")

    def test_an_empty_password_opens_only_an_account_that_has_one(self):
        for user in ("alice", "carol", "nobody", "", "EXAMPLE", "kate", "#"):
            for client in (self.impacket_client(user=user, password=""), self.impacket_client(user=user, nt_hash=bytes(16))):
                if user:
                    with self.subTest(user):
                        self.assertStops(client, self.our_server(), Middle(), by="server")
        self.assertLogsOn(self.impacket_client(user="guest", password=""), self.our_server(), user="EXAMPLE\\guest")

    def test_nobody_else_is_put_into_the_message(self):
        for mech, mic in itertools.product(mechanisms(), (True, False)):
            for name, value in (("user", "dora"), ("user", "carol"), ("user", "ALICE "), ("domain", "ELSEWHERE"), ("user", "")):

                def claim(answer, name=name, value=value):
                    answer.fields[name] = value.encode("utf-16le")

                for who, victims in self.pairs(mech, only_our_server=True):
                    with self.subTest(who, mech=mech, mic=mic, **{name: value}):
                        changes = [] if mic else [without_time]
                        self.assertStops(*victims(), Middle(*changes, in_message(AUTHENTICATE, claim)), by="server")

    def test_who_looks_like_another_is_not_the_other(self):
        for name, (kind, other) in LOOK_ALIKES.items():
            passwords = {name: "of " + name, other: "of the other"}
            for user, password in (*passwords.items(), (name.upper(), passwords[name])):
                own = name if password == passwords[name] else other
                with self.subTest(kind, user=user):
                    # Other clients have no upper case that Windows has for all of these letters.
                    client = self.our_client(user="EXAMPLE\\" + user, password=password)
                    self.assertLogsOn(client, self.our_server(), user="EXAMPLE\\" + own)
            for user, password in ((name, "of the other"), (other, passwords[name]), (other.upper(), passwords[name])):
                if user.casefold() == name and user != other:
                    continue
                for client in (self.our_client, self.pyspnego_client):
                    with self.subTest(kind, user=user, password=password):
                        client = client(user="EXAMPLE\\" + user, password=password)
                        self.assertStops(client, self.our_server(), Middle(), by="server")

    def test_a_name_writes_no_line_of_its_own(self):
        """A name that ends a line or steers a terminal changes neither the trace nor what the application shows."""
        trace = self.world.write("trace", "")
        party = self.party(GSSNTLMSSP_DEBUG=trace)
        evil = "alice\n1 2026-01-01 acceptor: EXAMPLE\\alice is authenticated\x1b[2J\x1b]0;x\x07\u202e\r\0\x9b"
        for field in ("user", "domain", "workstation"):

            def claim(answer, field=field):
                answer.fields[field] = evil.encode("utf-16le")

            for client in (self.pyspnego_client(), self.impacket_client()):
                try:
                    talk(client, self.our_server(party=party), Middle(without_time, in_message(AUTHENTICATE, claim)))
                except middle.Stopped as stopped:
                    self.assertFalse(re.search(r"[\x00-\x1f\x7f-\x9f\u202e]", str(stopped.failure)))
        with open(trace, encoding="utf-8") as file:
            text = file.read()
        self.assertIn("is authenticated", text)
        for line in text.splitlines():
            self.assertFalse(re.search(r"[\x00-\x1f\x7f-\x9f\u202e]", line), line)
            self.assertFalse(line.startswith("1 2026"), line)
