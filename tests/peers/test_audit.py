"""The lines about handshakes: in systemd's journal, with a receiver of our own and with systemd-journald as judges, and in the
log of a syslog daemon."""

import json
import os
import re
import subprocess
import sys
import threading
import time
import unittest

from harness import (
    ALICE, HERE, Journal, Journald, PASSWORD, PATIENCE, SIGNED, Party, PeerTest, SystemLog, World, handshake, require_program,
)

HTTP = "HTTP@testhost.example.com"
HOSTILE = "al\nMESSAGE=forged\x1b[31m\u202eice\" outcome=success"
SHOWN = 'al\\nMESSAGE=forged\\u{1b}[31m\\u{202e}ice" outcome=success'
PER_SECOND = 100

# A server to which nobody speaks NTLM: each call is a handshake that fails. It prints how long the calls took, and how many
# descriptors it has more than before.
FLOOD = """\
import os, sys, time
import gssapi.raw as gss
def refuse():
    try:
        gss.accept_sec_context(b"NTLMSSP\\0\\1\\0\\0\\0", cred)
    except gss.GSSError:
        return
    raise SystemExit("accepted")
ntlm = gss.OID.from_int_seq("1.3.6.1.4.1.311.2.2.10")
cred = gss.acquire_cred(None, mechs=[ntlm], usage="accept").creds
refuse()
before = len(os.listdir("/proc/self/fd"))
start = time.monotonic()
for _ in range(int(sys.argv[1]) - 1):
    refuse()
print(time.monotonic() - start, len(os.listdir("/proc/self/fd")) - before)
sys.stdout.flush()
if sys.stdin.readline():
    refuse()
"""


