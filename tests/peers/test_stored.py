"""Stored credentials: gss-ntlm login, list and logout, gss_store_cred of python-gssapi, and programs that use what is stored, with
the kernel's keyrings of a user namespace, which only this test has."""

import json
import os
import shutil
import subprocess
import sys
import time
import unittest

import harness
from harness import ALICE, CAROL_PASSWORD, PASSWORD, Party, PeerTest, World, handshake, require_module
from test_command import IMPOSSIBLE, OK, USAGE, WRONG, command

KEYRINGS = os.path.join(harness.HERE, "keyrings.py")
CAROL = "EXAMPLE\\carol"


def setUpModule():
    require_module("gssapi", "python3-gssapi")


class Session:
    """A user's session: a user namespace, a runtime directory, no user file."""

    def __init__(self, world, user=None, **environment):
        self.world, self.more = world, environment
        self.runtime = os.path.join(world.path, "runtime-%s" % os.urandom(4).hex())
        os.mkdir(self.runtime, 0o700)
        as_user = []
        if user is not None:
            os.chown(self.runtime, user, user)
            as_user = ["setpriv", "--reuid=%d" % user, "--regid=%d" % user, "--clear-groups"]
        # The process is in the namespace once it answers.
        self.holder = subprocess.Popen(
            [*as_user, "unshare", "--user", "--map-root-user", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.holder.stdin.write(b"x\n")
        self.holder.stdin.flush()
        if self.holder.stdout.readline() != b"x\n":
            raise AssertionError("this user may not make a user namespace")
        self.prefix = [
            *as_user, "nsenter", "--user=/proc/%d/ns/user" % self.holder.pid, "--preserve-credentials", "--",
        ]

    def close(self):
        self.holder.stdin.close()
        self.holder.wait(harness.PATIENCE)
        self.holder.stdout.close()

    def environment(self, **more):
        return self.world.environment(**{
            "NTLM_USER_FILE": None, "GSS_NTLM_STORE": None, "XDG_RUNTIME_DIR": self.runtime, **self.more, **more,
        })

    def run(self, *arguments, given="", prefix=(), program=None, **more):
        """The status of the command, and what it wrote."""
        done = subprocess.run(
            [*self.prefix, *prefix, program or command(), *arguments], input=given.encode(), capture_output=True,
            timeout=harness.PATIENCE, env=self.environment(**more),
        )
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def python(self, *arguments):
        status, out, err = self.run(*arguments, program=sys.executable)
        if status:
            raise AssertionError(out + err)
        return out


class Stored(PeerTest):
    def setUp(self):
        self.world = World()
        self.addCleanup(self.world.remove)
        self.session = self.make_session()
        self.server = Party(self.world)
        self.addCleanup(self.close_cleanly, self.server)
        self.server.serve()
        self.server.serve(cred="spnego", mech="spnego")

    def make_session(self, *arguments, **more):
        session = Session(self.world, *arguments, **more)
        self.addCleanup(session.close)
        return session

    def says(self, *arguments, status=OK, session=None, **more):
        """What the command writes, where it ends with that status."""
        done, out, err = (session or self.session).run(*arguments, **more)
        self.assertEqual(done, status, (arguments, out, err))
        return out if status in (OK, WRONG) else err

    def log_on(self, user, password, target, *more, **options):
        return self.says("login", "--target", target, *more, user, given=password + "\n", **options)

    def rows(self, **more):
        return json.loads(self.says("list", "--json", **more))

    def program(self, session=None, prefix=(), **environment):
        session = session or self.session
        party = Party(self.world, prefix=[*session.prefix, *prefix], **{
            "NTLM_USER_FILE": None, "GSS_NTLM_STORE": None, "XDG_RUNTIME_DIR": session.runtime, **environment,
        })
        self.addCleanup(self.close_cleanly, party)
        return party

    def assertLogsOn(self, party, target, account, mech="ntlm", cred=None):
        theirs = "spnego" if mech == "spnego" else "server"
        done = handshake(
            party, self.server, os.urandom(4).hex(), mech, target=target, initiator_cred=cred, acceptor_cred=theirs
        )
        self.assertEqual(done[1]["source"], account, target)

    def test_each_target_has_its_own_account(self):
        said = self.log_on(ALICE, PASSWORD, "*.example.org")
        self.assertRegex(said, r"^Programs now log on as EXAMPLE\\alice to \*\.example\.org, until 20\S+Z \(keyring\)\.\n$")
        self.log_on(CAROL, CAROL_PASSWORD, "host/srv.example.org", "--lifetime", "unlimited")
        self.assertFalse(os.path.exists(os.path.join(self.session.runtime, "gss-ntlm")), "the kernel has them")
        trace = os.path.join(self.world.path, "trace")
        party = self.program(GSSNTLMSSP_DEBUG=trace)
        party.acquire(cred="default", usage="initiate")
        party.acquire(cred="spnego", usage="initiate", mech="spnego", neg=["ntlm"])
        for target, account in (("host@www.example.org", ALICE), ("host@srv.example.org", "carol")):
            self.assertLogsOn(party, target, account)
            self.assertLogsOn(party, target, account, cred="default")
            self.assertLogsOn(party, target, account, mech="spnego", cred="spnego")
        with open(trace) as file:
            self.assertIn("takes the account EXAMPLE\\carol, stored for HOST/srv.example.org (keyring)", file.read())
        failure = self.assertRefused("NO_CRED", party.init, context="other", flags=harness.SEALED, target="host@elsewhere")
        self.assertIn("No stored credential is for host/elsewhere", failure.text)
        rows = [(row["target"], row["account"], row["source"], row["until"] is None, row["used"]) for row in self.rows()]
        self.assertEqual(rows, [
            ("HOST/srv.example.org", CAROL, "keyring", True, "yes"),
            ("*.example.org", ALICE, "keyring", False, "yes"),
        ])

    def test_logging_off_counts_at_once_in_programs_that_run(self):
        self.log_on(ALICE, PASSWORD, "*")
        party = self.program()
        party.acquire(cred="default", usage="initiate")
        self.assertLogsOn(party, "host@srv", ALICE, cred="default")
        party.init(context="half", flags=harness.SEALED, cred="default", target="host@srv")
        self.assertEqual(self.says("logout"), "logged off: *\n")
        failure = self.assertRefused(
            "NO_CRED", party.init, context="other", flags=harness.SEALED, cred="default", target="host@srv"
        )
        self.assertIn("No stored credential is for host/srv", failure.text)
        self.assertEqual(self.says("logout", status=WRONG), "nobody was logged on\n")
        self.assertEqual(self.says("list"), "There is no account → gss-ntlm login\n")

    def test_logs_off_where_it_is_told(self):
        for target in ("a", "b", "c"):
            self.log_on(ALICE, PASSWORD, target)
        self.assertIn("for several targets, c, b, a: say which", self.says("logout", status=IMPOSSIBLE))
        self.assertEqual(self.says("logout", "--target", "B."), "logged off: b\n")
        self.assertEqual(self.says("logout", "--target", "b", status=WRONG), "nobody was logged on for b\n")
        self.assertEqual(sorted(self.says("logout", "--all").splitlines()), ["logged off: a", "logged off: c"])
        self.assertEqual(self.says("logout", "--all"), "")

    def test_expires(self):
        party = self.program()
        self.log_on(ALICE, PASSWORD, "*", "--lifetime", "5s")
        self.assertLogsOn(party, "host@srv", ALICE)
        time.sleep(6)
        self.assertRefused("NO_CRED", party.init, context="late", flags=harness.SEALED, target="host@srv")
        self.assertEqual(self.rows(), [])

    def test_the_kernel_refuses(self):
        without = [sys.executable, KEYRINGS, "without"]
        said = self.log_on(ALICE, PASSWORD, "*", prefix=without)
        self.assertIn("until 20", said)
        self.assertIn("(runtime directory)", said)
        self.assertIn("note: the keyring was not used: the kernel refuses its keyrings: Operation not permitted", said)
        path = os.path.join(self.session.runtime, "gss-ntlm")
        self.assertEqual([os.stat(one).st_mode & 0o777 for one in (path, os.path.join(path, "*"))], [0o700, 0o600])
        for prefix in ((), without):
            self.assertLogsOn(self.program(prefix=prefix), "host@srv", ALICE)
            self.assertEqual([row["source"] for row in self.rows(prefix=prefix)], ["runtime directory"])
        # Where the kernel allows it, the next logon is in the keyring alone.
        self.log_on(CAROL, CAROL_PASSWORD, "*")
        self.assertEqual([(row["account"], row["source"]) for row in self.rows()], [(CAROL, "keyring")])
        self.assertEqual(os.listdir(path), [])
        said = self.says(
            "login", "--target", "*", "--store", "keyring", ALICE, given="x\n", prefix=without, status=IMPOSSIBLE
        )
        self.assertIn("cannot be stored: the keyring: the kernel refuses its keyrings", said)
        os.chmod(path, 0o755)
        said = self.says("login", "--target", "*", ALICE, given="x\n", prefix=without, status=IMPOSSIBLE)
        self.assertIn("is no directory of this user alone (mode 0700)", said)
        said = self.says(
            "login", "--target", "*", ALICE, given="x\n", prefix=without, status=IMPOSSIBLE, XDG_RUNTIME_DIR=None
        )
        self.assertIn("the runtime directory: XDG_RUNTIME_DIR is not set", said)

    def test_the_policy_chooses_the_place(self):
        self.log_on(ALICE, PASSWORD, "*", GSS_NTLM_STORE="runtime")
        self.log_on(CAROL, CAROL_PASSWORD, "srv", "--store", "keyring")
        self.assertEqual(len(self.rows()), 2)
        self.assertEqual([row["account"] for row in self.rows(GSS_NTLM_STORE="runtime")], [ALICE])
        self.assertEqual(self.rows(GSS_NTLM_STORE="off"), [])
        said = self.says("login", "--target", "*", ALICE, given="x\n", status=IMPOSSIBLE, GSS_NTLM_STORE="off")
        self.assertIn("No credential may be stored, as GSS_NTLM_STORE says", said)
        self.assertRegex(self.says("policy", GSS_NTLM_STORE="runtime"), r"(?m)^store +runtime +GSS_NTLM_STORE$")

    def keys(self, *arguments):
        return self.session.python(KEYRINGS, *arguments)

    def test_only_the_users_own_keys_count(self):
        self.log_on(ALICE, PASSWORD, "good")
        for target, rights in (("all", "3f3f3f3f"), ("group", "3f000200"), ("other", "3f000002")):
            self.log_on(ALICE, PASSWORD, target)
            self.keys("copy", "gss-ntlm:" + target, rights)
        self.keys("add", "gss-ntlm:garbage", "x" * 100)
        self.keys("add", "gss-ntlm:a*", "x")
        self.keys("add", "gss-ntlm:long", "\x01" * 20000)
        self.keys("add", "gss-ntlm:" + "d" * 4000, "x")
        self.keys("add", "else", "x")
        self.assertEqual([row["target"] for row in self.rows()], ["good"])
        self.assertLogsOn(self.program(), "host@good", ALICE)
        # A logon takes the place of what is in its way.
        for target in ("all", "garbage"):
            self.log_on(ALICE, PASSWORD, target)
        self.assertEqual({row["target"] for row in self.rows()}, {"all", "garbage", "good"})

    def test_a_key_of_another_user_does_not_count(self):
        harness.require_root("a key is given to another user")
        # Only root of the initial namespace may give a key away. Its keyring is not touched but for this one.
        target = "test-%s.invalid" % os.urandom(4).hex()
        environment = self.session.environment()

        def run(*arguments, given=b""):
            return subprocess.run(
                arguments, input=given, capture_output=True, check=True, env=environment, timeout=harness.PATIENCE
            ).stdout.decode()

        run(command(), "login", "--target", target, "--lifetime", "1m", ALICE, given=b"x\n")
        self.assertIn(target, run(command(), "list"))
        run(sys.executable, KEYRINGS, "copy", "gss-ntlm:" + target, "3f000000", "65534")
        self.assertNotIn(target, run(command(), "list"))

    def test_the_quota_is_used_up(self):
        harness.require_root("another user's keys are all used up")
        copied = shutil.copy(command(), self.world.path)
        os.chmod(copied, 0o755)
        os.chmod(self.world.path, 0o755)
        session = self.make_session(65534)
        keyrings = shutil.copy(KEYRINGS, self.world.path)
        os.chmod(keyrings, 0o644)
        number = session.run(keyrings, "fill", program="/usr/bin/python3")
        self.assertEqual(number[0], 0, number)
        said = session.run("login", "--target", "*", ALICE, given="x\n", program=copied)
        self.assertEqual(said[0], OK, said)
        self.assertIn("note: the keyring was not used: the kernel keeps no key: Disk quota exceeded", said[1])
        self.assertIn("(runtime directory)", said[1])

    def test_python_gssapi_stores(self):
        script = """
import gssapi, sys
from gssapi.raw import acquire_cred_with_password, OID
ntlm = gssapi.OID.from_int_seq("1.3.6.1.4.1.311.2.2.10")
user = lambda name: gssapi.Name(name, gssapi.NameType.user)
def by_password(name, password):
    return gssapi.Credentials(acquire_cred_with_password(user(name), password, mechs=[ntlm], usage="initiate").creds)
alice = by_password(b"EXAMPLE\\\\alice", sys.argv[1].encode())
done = alice.store({"ntlmssp_target": "*.example.org", "ntlmssp_lifetime": "600"}, usage="initiate", mech=ntlm)
assert done.mechs == {ntlm} and done.usage == "initiate", done
try:
    alice.store({"ntlmssp_target": "*.example.org"}, usage="initiate", mech=ntlm)
except gssapi.exceptions.DuplicateCredentialsElementError as error:
    assert "A credential is stored for *.example.org already" in str(error), error
else:
    raise AssertionError("it was overwritten")
alice.store({"ntlmssp_target": "*.example.org", "ntlmssp_lifetime": "600"}, usage="initiate", mech=ntlm, overwrite=True)
by_password(b"bob", b"x").store({"ntlmssp_target": "*"}, usage="initiate", set_default=True)
try:
    alice.store(usage="accept", mech=ntlm)
except gssapi.exceptions.OperationUnavailableError as error:
    assert "Only the credential of a user" in str(error), error
else:
    raise AssertionError("it was stored")
default = gssapi.Credentials(usage="initiate", mechs=[ntlm])
assert str(default.name) == "bob", default.name
of_target = gssapi.Credentials(usage="initiate", mechs=[ntlm], store={"ntlmssp_target": "*.example.org"})
assert str(of_target.name) == "EXAMPLE\\\\alice" and 500 < of_target.lifetime <= 600, (of_target.name, of_target.lifetime)
of_keyring = gssapi.Credentials(usage="initiate", mechs=[ntlm], store={"ntlmssp_store": "keyring"})
assert str(of_keyring.name) == "bob"
try:
    gssapi.Credentials(usage="initiate", mechs=[ntlm], store={"ntlmssp_store": "runtime"})
except gssapi.exceptions.GSSError as error:
    assert "There are no credentials" in str(error), error
else:
    raise AssertionError("there is one")
"""
        self.session.python("-c", script, PASSWORD)
        self.assertEqual([(row["target"], row["account"]) for row in self.rows()], [("*.example.org", ALICE), ("*", "bob")])
        self.assertLogsOn(self.program(), "host@www.example.org", ALICE)

    def test_a_user_file_comes_first(self):
        said = self.log_on(CAROL, CAROL_PASSWORD, "*", NTLM_USER_FILE=self.world.user_file)
        self.assertIn("note: programs that name no account take EXAMPLE\\alice of the user file first", said)
        rows = self.rows(NTLM_USER_FILE=self.world.user_file)
        self.assertEqual([row["used"] for row in rows], ["yes"] + ["if the program names it"] * (len(rows) - 1))
        self.assertEqual((rows[0]["account"], rows[-1]["account"], rows[-1]["source"]), (ALICE, CAROL, "keyring"))
        self.assertRegex(rows[0]["source"], r"users:\d+$")
        self.assertLogsOn(self.program(NTLM_USER_FILE=self.world.user_file), "host@srv", ALICE)

    def test_says_what_it_cannot_do(self):
        for arguments, words in (
            (("--target", "a*"), "it must be SERVICE/host"),
            (("--lifetime", "soon"), "write 30m, 8h or 2days"),
            (("--lifetime", "0s"), "it must be a second at least"),
            (("--store", "disk"), "it must be keyring or runtime"),
        ):
            with self.subTest(arguments):
                self.assertIn(words, self.says("login", *arguments, ALICE, status=USAGE))
        self.assertIn("no password was given", self.says("login", "--target", "*", ALICE, status=IMPOSSIBLE))
        self.assertIn("say which account", self.says("login", "--target", "*", status=IMPOSSIBLE))
        said = self.says("login", "--target", "*", given="x\n", NTLMUSER="EXAMPLE\\dora", USER="else")
        self.assertIn("log on as EXAMPLE\\dora to any server that asks", said)
        self.assertIn("give --target", said)
        self.assertIn("No such file", self.says("list", status=IMPOSSIBLE, NTLM_USER_FILE="/nonexistent"))
        self.assertIn("GSS_NTLM_MIC must be", self.says("list", status=IMPOSSIBLE, GSS_NTLM_MIC="x"))

    def test_the_policy_names_what_set_each_part(self):
        own = self.world.write("own.conf", '[client "*.example.org"]\noutgoing = deny\n[server]\nrequire-mic = yes\n')
        settings = {"GSS_NTLM_CONFIG": own, "LM_COMPAT_LEVEL": "5"}

        def shown(*arguments):
            rows = [line.split(maxsplit=1) for line in self.says("policy", *arguments, **settings).splitlines()]
            return {key: rest for key, rest in rows}

        self.assertRegex(shown()["lm-level"], r"^5 +LM_COMPAT_LEVEL$")
        self.assertRegex(shown()["outgoing"], r"^allow +the default$")
        self.assertRegex(shown("--target", "HTTP@www.example.org")["outgoing"], r"^deny +line 2 of %s$" % own)
        self.assertNotIn("require-mic", shown())
        self.assertRegex(shown("--server")["require-mic"], r"^yes +line 4 of %s$" % own)
        self.assertNotIn("outgoing", shown("--server"))


if __name__ == "__main__":
    unittest.main()
