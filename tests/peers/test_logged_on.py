"""Programs of a user who is logged on with gss-ntlm login: curl and git, with Apache; and gss-ntlm test, which asks the server."""

import os
import shutil
import subprocess

import test_apache
import test_command
from harness import ALICE, PASSWORD, PATIENCE, require_curl


class LoggedOn(test_apache.ApacheTest):
    """Programs of a user who is logged on, without a user file."""

    def as_user(self, *command, given="", **more):
        environment = self.world.environment(
            NTLM_USER_FILE=None, GSS_NTLM_STORE="runtime", XDG_RUNTIME_DIR=os.path.join(self.world.path, "runtime"),
            GIT_CONFIG_NOSYSTEM="1", GIT_TERMINAL_PROMPT="0", **more,
        )
        return subprocess.run(
            command, env=environment, cwd=self.world.path, input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=2 * PATIENCE,
        )

    def tool(self, *arguments, **about):
        return self.as_user(test_command.command(), *arguments, **about)

    def log_on(self, password, *options):
        done = self.tool("login", *options, ALICE, given=password + "\n")
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_programs_need_no_password_until_the_user_logs_off(self):
        os.makedirs(os.path.join(self.world.path, "runtime"), 0o700, exist_ok=True)
        url = self.url("ntlm")

        def curl():
            return self.as_user(
                require_curl(), "--disable", "--ipv4", "--silent", "--show-error", "--output", os.devnull, "--write-out",
                "%{http_code} %header{x-who}", "--negotiate", "--user", ":", url,
            ).stdout

        self.assertIn("401", curl())
        said = self.tool("test", "--server", url)
        self.assertEqual(said.returncode, 1, said.stdout)
        self.assertIn("There are no credentials → log on (gss-ntlm login)", said.stdout)
        # For another host: nothing for this one.
        self.log_on(PASSWORD, "--target", "HTTP/elsewhere")
        self.assertIn("No stored credential is for HTTP/localhost", self.tool("test", "--server", url).stdout)
        self.log_on(PASSWORD, "--target", "HTTP/localhost")
        self.assertEqual(curl(), "200 %s|Negotiate/NTLM" % ALICE)
        said = self.tool("test", "--server", url)
        self.assertEqual((said.returncode, said.stdout), (0, "ok: %s: you are logged on\n" % url))
        if shutil.which("git"):
            said = self.as_user("git", "-c", "http.emptyAuth=true", "ls-remote", self.url("git/none.git"))
            # There is no such repository, but it was asked for by a known user.
            self.assertIn("not found", said.stdout)
        self.assertIn("does not go on after NTLM's first message", self.tool("test", "--server", self.url("")).stdout)
        self.log_on("wrong", "--target", "HTTP/localhost")
        said = self.tool("test", "--server", url)
        self.assertEqual(said.returncode, 1)
        self.assertIn("the server refuses this account → check name and password", said.stdout)
        self.tool("logout", "--all")
        self.assertIn("401", curl())