class AuditTest(PeerTest):
    def setUp(self):
        self.world = World()
        self.addCleanup(self.world.remove)

    def log(self, kind):
        log = kind(self.world)
        self.addCleanup(log.close)
        return log

    def party(self, log, **environment):
        party = Party(self.world, prefix=log.prefix, **environment)
        self.addCleanup(self.close_cleanly, party)
        return party

    def pair(self, log, user=ALICE, password=PASSWORD, mech="ntlm", **environment):
        """A client and a server, both with `log`."""
        client, server = self.party(log, **environment), self.party(log, **environment)
        client.log_on(user=user, password=password, mech=mech)
        server.serve(mech=mech, service=HTTP)
        return client, server

    def refuse(self, client, server, mech="ntlm", **options):
        """A handshake that the server refuses. Returns what its program learns."""
        negotiate = client.init(context="c", mech=mech, cred="user", flags=SIGNED, target=HTTP)["token"]
        challenge = server.accept(context="c", token=negotiate, cred="server")["token"]
        last = client.init(context="c", mech=mech, cred="user", flags=SIGNED, target=HTTP, token=challenge)["token"]
        with self.assertRaises(Exception) as refused:
            server.accept(context="c", token=last, cred="server", **options)
        return str(refused.exception)

    def flood(self, log, count, more=False):
        """Runs `count` handshakes that fail and, a second later if asked, one more."""
        environment = self.world.environment(NTLM_USER_FILE=self.world.user_file)
        child = subprocess.Popen(
            [*log.prefix, sys.executable, "-c", FLOOD, str(count)], env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        try:
            seconds, descriptors = child.stdout.readline().split()
            if more:
                time.sleep(1.1)
                yield
            _, errors = child.communicate("more\n" if more else "", timeout=PATIENCE)
        finally:
            child.kill()
            child.wait()
        self.assertEqual((child.returncode, errors), (0, ""))
        self.assertEqual(descriptors, "0", "no descriptor is kept")
        self.seconds = float(seconds)


class InTheJournal(AuditTest):
    def test_a_refused_client_has_one_entry_with_fields(self):
        journal = self.log(Journal)
        for user, password, reason in ((ALICE, "Battery Staple", "bad-password"), ("EXAMPLE\\nobody", PASSWORD, "unknown-user")):
            client, server = self.pair(journal, user=user, password=password)
            self.refuse(client, server)
            entries = journal.entries()
            self.assertEqual(len(entries), 1, entries)
            entry, account = entries[0], user.partition("\\")[2]
            program = os.path.realpath("/proc/%d/exe" % server.process.child.pid)
            for name, value in {
                "PRIORITY": "4", "SYSLOG_FACILITY": "10", "SYSLOG_IDENTIFIER": "gss-ntlm",
                "SYSLOG_PID": str(server.process.child.pid), "MESSAGE_ID": "c3ec69a494b0470c8489e7c3b330c6c1",
                "GSS_NTLM_EVENT": "server-refused", "GSS_NTLM_ROLE": "server", "GSS_NTLM_OUTCOME": "failure",
                "GSS_NTLM_REASON": reason, "GSS_NTLM_MINOR": "0x4E540013", "GSS_NTLM_NTLM": "v2",
                "GSS_NTLM_SESSION": "ess 128 key-exch sign", "GSS_NTLM_MIC": "unverified", "GSS_NTLM_BINDINGS": "none",
                "GSS_NTLM_TARGET_NAME": "matched", "GSS_NTLM_LAYER": "raw", "GSS_NTLM_WHY": "explicit",
                "GSS_NTLM_ACCOUNT": account, "GSS_NTLM_DOMAIN": "EXAMPLE", "GSS_NTLM_WORKSTATION": "TESTHOST",
                "GSS_NTLM_TARGET": "HTTP/testhost.example.com", "GSS_NTLM_SERVICE": "HTTP/testhost.example.com",
                "GSS_NTLM_PEER_VERSION": "6.3.9600/15", "GSS_NTLM_PROGRAM": program,
            }.items():
                self.assertEqual(entry.get(name), value, (name, entry))
            self.assertTrue(entry["MESSAGE"].startswith(
                "NTLM: %s refused EXAMPLE\\%s from TESTHOST to HTTP/testhost.example.com (%s): The user name or the password"
                % (program, account, reason)
            ), entry["MESSAGE"])
            self.assertTrue(entry["GSS_NTLM_SENTENCE"].startswith("The user name or the password is wrong"))

    def test_the_program_of_a_server_does_not_learn_what_the_entry_tells(self):
        journal = self.log(Journal)
        learned = set()
        for user, password in ((ALICE, "Battery Staple"), ("EXAMPLE\\nobody", PASSWORD)):
            for mech in ("ntlm", "spnego"):
                learned.add((mech, self.refuse(*self.pair(journal, user=user, password=password, mech=mech), mech=mech)))
        self.assertEqual(len(learned), 2, learned)
        self.assertNotIn("bad-password", str(learned))
        self.assertEqual(
            [entry["GSS_NTLM_REASON"] for entry in journal.entries()], ["bad-password"] * 2 + ["unknown-user"] * 2
        )

    def test_successes_have_entries_of_both_sides_if_all_are_asked_for(self):
        journal = self.log(Journal)
        for mech, layer, why in (("ntlm", "raw", "explicit"), ("spnego", "spnego", "spnego")):
            with self.subTest(mech):
                client, server = self.pair(journal, mech=mech, GSS_NTLM_AUDIT="all")
                handshake(client, server, mech=mech, target=HTTP, initiator_binding=b"tls:x", acceptor_binding=b"tls:x")
                entries = {entry["GSS_NTLM_EVENT"]: entry for entry in journal.entries()}
                self.assertEqual(sorted(entries), ["client-authenticated", "server-authenticated"], entries)
                theirs, ours = entries["client-authenticated"], entries["server-authenticated"]
                for entry in entries.values():
                    self.assertEqual(entry["PRIORITY"], "6")
                    self.assertEqual((entry["GSS_NTLM_LAYER"], entry["GSS_NTLM_WHY"]), (layer, why), entry)
                    self.assertEqual((entry["GSS_NTLM_ACCOUNT"], entry["GSS_NTLM_DOMAIN"]), ("alice", "EXAMPLE"))
                    self.assertEqual(entry["GSS_NTLM_TARGET"], "HTTP/testhost.example.com")
                    self.assertFalse({"GSS_NTLM_REASON", "GSS_NTLM_MINOR", "GSS_NTLM_SENTENCE"} & set(entry), entry)
                self.assertEqual((theirs["GSS_NTLM_BINDINGS"], ours["GSS_NTLM_BINDINGS"]), ("sent", "matched"))
                # A krb5 that loses the mechListMIC lets the server withhold its time.
                mics = {(theirs["GSS_NTLM_MIC"], ours["GSS_NTLM_MIC"])}
                self.assertLessEqual(mics, {("sent", "verified"), ("none", "withheld")} if mech == "spnego" else {("sent", "verified")})

    def test_successes_have_none_by_default_and_nothing_has_if_it_is_off(self):
        journal = self.log(Journal)
        handshake(*self.pair(journal), target=HTTP)
        self.assertEqual(journal.entries(), [])
        self.refuse(*self.pair(journal, password="Battery Staple", GSS_NTLM_AUDIT="off"))
        self.assertEqual(journal.entries(), [])

    def test_a_client_that_fails_has_an_entry(self):
        journal = self.log(Journal)
        client = self.party(journal)
        client.log_on()
        client.init(context="c", cred="user", flags=SIGNED, target=HTTP)
        self.assertRefused("DEFECTIVE_TOKEN", client.init, context="c", cred="user", flags=SIGNED, target=HTTP, token=b"NTLMSSP\0x")
        client = self.party(journal, NTLM_USER_FILE="/nonexistent/users")
        self.assertRefused("NO_CRED", client.init, context="d", flags=SIGNED, target=HTTP)
        first, second = journal.entries()
        for entry in (first, second):
            self.assertEqual((entry["GSS_NTLM_EVENT"], entry["GSS_NTLM_TARGET"]), ("client-failed", "HTTP/testhost.example.com"))
        self.assertEqual((first["GSS_NTLM_ACCOUNT"], second["GSS_NTLM_MINOR"]), ("alice", "0x4E540036"))

    def test_a_flood_stays_below_the_limit_and_a_summary_counts_the_rest(self):
        journal = self.log(Journal)
        entries, count = [], 10000
        # The receiver's queue is short, so somebody must read meanwhile.
        reader = Reader(journal)
        for _ in self.flood(journal, count, more=True):
            pass
        entries = reader.stop()
        dropped = [entry for entry in entries if entry["GSS_NTLM_EVENT"] == "lines-dropped"]
        written = len(entries) - len(dropped)
        self.assertLessEqual(written, PER_SECOND * (self.seconds + 2), self.seconds)
        self.assertEqual(written + sum(int(entry["GSS_NTLM_DROPPED_FAILURES"]) for entry in dropped), count + 1)
        self.assertEqual({entry["GSS_NTLM_DROPPED_SUCCESSES"] for entry in dropped}, {"0"})
        self.assertLessEqual(len(dropped), 2 * (self.seconds + 2))
        self.assertEqual({entry["MESSAGE_ID"] for entry in dropped}, {"13649a72f058466ab06b5d8ea2256944"})

    def test_a_journal_that_reads_nothing_makes_nobody_wait_and_what_it_misses_is_counted(self):
        journal = self.log(Journal)
        count, entries = 50, []
        for _ in self.flood(journal, count, more=True):
            entries = journal.entries()
        self.assertTrue(0 < len(entries) < count, "the queue is shorter")
        self.assertLess(self.seconds, 1)
        summary, last = journal.entries()
        self.assertEqual((summary["GSS_NTLM_EVENT"], last["GSS_NTLM_EVENT"]), ("lines-dropped", "server-refused"))
        self.assertEqual(summary["GSS_NTLM_DROPPED_FAILURES"], str(count - len(entries)))

    def test_hostile_names_stay_in_their_fields(self):
        journal = self.log(Journal)
        self.refuse(*self.pair(journal, user="EX\nAMPLE\\" + HOSTILE, password="Battery Staple"))
        entry, = journal.entries()
        self.assertEqual((entry["GSS_NTLM_ACCOUNT"], entry["GSS_NTLM_DOMAIN"]), (SHOWN, "EX\\nAMPLE"))
        self.assertFalse(any(ord(letter) < 32 for value in entry.values() for letter in value), entry)

    def test_other_lines_are_there_too(self):
        journal = self.log(Journal)
        server = self.party(journal, NTLM_USER_FILE="/nonexistent/users", GSSNTLMSSP_DEBUG="syslog")
        self.assertRefused("NO_CRED", server.acquire, cred="server", usage="accept")
        entries = journal.entries()
        warnings = [entry for entry in entries if entry["PRIORITY"] == "4"]
        self.assertEqual(len(warnings), 1, entries)
        self.assertTrue(warnings[0]["MESSAGE"].startswith("The user file /nonexistent/users cannot be read"))
        self.assertEqual(warnings[0]["MESSAGE_ID"], "474451a6eaed4f1cb8316be6a7431dec")
        self.assertTrue(any(entry["PRIORITY"] == "7" and entry["MESSAGE"].startswith("error 0x") for entry in entries), entries)

    def test_a_server_that_policy_denies_has_a_line_before_any_client_comes(self):
        journal = self.log(Journal)
        server = self.party(journal, GSS_NTLM_INCOMING="deny")
        self.assertRefused("UNAUTHORIZED", server.acquire, cred="server", usage="accept")
        entry, = journal.entries()
        self.assertIn("denied by GSS_NTLM_INCOMING", entry["MESSAGE"])
        self.assertEqual((entry["PRIORITY"], entry["MESSAGE_ID"]), ("4", "474451a6eaed4f1cb8316be6a7431dec"))


class InSyslog(AuditTest):
    def test_a_refused_client_has_one_line(self):
        log = self.log(SystemLog)
        self.refuse(*self.pair(log, user="EXAMPLE\\" + HOSTILE))
        event, = log.events()
        self.assertEqual((event["event"], event["outcome"], event["reason"]), ("server-refused", "failure", "unknown-user"))
        self.assertEqual((event["account"], event["domain"]), (SHOWN, "EXAMPLE"))
        self.assertEqual(log.lines(), [])

    def test_without_any_log_nothing_changes(self):
        log = self.log(SystemLog)
        log.close()
        for _ in self.flood(log, 200):
            pass
        self.refuse(*self.pair(log, password="Battery Staple"))


class InSystemdsJournal(AuditTest):
    def test_shows_all_fields_as_they_were_sent(self):
        journal = self.log(Journald)
        self.refuse(*self.pair(journal, user="EXAMPLE\\" + HOSTILE, password="Battery Staple"))
        client, server = self.pair(journal, mech="spnego", GSS_NTLM_AUDIT="all")
        handshake(client, server, mech="spnego", target=HTTP)
        entries = journal.entries()
        self.assertEqual(
            sorted(entry["GSS_NTLM_EVENT"] for entry in entries),
            ["client-authenticated", "server-authenticated", "server-refused"],
        )
        refused, = (entry for entry in entries if entry["GSS_NTLM_EVENT"] == "server-refused")
        self.assertEqual(refused["GSS_NTLM_ACCOUNT"], SHOWN)
        self.assertIsInstance(refused["MESSAGE"], str, "there was one MESSAGE")
        for entry in entries:
            self.assertEqual((entry["SYSLOG_FACILITY"], entry["_TRANSPORT"]), ("10", "journal"))
            self.assertEqual(entry["SYSLOG_PID"], entry["_PID"])


# A journalctl that knows the options that doc/AUDIT.md uses. What is recorded is in a file.
RECORDED_JOURNALCTL = """\
#!/usr/bin/env python3
import json, sys
wanted = [word.split("=", 1) for word in sys.argv[1:] if "=" in word]
as_json = "json" in sys.argv
for line in open(sys.argv[0] + ".recorded"):
    entry = json.loads(line)
    if all(entry.get(name) == value for name, value in wanted):
        print(line.strip() if as_json else entry["MESSAGE"])
"""


class TheCommandsOfTheDocumentation(AuditTest):
    def record(self, log):
        """Makes each kind of line that the documentation asks for."""
        client, server = self.pair(log, mech="spnego", GSS_NTLM_AUDIT="all", GSS_NTLM_MIC="off")
        handshake(client, server, mech="spnego", target="HTTP@127.0.0.1")
        client, server = self.pair(log, GSS_NTLM_AUDIT="all", LM_COMPAT_LEVEL="2", GSS_NTLM_MINIMUM="sign-as-asked")
        handshake(client, server, target=HTTP)
        for user, password in ((ALICE, "Battery Staple"), ("EXAMPLE\\nobody", PASSWORD)):
            self.refuse(*self.pair(log, user=user, password=password))
        client, server = self.pair(log)
        self.assertRefused("BAD_BINDINGS", handshake, initiator=client, acceptor=server, target=HTTP,
                           initiator_binding=b"x", acceptor_binding=b"y")
        for _ in self.flood(log, 1000, more=True):
            pass

    def commands(self):
        """Each command of the documentation, and the text before it."""
        with open(os.path.join(HERE, "../../doc/AUDIT.md")) as page:
            parts = re.split(r"```sh\n(.*?)```\n", page.read(), flags=re.S)
        return list(zip(parts[1::2], parts[::2]))

    def check(self, shell):
        told = [(before, shell(command)) for command, before in self.commands()]
        expected = (
            ("Look at it", "refused EXAMPLE\\alice from TESTHOST"),
            ("shows all fields", "(bad-password)"),
            ("Who uses NTLM, and", "1 server\t%s\tEXAMPLE\talice\tHTTP/127.0.0.1" % self.python),
            ("Why is it NTLM", "1 explicit\t%s\t" % self.python),
            ("Who uses NTLMv1", "1 success\tEXAMPLE\talice\tTESTHOST\t"),
            ("`require-mic", " none\talice\tTESTHOST\tHTTP/testhost.example.com"),
            ("`channel-bindings", "1 none\tdiffers\talice\tHTTP/127.0.0.1\tHTTP/testhost.example.com"),
            ("guessing passwords", "1 unknown-user\tEXAMPLE\tnobody\tTESTHOST\t"),
            ("man in the middle", "\talice\tTESTHOST\tThe channel bindings of client and server differ"),
            ("something missing", '"failures": '),
        )
        self.assertEqual(len(told), len(expected))
        for (before, output), (about, line) in zip(told, expected):
            self.assertIn(about, before)
            self.assertIn(line, output, before)
        self.assertIn("ip-address\t", told[3][1])
        self.assertGreater(int(re.search(r'"failures": (\d+)', told[-1][1]).group(1)), 0)

    def setUp(self):
        super().setUp()
        require_program("jq", "jq")
        self.python = os.path.realpath(sys.executable)

    def test_find_what_they_say_in_what_is_recorded(self):
        journal = self.log(Journal)
        reader = Reader(journal)
        self.record(journal)
        entries = reader.stop()
        program = self.world.write("bin-journalctl", RECORDED_JOURNALCTL)
        os.chmod(program, 0o755)
        os.mkdir(self.world.path + "/bin")
        os.symlink(program, self.world.path + "/bin/journalctl")
        recorded = "".join(json.dumps(entry | {"__REALTIME_TIMESTAMP": "1700000000000000"}) + "\n" for entry in entries)
        self.world.write("bin/journalctl.recorded", recorded)
        environment = {**os.environ, "PATH": self.world.path + "/bin:" + os.environ["PATH"]}

        def shell(command):
            done = subprocess.run(
                ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, env=environment, timeout=PATIENCE
            )
            self.assertEqual((done.returncode, done.stderr), (0, ""), command)
            return done.stdout

        self.check(shell)

    def test_find_what_they_say_in_systemds_journal(self):
        journal = self.log(Journald)
        self.record(journal)
        self.check(journal.shell)


class Reader:
    """Reads a journal's entries until it is stopped."""

    def __init__(self, journal):
        self.journal, self.entries, self.is_over = journal, [], threading.Event()
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self):
        while not self.is_over.wait(0.0005):
            self.entries += self.journal.entries()

    def stop(self):
        self.is_over.set()
        self.thread.join(PATIENCE)
        return self.entries + self.journal.entries()


if __name__ == "__main__":
    unittest.main()
