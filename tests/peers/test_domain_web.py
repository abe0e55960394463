"""A web server for the users of a domain: Apache httpd on a member, which asks winbindd under its own user, and curl."""

import grp
import os
import pwd
import shutil
import subprocess
import time

import domain
from harness import NTLM_OID, PATIENCE, PeerTest, World, plugin, require, require_curl
from test_apache import MODULE_PATH, PROGRAM

OURS = domain.DOMAIN + "\\alice"
# Only the member itself can connect.
PORT = 8080
MODULES = "mpm_event authn_core authz_core authz_user auth_gssapi headers".split()
CONFIGURATION = """\
ServerName localhost
ServerRoot {root}
PidFile {root}/pid
Mutex posixsem
User www-data
Group {group}
Listen 127.0.0.1:{port}
ErrorLog {root}/error.log
LogLevel info
{modules}
DocumentRoot {root}/documents
<Location />
AuthType GSSAPI
AuthName test
GssapiAllowedMech ntlmssp
GssapiConnectionBound On
GssapiPublishMech On
GssapiNameAttributes SIDS urn:gssntlmssp:sids
GssapiNameAttributes FULL_NAME urn:gss-ntlm:full-name
Require valid-user
Header always set X-Who "expr=%{{REMOTE_USER}}|%{{reqenv:GSS_MECH}}|%{{reqenv:FULL_NAME}}|%{{reqenv:SIDS}}"
</Location>
"""


class Web(PeerTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        require(os.path.isfile(PROGRAM), "apache2-bin")
        require(os.path.isfile(MODULE_PATH + "/mod_auth_gssapi.so"), "libapache2-mod-auth-gssapi")
        cls.member = domain.shared().member
        # The mode that Debian's package gives it for the group winbindd_priv.
        cls.member.must_run(["chgrp", "www-data", "/var/lib/samba/winbindd_privileged"])
        cls.member.must_run(["wbinfo", "--ccache-save=%s%%%s" % (OURS, domain.PASSWORD)])

    def serve(self, group="www-data"):
        self.world = world = World(user_file="")
        world.library = shutil.copy(plugin(), world.path)
        world.write("mech", "gss-ntlm %s %s\n" % (NTLM_OID, world.library))
        os.mkdir(world.path + "/documents")
        world.write("documents/page", "a page\n")
        world.write("error.log", "")
        world.write("httpd.conf", CONFIGURATION.format(
            root=world.path, port=PORT, group=group,
            modules="\n".join("LoadModule %s_module %s/mod_%s.so" % (name, MODULE_PATH, name) for name in MODULES),
        ))
        account, members = pwd.getpwnam("www-data").pw_uid, grp.getgrnam(group).gr_gid
        for folder, _, files in os.walk(world.path):
            for path in (folder, *(os.path.join(folder, file) for file in files)):
                os.chown(path, account, members)
        alone = dict.fromkeys(("NTLM_USER_FILE", "NETBIOS_COMPUTER_NAME", "NETBIOS_DOMAIN_NAME"))
        server = subprocess.Popen(
            self.member.prefix(world.path)
            + ["setpriv", "--pdeathsig", "TERM", PROGRAM, "-f", world.path + "/httpd.conf", "-DFOREGROUND"],
            env=world.environment(**alone), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        self.addCleanup(server.wait, timeout=PATIENCE)
        self.addCleanup(server.terminate)
        end = time.monotonic() + PATIENCE
        while PORT not in self.member.listening():
            self.assertIsNone(server.poll(), self.told())
            self.assertLess(time.monotonic(), end, self.told())
            time.sleep(0.05)

    def told(self):
        with open(self.world.path + "/error.log", errors="replace") as log:
            return log.read()

    def curl(self, *options, **environment):
        """The status, and the parts of X-Who."""
        alone = dict.fromkeys(("NTLM_USER_FILE", "NETBIOS_COMPUTER_NAME", "NETBIOS_DOMAIN_NAME"))
        told = self.member.must_run(
            [require_curl(), "--disable", "--silent", "--show-error", "--max-time", str(PATIENCE), "--output", os.devnull,
             "--write-out", "%{http_code}|%header{x-who}", *options, "http://localhost:%d/page" % PORT],
            environment=World(user_file="").environment(**{**alone, **environment}), timeout=2 * PATIENCE,
        )
        status, *who = told.split("|")
        return int(status), who

    def test_serves_a_user_of_the_domain_who_gives_a_password(self):
        self.serve()
        for spelling in (OURS, "adtest\\ALICE"):
            status, (who, mech, name, sids) = self.curl("--ntlm", "--user", "%s:%s" % (spelling, domain.PASSWORD))
            self.assertEqual((status, who, mech, name), (200, OURS, "NTLM/NTLM", "Alice Liddell"), self.told())
            self.assertGreater(sids.count("S-1-5-21-"), 2)

    def test_serves_a_user_of_the_domain_who_has_logged_on(self):
        self.serve()
        status, (who, mech, *_) = self.curl("--negotiate", "--user", ":", USER="alice")
        self.assertEqual((status, who, mech), (200, OURS, "Negotiate/NTLM"), self.told())

    def test_tells_its_log_whom_it_refuses_and_why(self):
        self.serve()
        for user, password, words in (
            (OURS, "wrong", "STATUS_LOGON_FAILURE"),
            (domain.DOMAIN + "\\nobody", domain.PASSWORD, "STATUS_LOGON_FAILURE"),
            (domain.DOMAIN + "\\" + domain.DISABLED, domain.PASSWORD, "NT_STATUS_ACCOUNT_DISABLED"),
        ):
            with self.subTest(user):
                before = len(self.told())
                status, (who, *_) = self.curl("--ntlm", "--user", "%s:%s" % (user, password))
                self.assertEqual((status, who), (401, ""))
                self.assertIn(words, self.told()[before:])

    def test_tells_its_log_that_it_may_not_ask(self):
        self.serve(group="nogroup")
        status, (who, *_) = self.curl("--ntlm", "--user", "%s:%s" % (OURS, domain.PASSWORD))
        self.assertEqual((status, who), (401, ""))
        self.assertIn("winbindd does not let this program check accounts", self.told())
