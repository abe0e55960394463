"""Web clients with their own NTLM, which differs from that of curl and of browsers: GNU wget and Apache's HttpClient for Java.

Both send NTLM without SPNEGO. wget offers only OEM and answers with NTLMv1 and LM, so its server has LM_COMPAT_LEVEL 1; its names
are OEM whatever its flags say. HttpClient asks for no target, but uses NTLMv2 only if it gets a TargetName and a TargetInfo.
"""

import os
import re
import subprocess

from harness import ALICE, CAROL_PASSWORD, HERE, NTLM, PASSWORD, PATIENCE, UNICODE, negotiated, require, require_program
from test_apache import ApacheTest, WRONG

JARS = ["/usr/share/java/%s.jar" % name for name in ("httpclient", "httpcore", "commons-logging", "commons-codec")]
OEM = 0x2


class Wget(ApacheTest):
    environment = {"LM_COMPAT_LEVEL": "1"}

    def wget(self, user, password):
        """The status of the last answer, and the user that the server reports."""
        done = subprocess.run(
            [
                require_program("wget", "wget"), "--no-config", "--server-response", "--tries=1", "--timeout=%d" % PATIENCE,
                "--output-document=/dev/null", "--user=" + user, "--password=" + password, "--no-hsts", self.url("ntlm"),
            ],
            env=self.world.environment(), cwd=self.world.path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, encoding="utf-8", timeout=2 * PATIENCE,
        )
        *_, status = re.findall(r"HTTP/1.1 (\d+)", done.stdout)
        who = re.findall(r"X-Who: (.*)", done.stdout)
        return int(status), who[-1].replace("\\\\", "\\") if who else None

    def test_is_served(self):
        # Names of odd and of even lengths, with a domain and without.
        for user, password, who in (
            (ALICE, PASSWORD, ALICE), ("carol", CAROL_PASSWORD, "carol"), ("dora", "No Domain", "dora"),
            ("alice", PASSWORD, ALICE), ("OTHER\\olga", "Other", "OTHER\\olga"), ("olga", "Other", "OTHER\\olga"),
        ):
            with self.subTest(user):
                self.assertEqual(self.wget(user, password), (200, who + "|NTLM/NTLM"))

    def test_is_what_this_is_about(self):
        self.wget(ALICE, PASSWORD)
        flags = [int(number, 16) for number in re.findall(r"NEGOTIATE_MESSAGE, flags 0x(\w+)", self.traced())]
        self.assertEqual([number & (UNICODE | OEM) for number in flags], [OEM])

    def test_is_refused_with_a_wrong_password_or_a_wrong_name(self):
        for user, password in ((ALICE, "wrong"), ("EXAMPLE\\nobody", PASSWORD), ("ELSEWHERE\\alice", PASSWORD)):
            with self.subTest(user):
                status, _ = self.wget(user, password)
                self.assertEqual(status, 401)
                self.assertIn(WRONG, self.told())


class HttpClient(ApacheTest):
    @classmethod
    def setUpClass(cls):
        require(os.path.isfile(JARS[0]), "libhttpclient-java")
        # Java compiles a program of one file when it starts it.
        require_program("javac", "default-jdk-headless")
        cls.java = require_program("java", "default-jdk-headless")
        super().setUpClass()

    def fetch(self, domain, user, password):
        done = subprocess.run(
            [self.java, "-cp", ":".join(JARS), os.path.join(HERE, "HttpClientPeer.java"), self.url("ntlm"), domain, user, password],
            env=self.world.environment(), cwd=self.world.path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, encoding="utf-8", timeout=3 * PATIENCE,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()

    def test_is_served_by_ntlm_v2_at_the_default_level(self):
        for domain, user in (("EXAMPLE", "alice"), ("", "alice"), ("example", "ALICE")):
            with self.subTest(domain=domain, user=user):
                self.assertEqual(self.fetch(domain, user, PASSWORD), "200|%s|NTLM/NTLM" % ALICE)
        self.assertEqual(self.traced().count("is authenticated by NTLMv2"), 3)

    def test_is_refused_with_a_wrong_password(self):
        self.assertTrue(self.fetch("EXAMPLE", "alice", "wrong").startswith("401|"))
        self.assertIn(WRONG, self.told())
