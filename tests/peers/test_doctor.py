"""gss-ntlm doctor: each finding is provoked, and its cure taken; then it is gone."""

import glob
import os
import shutil
import subprocess
import unittest

import test_winbind_answers
from harness import ALICE, PASSWORD, PATIENCE, Party, World, c_plugin, namespaced, require_root
from test_command import IMPOSSIBLE, OK, WRONG, command

NOBODY = 65534


class Doctor(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.world = World()
        self.addCleanup(self.world.remove)
        self.programs = os.path.join(self.world.path, "programs")
        os.mkdir(self.programs)
        # What the system says, as it would say it if all were well.
        self.program("timedatectl", "echo yes")
        self.program("journalctl", "exit 0")

    def program(self, name, script):
        """A program of the system, which prints what a test wants."""
        path = os.path.join(self.programs, name)
        with open(path, "w") as file:
            file.write("#!/bin/sh\n%s\n" % script)
        os.chmod(path, 0o755)

    def environment(self, **more):
        return self.world.environment(**{
            "PATH": self.programs + ":/usr/bin:/bin:/usr/sbin:/sbin", "GSS_NTLM_WINBIND": "no", **more,
        })

    def run_doctor(self, *arguments, prefix=(), **more):
        done = subprocess.run(
            [*prefix, command(), "doctor", *arguments], capture_output=True, text=True, timeout=PATIENCE,
            env=self.environment(**more), cwd=self.world.path,
        )
        return done.returncode, done.stdout, done.stderr

    def finds(self, kind, what, cure, *arguments, **more):
        """It has a finding of that kind, with these words and this cure."""
        status, out, err = self.run_doctor(*arguments, **more)
        lines = [line for line in out.splitlines() if line.startswith(kind + ": ") and what in line]
        self.assertTrue(lines and cure in lines[0].partition("\u2192")[2], (what, cure, out, err))
        if kind == "WRONG":
            self.assertEqual(status, WRONG, out)
        return out

    def finds_nothing(self, *arguments, **more):
        """It has nothing to say but that all is well."""
        status, out, err = self.run_doctor(*arguments, **more)
        self.assertEqual((status, err, [line for line in out.splitlines() if not line.startswith("ok: ")]), (OK, "", []), out)
        return out

    def test_all_is_well(self):
        out = self.finds_nothing()
        for words in (
            "krb5 loads %s for NTLM, as line 1 of %s says" % (self.world.library, self.world.mech_config),
            "a test works: NTLM alone: TEST\\somebody logs on",
            "a test works: NTLM inside SPNEGO: TEST\\somebody logs on",
            "has NTLM_USER_FILE=" + self.world.user_file,
            "the policy has no mistake",
            "the user file is %s, which NTLM_USER_FILE names: mode 0600" % self.world.user_file,
            "winbind is not asked, as GSS_NTLM_WINBIND says",
            "a client that names no account logs on as EXAMPLE\\alice",
            "the clock is kept right",
            "the journal has no refusal",
            "there is no trace",
        ):
            self.assertIn(words, out)
        self.assertNotIn(PASSWORD, out)

    def test_the_registration(self):
        mechs = self.world.mech_config
        with open(mechs) as file:
            ours = file.read()
        cases = [
            ("", "krb5 knows no plugin for NTLM", "install the package gss-ntlm"),
            ("# " + ours, "krb5 knows no plugin for NTLM", "install the package gss-ntlm"),
            (ours.replace(".2.10", ".2.11"), "krb5 knows no plugin for NTLM", "install the package gss-ntlm"),
            (ours.replace(self.world.library, "/none/gss_ntlm.so"), "krb5 cannot load /none/gss_ntlm.so", "install the package"),
            (ours.replace(self.world.library, "none.so"), "/gss/none.so, which line 1 of %s names" % mechs, "install the package"),
            (ours.replace(self.world.library, "/bin/true"), "krb5 loads another plugin for NTLM, /bin/true", "remove the package"),
        ]
        if os.path.exists(c_plugin() or ""):
            cases.append((ours + ours.replace(self.world.library, c_plugin()), "krb5 loads another plugin", "(gss-ntlmssp)"))
        for text, what, cure in cases:
            with self.subTest(text):
                self.world.write(os.path.basename(mechs), text)
                self.finds("WRONG", what, cure)
        self.world.write(os.path.basename(mechs), ours.replace(self.world.library, "/none.so") + ours)
        self.finds("note", "line 1 of %s names /none.so, which does not exist, for NTLM, and is not used" % mechs, "remove the line")
        # The cure.
        self.world.write(os.path.basename(mechs), ours)
        self.finds_nothing()

    def test_the_registrations_of_the_system(self):
        place = os.path.join(self.world.path, "etc")
        os.makedirs(os.path.join(place, "mech.d"))
        mount = 'mount --bind "$1" /etc/gss && shift && exec "$@"'
        own = {"prefix": [*namespaced(self.world), "sh", "-c", mount, "sh", place], "GSS_MECH_CONFIG": None}
        self.finds("WRONG", "nothing registers one in /etc/gss/mech and /etc/gss/mech.d", "install the package", **own)
        with open(self.world.mech_config) as file:
            ours = file.read()
        self.world.write("etc/mech.d/zz-gss-ntlm.conf", ours)
        self.assertIn("as line 1 of /etc/gss/mech.d/zz-gss-ntlm.conf says", self.finds_nothing(**own))
        self.world.write("etc/mech.d/mech.ntlmssp.conf", "#\n" + ours.replace(self.world.library, "/none.so"))
        self.world.write("etc/mech.d/ignored.txt", ours)
        self.finds("note", "line 2 of /etc/gss/mech.d/mech.ntlmssp.conf names /none.so, which does not exist,", "remove", **own)
        self.world.write("etc/mech.d/zzz.conf", ours.replace(self.world.library, "/none.so"))
        self.finds("WRONG", "krb5 cannot load /none.so, which line 1 of /etc/gss/mech.d/zzz.conf names", "install", **own)

    def test_another_architecture(self):
        with open(self.world.library, "rb") as file:
            plugin = bytearray(file.read())
        plugin[18] ^= 1
        path = self.world.write("other.so", bytes(plugin))
        mechs = self.world.write("mech2", "ntlm 1.3.6.1.4.1.311.2.2.10 %s\n" % path)
        self.finds("WRONG", "is for another kind of processor", "for the program's architecture", GSS_MECH_CONFIG=mechs)

    def test_the_switches(self):
        out = self.finds("WRONG", "GSS_NTLM_MIC must be off, raw-only, auto or always", "correct it", GSS_NTLM_MIC="x")
        self.assertNotIn("a test works", out)
        self.finds("WRONG", "GSS_NTLM_MICK", "", GSS_NTLM_MICK="auto")
        self.finds("WRONG", "LM_COMPAT_LEVEL", "", LM_COMPAT_LEVEL="6")
        self.assertIn("has GSS_NTLM_MIC=auto", self.finds_nothing(GSS_NTLM_MIC="auto"))

    def test_no_mistake_hides_another_and_no_value_is_shown_that_may_be_a_secret(self):
        settings = {"GSS_NTLM_FOO": "hidden1", "GSS_NTLM_PASSWORD": "hidden2", "LM_COMPAT_LEVEL": "9"}
        status, out, _ = self.run_doctor(**settings)
        self.assertEqual((status, out.count("WRONG: ")), (WRONG, 3), out)
        self.assertIn("WRONG: GSS_NTLM_FOO is not a setting of gss-ntlm → unset it, or correct its name to one of these", out)
        self.assertNotIn("hidden", out)
        self.finds_nothing(LM_COMPAT_LEVELX="3")

    def test_a_policy_that_lets_no_test_run(self):
        own = self.world.write("own.conf", '[client "HTTP/*"]\nminimum = seal\n[server]\nincoming = deny\n')
        self.finds("note", "the policy does not let a test run", "gss-ntlm test --server", GSS_NTLM_CONFIG=own)
        self.world.write("own.conf", '[client]\noutgoing = deny\n')
        self.finds("note", "line 2 of %s" % own, "give --target", GSS_NTLM_CONFIG=own)
        self.finds("WRONG", "line 2 of %s" % own, "", "--target", "HTTP@srv", GSS_NTLM_CONFIG=own)

    def test_files_that_do_not_end(self):
        fifo = os.path.join(self.world.path, "fifo")
        os.mkfifo(fifo)
        for place in (fifo, "/dev/zero"):
            self.finds("WRONG", "nothing registers one in " + place, "", GSS_MECH_CONFIG=place)
            mechs = self.world.write("mech2", "ntlm 1.3.6.1.4.1.311.2.2.10 %s\n" % place)
            self.finds("WRONG", "krb5 cannot load %s" % place, "", GSS_MECH_CONFIG=mechs)
        self.finds("WRONG", "nothing registers one in ", "GSS_MECH_CONFIG", GSS_MECH_CONFIG="")
        odd = self.world.write("mech3", b"# caf\xe9\nntlm {1.3.6.1.4.1.311.2.2.10} %s\n" % self.world.library.encode())
        self.assertIn("as line 2 of %s says" % odd, self.run_doctor(GSS_MECH_CONFIG=odd)[1])

    def test_a_plugin_that_does_not_load(self):
        """It looks like the plugin, and is another library."""
        with open(glob.glob("/usr/lib/*/libkrb5support.so.0")[0], "rb") as library:
            path = self.world.write("other.so", library.read() + b"urn:gss-ntlm")
        mechs = self.world.write("mech2", "ntlm 1.3.6.1.4.1.311.2.2.10 %s\n" % path)
        self.finds("WRONG", "a test fails: NTLM alone: ", "gss-ntlm test", GSS_MECH_CONFIG=mechs)
        self.finds_nothing()

    def test_what_a_test_of_a_handshake_tells(self):
        # This stands for the child that does the handshakes, on a computer with such a krb5.
        self.program("timeout", 'echo "1 [2] SPNEGO: this libgssapi_krb5 loses the mechListMIC" >"$GSSNTLMSSP_DEBUG"')
        self.finds("note", "this krb5 has a fault in SPNEGO", "update krb5")
        self.finds("WRONG", "a test of a handshake ends without a word", "ldd -r")
        os.remove(os.path.join(self.programs, "timeout"))
        self.finds_nothing()

    def test_there_is_no_place_for_a_test(self):
        self.finds("WRONG", "no test of a handshake can be made, /none", "TMPDIR", TMPDIR="/none")

    def test_the_policy_file(self):
        own = os.path.join(self.world.path, "own.conf")
        self.finds("WRONG", own, "correct GSS_NTLM_CONFIG", GSS_NTLM_CONFIG=own)
        for text, what in (("[client]\nmic = x\n", "mic must be"), ("[server]\nanonymous = maybe\n", "anonymous must be")):
            self.world.write("own.conf", text)
            self.finds("WRONG", "ine 2 of the policy file %s" % own, what, GSS_NTLM_CONFIG=own)
        self.world.write("own.conf", '[client "HTTP/*"]\noutgoing = deny\n')
        self.finds("WRONG", "line 2 of %s" % own, "", "--target", "HTTP@srv", GSS_NTLM_CONFIG=own)
        self.finds_nothing("--target", "ldap@srv", GSS_NTLM_CONFIG=own)

    def test_the_user_file(self):
        path = self.world.user_file
        with open(path) as file:
            good = file.read()
        self.world.write("users", good + "no entry\n")
        self.finds("WRONG", "line %d of %s" % (good.count("\n") + 1, path), "write DOMAIN:user:password")
        self.world.write("users", "EXAMPLE:alice:blank \n")
        out = self.finds("note", "the password of line 1 of %s ends with a blank" % path, "remove the blank")
        self.assertNotIn("blank \n", out)
        self.world.write("users", "# nobody\n")
        self.finds("WRONG", "the user file %s has no account" % path, "gss-ntlm hash")
        self.world.write("users", good)
        os.chmod(path, 0o644)
        self.finds("WRONG", "everybody may read the user file", "chmod o-r " + path)
        os.chmod(path, 0o646)
        self.finds("WRONG", "everybody may write to it", "chmod o-w")
        os.chmod(path, 0o600)
        self.finds_nothing()
        self.finds("WRONG", "The user file /none cannot be read", "set NTLM_USER_FILE", NTLM_USER_FILE="/none")
        own = self.world.write("own.conf", "[server]\nuser-file = /none\n")
        self.finds("WRONG", "The user file /none cannot be read", "set NTLM_USER_FILE", NTLM_USER_FILE=None, GSS_NTLM_CONFIG=own)
        os.chmod(self.world.path, 0o703)
        self.finds("WRONG", "everybody may replace the user file", "chmod o-w the directory")

    def test_the_accounts_of_a_target(self):
        runtime = os.path.join(self.world.path, "runtime")
        os.mkdir(runtime, 0o700)
        stored = {"NTLM_USER_FILE": None, "GSS_NTLM_STORE": "runtime", "XDG_RUNTIME_DIR": runtime}
        self.finds("note", "a client has no account", "gss-ntlm login", **stored)
        self.finds("note", "a client has no account", "gss-ntlm login", "--target", "HTTP@srv", **stored)
        subprocess.run(
            [command(), "login", "--target", "HTTP/srv", ALICE], input="x\n", text=True, check=True, capture_output=True,
            env=self.environment(**stored), timeout=PATIENCE,
        )
        self.finds("WRONG", "No stored credential is for HTTP/other", "gss-ntlm login --target", "--target", "HTTP@other", **stored)
        out = self.finds_nothing("--target", "HTTP@srv", **stored)
        self.assertIn("logs on as EXAMPLE\\alice to HTTP/srv", out)
        self.assertIn("shows EXAMPLE\\alice as its own until it knows the server", self.finds_nothing(**stored))

    def test_the_system(self):
        self.program("timedatectl", "echo no")
        self.finds("note", "the clock is not kept right over the network", "timedatectl set-ntp true")
        self.program("timedatectl", "exit 1")
        self.finds("note", "it is not known whether the clock is right", "date")
        self.program("timedatectl", "echo yes")
        self.program("journalctl", 'case "$*" in *gss-ntlm*) printf "one\\ntwo\\nthree\\nfo\\033ur\\n";; esac')
        out = self.finds("note", "the journal says: two", "gss-ntlm(8), AUDIT")
        self.assertNotIn("says: one", out)
        self.assertIn("fo\\u{1b}ur", out)
        for script in ("exit 1", "echo No journal files were found. >&2", 'case "$*" in *gss-ntlm*) sleep 20;; esac'):
            self.program("journalctl", script)
            self.finds("note", "the journal cannot be read", "run this as root")
        denied = 'audit: type=1400 apparmor="DENIED" operation="open" profile="%s" name="%s" pid=1 requested_mask="%s" denied_mask="r"'
        lines = [denied % one for one in (
            ("/usr/sbin/cupsd", "/etc/gss/ntlm.conf", "r"), ("/usr/sbin/cupsd", "/etc/gss/ntlm.conf", "r"),
            ("/usr/sbin/cupsd", "/etc/other", "r"),
        )]
        self.world.write("kernel", "\n".join(lines) + "\n")
        self.program("journalctl", 'case "$*" in *-k*) cat %s/kernel;; esac' % self.world.path)
        out = self.finds("note", "AppArmor has kept /usr/sbin/cupsd from /etc/gss/ntlm.conf", 'the rule "/etc/gss/ntlm.conf r,"')
        self.assertEqual(out.count("AppArmor"), 1)
        self.program("journalctl", "exit 0")
        self.finds_nothing()

    def test_the_trace(self):
        path = self.world.path
        os.symlink(path + "/elsewhere", path + "/link")
        for place, what in (
            (path + "/link", "is a symbolic link"), (path, "is neither a file"), (path + "/none/trace", "cannot make the trace"),
        ):
            self.finds("WRONG", what, "name a file", GSSNTLMSSP_DEBUG=place)
        for place in (path + "/trace", "relative", "stderr", "syslog"):
            self.assertIn("the trace goes to " + place, self.finds_nothing(GSSNTLMSSP_DEBUG=place))

    def test_winbind(self):
        member = test_winbind_answers.Member()
        self.addCleanup(member.close)
        domain = {
            "GSS_NTLM_WINBIND": None, "LD_LIBRARY_PATH": os.path.dirname(test_winbind_answers.false_library()),
            "FALSE_WBCLIENT": member.path,
        }
        away, details = {"code": test_winbind_answers.NOT_AVAILABLE}, test_winbind_answers.DETAILS
        member.say(ping=away)
        self.finds("note", "winbindd does not answer", "systemctl start winbind", **domain)
        member.say(details={**details, "netbios_domain": "MEMBER"})
        self.finds("note", "this computer is in no domain", "net ads join", **domain)
        member.say(controller=away)
        self.finds("WRONG", "winbind reaches no domain controller", "wbinfo --ping-dc", **domain)
        member.say()
        out = self.finds_nothing(**domain)
        self.assertIn("ok: winbind: this computer is MEMBER in AD\nok: winbind: a domain controller answers\n", out)

    def test_winbind_is_not_installed(self):
        empty = os.path.join(self.world.path, "empty")
        os.mkdir(empty)
        self.world.write("empty/libwbclient.so.0", "")
        out = self.run_doctor(GSS_NTLM_WINBIND=None, LD_LIBRARY_PATH=empty)[1]
        self.assertIn("ok: winbind is not there", out)

    def test_who_may_ask_winbind(self):
        require_root("a process has another user")
        member = test_winbind_answers.Member()
        self.addCleanup(member.close)
        own = os.path.join(self.world.path, "run")
        os.makedirs(own + "/samba/winbindd_privileged", 0o750)
        os.chmod(self.world.path, 0o755)
        os.chmod(self.world.mech_config, 0o644)
        # The process has files of its own, as a service may.
        mount = 'mount --bind "$1" /run && shift && exec "$@"'
        child = self.process(
            *namespaced(self.world), "sh", "-c", mount, "sh", own, "setpriv", "--reuid=%d" % NOBODY, "--regid=%d" % NOBODY,
            "--clear-groups", "cat", NTLM_USER_FILE="", GSS_NTLM_WINBIND=None,
        )
        domain = {"FALSE_WBCLIENT": member.path, "LD_LIBRARY_PATH": os.path.dirname(test_winbind_answers.false_library())}
        pid = ("--pid", str(child.pid))
        place = "/run/samba/winbindd_privileged"
        self.finds("note", "may not use %s, so as a server it cannot ask the domain" % place, "winbindd_priv", *pid, **domain)
        self.finds("note", "has a file system of its own", "run gss-ntlm policy there", *pid, **domain)
        os.chown(own + "/samba/winbindd_privileged", 0, NOBODY)
        self.assertNotIn("may not use", self.run_doctor(*pid, **domain)[1])

    def test_a_process(self):
        party = Party(self.world)
        self.addCleanup(party.close)
        status, out, _ = self.run_doctor("--pid", str(party.process.child.pid))
        self.assertIn("process %d (python3" % party.process.child.pid, out)
        self.assertIn("has loaded the plugin", out)
        self.assertIn("has NTLM_USER_FILE=" + self.world.user_file, out)
        self.assertEqual([line for line in out.splitlines() if line.startswith("WRONG")], [], out)
        self.assertEqual(status, OK)
        status, _, err = self.run_doctor("--pid", "999999999")
        self.assertEqual(status, IMPOSSIBLE)
        self.assertIn("there is no such process", err)
        self.program("systemctl", 'echo "$*" >%s/asked; echo %d' % (self.world.path, party.process.child.pid))
        self.assertIn("has loaded the plugin", self.run_doctor("--unit", "apache2.service")[1])
        with open(os.path.join(self.world.path, "asked")) as asked:
            self.assertEqual(asked.read(), "show --property=MainPID --value -- apache2.service\n")
        self.program("systemctl", "echo no bus >&2; exit 1")
        self.assertIn("systemctl: no bus", self.run_doctor("--unit", "x")[2])
        self.program("systemctl", "echo 0")
        status, _, err = self.run_doctor("--unit", "x\x1b[31m")
        self.assertNotIn("\x1b", err)
        status, _, err = self.run_doctor("--unit", "x")
        self.assertEqual(status, IMPOSSIBLE)
        self.assertIn("the unit x does not run: start it", err)

    def process(self, *command, **more):
        """A process that waits, and the doctor's findings about it."""
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self.environment(**more))
        self.addCleanup(child.wait, PATIENCE)
        self.addCleanup(child.stdout.close)
        self.addCleanup(child.stdin.close)
        child.stdin.write(b"x\n")
        child.stdin.flush()
        child.stdout.readline()
        return child

    def test_a_process_without_the_library(self):
        child = self.process("cat")
        self.finds("note", "has not loaded MIT krb5's GSS library", "look again once", "--pid", str(child.pid))

    def test_a_process_with_an_old_plugin(self):
        copied = shutil.copy(self.world.library, self.world.path)
        mechs = self.world.write("mech2", "ntlm 1.3.6.1.4.1.311.2.2.10 %s\n" % copied)
        script = "import ctypes, sys; a = ctypes.CDLL('libgssapi_krb5.so.2'); b = ctypes.CDLL(%r); sys.stdin.readline(); print(flush=True); sys.stdin.read()"
        child = self.process("python3", "-c", script % copied, GSS_MECH_CONFIG=mechs)
        self.assertIn("has loaded the plugin", self.run_doctor("--pid", str(child.pid))[1])
        os.remove(copied)
        shutil.copy(self.world.library, copied)
        self.finds("WRONG", "still has an old plugin, which was replaced since", "restart the program", "--pid", str(child.pid))

    def test_a_process_with_heimdal(self):
        library = os.path.join(self.world.path, "libgssapi.so.3")
        shutil.copy(self.world.library, library)
        script = "import ctypes, sys; ctypes.CDLL(%r); sys.stdin.readline(); print(flush=True); sys.stdin.read()"
        child = self.process("python3", "-c", script % library)
        self.finds("WRONG", "uses Heimdal's GSS library", "a build of the program with MIT krb5", "--pid", str(child.pid))

    def test_a_process_of_another_user(self):
        require_root("a process has another user")
        os.chmod(self.world.path, 0o755)
        os.chmod(self.world.mech_config, 0o644)
        child = self.process("setpriv", "--reuid=%d" % NOBODY, "--regid=%d" % NOBODY, "--clear-groups", "cat")
        pid = ("--pid", str(child.pid))
        self.finds("WRONG", "may not read the user file", "let its user or its group read the file", *pid)
        self.finds("note", "has stored is not looked at", "run this command as that user", *pid)
        os.chown(self.world.user_file, 0, NOBODY)
        os.chmod(self.world.user_file, 0o640)
        self.assertNotIn("WRONG", self.run_doctor(*pid)[1])
        os.chmod(self.world.path, 0o700)
        self.finds("WRONG", "may not read the user file", "search its directories", *pid)
        trace = self.world.write("trace", "")
        child = self.process(
            "setpriv", "--reuid=%d" % NOBODY, "--regid=%d" % NOBODY, "--clear-groups", "cat", GSSNTLMSSP_DEBUG=trace
        )
        self.finds("WRONG", "may not write the trace", "name a file in a directory", "--pid", str(child.pid))

    def test_a_plugin_that_the_program_may_not_read(self):
        require_root("a process has another user")
        copied = shutil.copy(self.world.library, self.world.path)
        mechs = self.world.write("mech2", "ntlm 1.3.6.1.4.1.311.2.2.10 %s\n" % copied)
        os.chmod(self.world.path, 0o755)
        os.chmod(mechs, 0o600)
        os.chmod(copied, 0o600)
        user = ("setpriv", "--reuid=%d" % NOBODY, "--regid=%d" % NOBODY, "--clear-groups", "cat")
        child = self.process(*user, GSS_MECH_CONFIG=mechs, NTLM_USER_FILE="")
        self.finds("WRONG", "may not read the plugin", "chmod a+r", "--pid", str(child.pid))
        self.finds("WRONG", "may not read %s, which registers the plugin" % mechs, "chmod a+r", "--pid", str(child.pid))
        os.chmod(copied, 0o644)
        os.chmod(mechs, 0o644)
        self.assertNotIn("WRONG", self.run_doctor("--pid", str(child.pid))[1])


if __name__ == "__main__":
    unittest.main()
