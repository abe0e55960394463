"""What all peer tests share: the plugin and the peers, a private set of files for them, and processes with a time limit.

GSSNTLM_PLUGIN            the absolute path of the plugin under test; it is required
GSSNTLM_PEERS_OPTIONAL=1  skips the tests of peers that are not installed. Without it these tests fail, except those that may be
                          skipped on this distribution (scripts/may-skip)
"""

import atexit
import base64
import functools
import glob
import importlib.util
import json
import os
import random
import re
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
NTLM_OID = "1.3.6.1.4.1.311.2.2.10"

MUTUAL, REPLAY, SEQUENCE, CONF, INTEG, ANON, TRANS, CHANNEL_BOUND = 0x2, 0x4, 0x8, 0x10, 0x20, 0x40, 0x100, 0x800
SEALED = CONF | INTEG | REPLAY | SEQUENCE
SIGNED = INTEG | REPLAY | SEQUENCE
# Without any flag python-gssapi asks for flags of its own choice. MUTUAL alone asks for nothing that NTLM has.
UNPROTECTED = MUTUAL

# Bits of NegotiateFlags (MS-NLMP 2.2.2.5).
UNICODE, OEM, REQUEST_TARGET, SIGN, SEAL, LM_KEY, NTLM, ESS = 0x1, 0x2, 0x4, 0x10, 0x20, 0x80, 0x200, 0x80000
VERSION, NEG_128, KEY_EXCH, NEG_56 = 0x2000000, 0x20000000, 0x40000000, 0x80000000
# What a client that seals offers, without the kind of session and its strength.
OFFER = UNICODE | REQUEST_TARGET | SIGN | SEAL | NTLM | VERSION | KEY_EXCH

# Every answer of a peer must come within this many seconds, even on a loaded machine.
PATIENCE = 20

ALICE = "EXAMPLE\\alice"
PASSWORD = "Correct Horse"
ANONYMOUS = "NT AUTHORITY\\ANONYMOUS LOGON"
CAROL_PASSWORD = "Password"
# The NT hash of CAROL_PASSWORD.
CAROL_HASH = "A4F49C406510BDCAB6824EE7C30FD852"
USER_FILE = f"""\
EXAMPLE:alice:{PASSWORD}
:dora:No Domain
carol:1000:{32 * "X"}:{CAROL_HASH}:[U          ]:LCT-00000000:
"""


def temporary_directory():
    """A new directory that is removed with this process. Its path has no blank, at which krb5 ends a path in a mechanism file."""
    place = tempfile.gettempdir()
    path = tempfile.mkdtemp(prefix="gss-ntlm-peers-", dir="/tmp" if re.search(r"\s", place) else place)
    # Clean up even if a test forgets to.
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@functools.cache
def plugin():
    """The plugin under test, or a copy if its path has a blank."""
    path = os.environ.get("GSSNTLM_PLUGIN", "")
    if not os.path.isabs(path) or not os.path.isfile(path):
        raise RuntimeError("GSSNTLM_PLUGIN must be the absolute path of the plugin under test, but is %r" % path)
    return shutil.copy(path, temporary_directory()) if re.search(r"\s", path) else path


def c_plugin():
    """The path of the C mechanism, from Debian or built locally."""
    places = glob.glob("/usr/lib/*/gssntlmssp/gssntlmssp.so") + glob.glob("/usr/local/lib/gssntlmssp/gssntlmssp.so")
    return os.environ.get("GSSNTLM_C_PLUGIN") or (places[0] if places else None)


@functools.cache
def spnego_loses_mic():
    """Whether the SPNEGO of this computer's libgssapi_krb5 loses the mechListMIC, as krb5 1.21.0 to 1.22.1 does: no MIC is then
    sent inside it. A C program finds out, without the plugin."""
    world = World()
    program = os.path.join(world.path, "spnego_mic")
    source = os.path.join(os.path.dirname(HERE), "c", "spnego_mic.c")
    compiler = [require_program("cc", "gcc"), "-Wall", "-Wextra", "-Werror", "-o", program, source, "-lgssapi_krb5"]
    subprocess.run(compiler, check=True, timeout=PATIENCE)
    said = subprocess.run([program], env=world.environment(), capture_output=True, check=True, timeout=PATIENCE).stdout
    return {b"sees\n": False, b"loses\n": True}[said]


# The reasons of allowed skips.
allowed_skips = set()


def skip(reason):
    """Skip this test with permission; run.py treats every other skip as a failure."""
    allowed_skips.add(reason)
    raise unittest.SkipTest(reason)


def may_skip(judge):
    """Skip this test if the check may be skipped on this distribution."""
    program = os.path.join(HERE, "..", "..", "scripts", "may-skip")
    listed = subprocess.run([program, judge], stdout=subprocess.PIPE, text=True, timeout=PATIENCE)
    if listed.returncode == 0:
        skip("%s: %s" % (judge, listed.stdout.strip()))
    raise AssertionError("tests/may-skip does not list " + judge)


def require(present, what):
    """Call this at the start of a test that needs `what`. If it is absent, the test fails, or is skipped if that is allowed."""
    if present:
        return
    if os.environ.get("GSSNTLM_PEERS_OPTIONAL") == "1":
        raise unittest.SkipTest(what + " is not installed")
    try:
        # The list has names of packages, whichever part of a package the test needs.
        may_skip(re.sub(r".*\((.*)\)", r"\1", what))
    except AssertionError as unlisted:
        raise AssertionError(what + " is missing: install it, or skip its tests with GSSNTLM_PEERS_OPTIONAL=1") from unlisted


def require_root(what):
    """Call this at the start of a test that needs root. An ordinary user does without it: CI runs the tests as root."""
    if os.geteuid():
        reason = "for root only: " + what
        allowed_skips.add(reason)
        raise unittest.SkipTest(reason)


def require_module(name, package):
    require(importlib.util.find_spec(name), package)


def require_program(name, package):
    # An ordinary user's PATH lacks the directories of system programs.
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    require(path, "%s (%s)" % (name, package))
    return path


def require_curl():
    """curl with NTLM: a libcurl that was built without NTLM also leaves it out of Negotiate (curl's PR 21315)."""
    program = require_program("curl", "curl")
    said = subprocess.run([program, "--version"], capture_output=True, check=True, text=True, timeout=PATIENCE).stdout
    require("NTLM" in said.split(), "NTLM of curl's (curl with NTLM)")
    return program


class World:
    """A temporary directory with everything that a GSS process reads: mechanism file, user file, an empty Kerberos."""

    def __init__(self, library=None, user_file=USER_FILE):
        self.library = library or plugin()
        self.path = temporary_directory()
        self.mech_config = self.write("mech", "gss-ntlm %s %s\n" % (NTLM_OID, self.library))
        self.user_file = self.write("users", user_file)
        # A realm without servers and without DNS: SPNEGO tries Kerberos first, and this must fail at once.
        self.krb5_config = self.write("krb5.conf", "[libdefaults]\ndns_lookup_kdc = false\ndns_lookup_realm = false\n")

    def smb_conf(self):
        """A configuration of Samba that changes nothing outside this directory."""
        state = os.path.join(self.path, "samba")
        os.makedirs(state, mode=0o700, exist_ok=True)
        directories = ("lock", "state", "cache", "pid", "winbindd socket")
        settings = ["workgroup = EXAMPLE", "netbios name = SAMBAHOST", "private dir = " + state, "ncalrpc dir = " + state]
        settings += ["%s directory = %s" % (name, state) for name in directories]
        return self.write("smb.conf", "[global]\n" + "\n".join(settings) + "\n")

    def write(self, name, text):
        path = os.path.join(self.path, name)
        with open(path, "wb") as file:
            file.write(text if isinstance(text, bytes) else text.encode())
        os.chmod(path, 0o600)
        return path

    def environment(self, **more):
        """A complete environment, not an addition to the tester's; a value of None removes a variable."""
        settings = {
            "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": self.path,
            "TMPDIR": self.path,
            "LC_ALL": "C.UTF-8",
            "GSS_MECH_CONFIG": self.mech_config,
            "NTLM_USER_FILE": self.user_file,
            "NETBIOS_COMPUTER_NAME": "TESTHOST",
            "NETBIOS_DOMAIN_NAME": "EXAMPLE",
            # Who runs the tests may be logged on.
            "GSS_NTLM_STORE": "off",
            "KRB5_CONFIG": self.krb5_config,
            "KRB5CCNAME": "FILE:" + os.path.join(self.path, "no-ccache"),
            "KRB5_KTNAME": "FILE:" + os.path.join(self.path, "no-keytab"),
            "PYTHONDONTWRITEBYTECODE": "1",
            **more,
        }
        return {key: value for key, value in settings.items() if value is not None}

    def remove(self):
        shutil.rmtree(self.path, ignore_errors=True)


# A private /dev with a log, and no journal. Only this process and its children see these mounts.
OWN_LOG = """\
set -e
dev=$1/dev log=$1/log; shift
mkdir -p "$dev"
for name in null zero full random urandom; do : >"$dev/$name"; mount --bind "/dev/$name" "$dev/$name"; done
: >"$dev/log"; mount --bind "$log" "$dev/log"
ln -sfn /proc/self/fd "$dev/fd"
mount --rbind "$dev" /dev
[ ! -d /run/systemd/journal ] || mount -t tmpfs none /run/systemd/journal
exec "$@"
"""

# A private /run with the socket of a journal and nothing else.
OWN_JOURNAL = """\
set -e
journal=$1/journal; shift
mount -t tmpfs none /run
mkdir -p /run/systemd/journal
: >/run/systemd/journal/socket; mount --bind "$journal" /run/systemd/journal/socket
exec "$@"
"""

# systemd's own journal in a private /run. It keeps its files there, and takes only what programs send.
OWN_JOURNALD = """\
set -e
mount -t tmpfs none /run
mkdir -p /run/systemd/journal /run/log/journal
mount --bind "$1/journald.conf" /etc/systemd/journald.conf
[ ! -d /etc/systemd/journald.conf.d ] || mount -t tmpfs none /etc/systemd/journald.conf.d
exec "$2"
"""
JOURNALD_CONF = """\
[Journal]
Storage=volatile
RateLimitIntervalSec=0
Audit=no
ReadKMsg=no
ForwardToSyslog=no
ForwardToKMsg=no
ForwardToConsole=no
ForwardToWall=no
"""


def namespaced(world):
    """The beginning of a command that may mount what only it and its children see."""
    ways = (["unshare", "--mount"], ["unshare", "--map-root-user", "--mount"])
    mounts = ("mount", "--bind", world.path, world.path)
    may = [way for way in ways if subprocess.run([*way, *mounts], stderr=subprocess.DEVNULL, timeout=PATIENCE).returncode == 0]
    require(may, "the permission to make a mount namespace")
    return may[0]


class PolicyFile:
    """A policy file for processes that are started with its prefix."""

    def __init__(self, world, text):
        # Of root's, also if a test gives the world to another user.
        self.path = temporary_directory()
        with open(os.path.join(self.path, "ntlm.conf"), "w") as file:
            file.write(text)
        os.chmod(self.path, 0o755)
        os.chmod(file.name, 0o644)
        mount = 'mount --bind "$1" /etc/gss && shift && exec "$@"'
        self.prefix = [*namespaced(world), "sh", "-c", mount, "sh", self.path]


class SystemLog:
    """A system log for processes that are started with its prefix."""

    def __init__(self, world):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(os.path.join(world.path, "log"))
        os.chmod(os.path.join(world.path, "log"), 0o666)
        self.socket.setblocking(False)
        self.prefix = [*namespaced(world), "sh", "-c", OWN_LOG, "sh", world.path]
        self.received = []

    def lines(self):
        """The lines since the last call, without those about handshakes."""
        return self.take(lambda line: "]: event=" not in line)

    def events(self):
        """The lines about handshakes since the last call, each as a dictionary."""
        quoted = re.compile(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|(\S+))(?: |$)')
        found = []
        for line in self.take(lambda line: "]: event=" in line):
            fields = line.partition("]: ")[2]
            if quoted.sub("", fields):
                raise AssertionError("it is not a list of fields: " + line)
            found.append({name: word or re.sub(r"\\(.)", r"\1", text) for name, text, word in quoted.findall(fields)})
        return found

    def take(self, is_wanted):
        self.received += [datagram.decode() for datagram in datagrams(self.socket)]
        taken = [line for line in self.received if is_wanted(line)]
        self.received = [line for line in self.received if not is_wanted(line)]
        return taken

    def close(self):
        self.socket.close()


def datagrams(receiver):
    """What a socket that does not wait has received."""
    while True:
        try:
            yield receiver.recv(1 << 18)
        except BlockingIOError:
            return


def journal_fields(datagram):
    """The fields of one entry, as systemd's documentation of the journal's native protocol says. A name that comes twice is an
    error here."""
    fields = {}
    while datagram:
        line, _, rest = datagram.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            length = int.from_bytes(rest[:8], "little")
            value, end, rest = rest[8:8 + length], rest[8 + length:9 + length], rest[9 + length:]
            if len(value) != length or end != b"\n":
                raise AssertionError("a value is not as long as it says: %r" % line)
        if not re.fullmatch(b"[A-Z][A-Z0-9_]{0,63}", name) or name.decode() in fields:
            raise AssertionError("it is no name of a field, or the second of this name: %r" % name)
        fields[name.decode()], datagram = value.decode(), rest
    return fields


class Journal:
    """A journal for processes that are started with its prefix. It keeps nothing: it shows what is sent to it."""

    def __init__(self, world):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(os.path.join(world.path, "journal"))
        os.chmod(os.path.join(world.path, "journal"), 0o666)
        self.socket.setblocking(False)
        self.prefix = [*namespaced(world), "sh", "-c", OWN_JOURNAL, "sh", world.path]

    def entries(self):
        """The entries since the last call, each as a dictionary."""
        return [journal_fields(datagram) for datagram in datagrams(self.socket)]

    def close(self):
        self.socket.close()


class Journald:
    """systemd's own journal, for processes that are started with its prefix."""

    def __init__(self, world):
        program = "/lib/systemd/systemd-journald"
        require(os.path.isfile(program), "systemd-journald (systemd)")
        require_program("journalctl", "systemd")
        require(os.path.isfile("/etc/machine-id") and os.path.isfile("/etc/systemd/journald.conf"), "a machine id (systemd)")
        world.write("journald.conf", JOURNALD_CONF)
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *namespaced(world), "sh", "-c", OWN_JOURNALD, "sh", world.path, program],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        of_user = [] if os.geteuid() == 0 else ["--preserve-credentials", "--user=/proc/%d/ns/user" % self.process.pid]
        self.prefix = ["nsenter", *of_user, "--mount=/proc/%d/ns/mnt" % self.process.pid]
        end = time.monotonic() + PATIENCE
        while not os.path.exists("/proc/%d/root/run/systemd/journal/socket" % self.process.pid):
            if time.monotonic() > end or self.process.poll() is not None:
                self.close()
                require(False, "a namespace in which systemd-journald runs (systemd)")
            time.sleep(0.05)

    def shell(self, command):
        """What a command writes that runs where the journal is."""
        # journalctl shows only what is written to the files.
        script = "journalctl --sync; " + command
        done = subprocess.run([*self.prefix, "bash", "-c", script], capture_output=True, text=True, timeout=PATIENCE)
        if done.returncode:
            raise AssertionError("%s: %s" % (command, done.stderr))
        return done.stdout

    def entries(self):
        """All entries of ours, each as a dictionary."""
        return [json.loads(line) for line in self.shell("journalctl --no-pager -o json -t gss-ntlm").splitlines()]

    def close(self):
        end(self.process)


def free_ports(count):
    """Unused ports of 127.0.0.1, for servers that cannot be given a socket. They are outside the range from which the kernel
    chooses ports: a port in that range may be given to another program before the server starts."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as kernels:
        first = int(kernels.read().split()[0])
    ports = set()
    while len(ports) < count:
        port = random.randrange(min(10000, first // 2), first)
        try:
            socket.create_server(("127.0.0.1", port)).close()
            ports.add(port)
        except OSError:
            pass  # It is in use.
    return sorted(ports)


def enter(world, **more):
    """Make this process itself a party of `world`. The mechglue reads its configuration once, so a process has one world."""
    for key, value in world.environment(**more).items():
        if key.startswith(("GSS", "KRB5", "NTLM", "NETBIOS")):
            os.environ[key] = value


class LineProcess:
    """A child that answers each line with one line, within PATIENCE."""

    def __init__(self, command, environment, cwd=None, prefix=()):
        """`prefix`: a command that runs this one elsewhere."""
        self.command = command
        self.child = subprocess.Popen(
            [*prefix, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=cwd,
            bufsize=0,
        )
        os.set_blocking(self.child.stdout.fileno(), False)
        os.set_blocking(self.child.stderr.fileno(), False)
        self.pending = b""
        self.errors = b""

    def ask(self, line):
        if self.child.stdin.closed:
            raise RuntimeError("%s has ended (status %s)" % (self.command[0], self.child.returncode))
        try:
            self.child.stdin.write(line.encode() + b"\n")
        except BrokenPipeError:
            pass  # It has died; read_line reports how.
        return self.read_line()

    def read_line(self):
        end = time.monotonic() + PATIENCE
        with selectors.DefaultSelector() as ready:
            ready.register(self.child.stdout, selectors.EVENT_READ)
            ready.register(self.child.stderr, selectors.EVENT_READ)
            while b"\n" not in self.pending:
                if time.monotonic() > end:
                    self.fail("gave no answer in %d s" % PATIENCE)
                for key, _ in ready.select(max(0, end - time.monotonic())):
                    self._take(ready, key.fileobj)
        line, self.pending = self.pending.split(b"\n", 1)
        # Some programs print tokens as raw bytes.
        return line.decode(errors="replace")

    def _take(self, ready, stream):
        data = stream.read(1 << 20)
        if data == b"" and stream is self.child.stdout:
            self.fail("ended")
        elif data == b"":
            ready.unregister(stream)
        elif stream is self.child.stdout:
            self.pending += data or b""
        else:
            self.errors += data or b""

    def fail(self, how):
        self.close()
        raise RuntimeError("%s %s (status %s): %s" % (self.command[0], how, self.child.returncode, self.errors.decode()))

    def close(self):
        """End the child by closing its input, and kill it if it stays. Returns its exit status."""
        end(self.child, ask=lambda child: child.stdin.close())
        if not self.child.stderr.closed:
            self.errors += self.child.stderr.read() or b""
        self.child.stdout.close()
        self.child.stderr.close()
        return self.child.returncode


def end(child, ask=lambda child: child.terminate()):
    if child.poll() is None:
        ask(child)
        try:
            child.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            child.kill()
    child.wait()
    if child.stdin:
        child.stdin.close()


class GssFailure(Exception):
    """A GSS error in the other process: `major` is the name of the routine error, `text` the text of gss_display_status."""

    def __init__(self, major, status, minor, text):
        super().__init__("%s (%#x), minor %#x: %s" % (major, status, minor, text))
        self.major, self.status, self.minor, self.text = major, status, minor, text


class Peer:
    """A party in its own process. Every method of its Party class is a method here; bytes in, bytes out."""

    BYTES = {"token", "data", "mic", "key", "binding", "before", "after"}

    def __init__(self, program, world, environment, prefix=(), **hello):
        self.process = LineProcess(
            [sys.executable, os.path.join(HERE, program)], world.environment(**environment), cwd=world.path, prefix=prefix
        )
        try:
            self.call("hello", **hello)
        except BaseException:
            self.close()
            raise

    def call(self, do, **arguments):
        sent = {key: base64.b64encode(value).decode() if isinstance(value, bytes) else value for key, value in arguments.items()}
        answer = json.loads(self.process.ask(json.dumps({"do": do, **sent})))
        if "broken" in answer:
            raise RuntimeError(answer["broken"])
        if "error" in answer:
            raise GssFailure(**answer["error"])
        return {
            key: base64.b64decode(value) if key in self.BYTES and value is not None else value
            for key, value in answer["ok"].items()
        }

    def __getattr__(self, do):
        return lambda **arguments: self.call(do, **arguments)

    def close(self):
        """End the process. A status other than 0 means that it crashed at its end."""
        return self.process.close()


class Party(Peer):
    """A gsspeer process: a GSS-API application with the mechanism of `world`."""

    def __init__(self, world, prefix=(), **environment):
        self.library = world.library
        super().__init__("gsspeer.py", world, environment, prefix, plugin=world.library)

    def log_on(self, cred="user", user=ALICE, password=PASSWORD, mech="ntlm", **more):
        # Let SPNEGO offer NTLM only: tests without Kerberos.
        neg = ["ntlm"] if mech == "spnego" else None
        self.acquire(cred=cred, usage="initiate", user=user, password=password, mech=mech, neg=neg, **more)

    def serve(self, cred="server", mech="ntlm", **more):
        self.acquire(cred=cred, usage="accept", mech=mech, **more)


class Side:
    """One context of a party, with the same methods for every kind of party."""

    def __init__(self, party, context):
        self.party, self.context = party, context

    def wrap(self, data):
        return self.party.wrap(context=self.context, data=data)["data"]

    def unwrap(self, data):
        return self.party.unwrap(context=self.context, data=data)["data"]

    def get_mic(self, data):
        return self.party.get_mic(context=self.context, data=data)["mic"]

    def verify_mic(self, data, mic):
        self.party.verify_mic(context=self.context, data=data, mic=mic)

    def session_key(self):
        return self.party.session_key(context=self.context)["key"]


def handshake(initiator, acceptor, context="c", mech="ntlm", flags=SEALED, **options):
    """Run the handshake to its end and return the last answers of both sides; the initiator's has all its tokens under "sent".

    `options`: initiator_binding, acceptor_binding (application data), initiator_cred, acceptor_cred, target.
    """
    init = {"binding": options.get("initiator_binding"), "cred": options.get("initiator_cred", "user")}
    accept = {"binding": options.get("acceptor_binding"), "cred": options.get("acceptor_cred", "server")}
    token, theirs, sent = None, None, []
    for _ in range(10):
        ours = initiator.init(
            context=context, mech=mech, flags=flags, target=options.get("target"), token=token, **init
        )
        if ours["token"]:
            sent.append(ours["token"])
            theirs = acceptor.accept(context=context, token=ours["token"], **accept)
            token = theirs["token"]
        if not ours["more"]:
            # The acceptor may send SPNEGO's last token; then the initiator still waits for it, which "more" says.
            if theirs["more"]:
                raise AssertionError("the initiator has finished, but the acceptor waits for a token")
            return ours | {"sent": sent}, theirs
        if not token:
            raise AssertionError("the initiator waits for a token, but the acceptor has sent none")
    raise AssertionError("the handshake has not ended after ten rounds")


class PeerTest(unittest.TestCase):
    """Assertions about GSS outcomes."""

    maxDiff = None

    def assertRefused(self, majors, call, **arguments):
        """The call fails with one of `majors` (one name or several) and a text that a person can read."""
        majors = [majors] if isinstance(majors, str) else majors
        with self.assertRaises(GssFailure) as caught:
            call(**arguments)
        failure = caught.exception
        self.assertIn(failure.major, majors, str(failure))
        self.assertTrue(failure.text.strip(), "an error without a text")
        return failure

    def carry(self, sender, receiver, data):
        token = sender.wrap(data)
        self.assertEqual(len(token), len(data) + 16)
        self.assertEqual(receiver.unwrap(token), data)

    def sign(self, sender, receiver, data):
        signature = sender.get_mic(data)
        self.assertEqual(len(signature), 16)
        receiver.verify_mic(data, signature)

    def converse(self, one, other, wrap=True, sign=True):
        """Exchange messages of several sizes between two Sides: in turn, and several from one side before the other answers."""
        for turn, size in enumerate((1, 300, 7, 64)):
            for sender, receiver in ((one, other), (other, one)):
                for _ in range(1 + turn % 2):
                    if wrap:
                        self.carry(sender, receiver, message(size))
                    if sign:
                        self.sign(sender, receiver, message(size + turn))

    # The setting of our side for sessions without extended session security, or with keys of less than 128 bits.
    WEAK = {"GSS_NTLM_MINIMUM": "sign-as-asked"}

    def assertNotServed(self, call, **arguments):
        """The call fails, but not because the token cannot be parsed."""
        return self.assertRefused(["FAILURE", "UNAUTHORIZED", "NO_CRED", "DEFECTIVE_CREDENTIAL"], call, **arguments)

    def close_cleanly(self, party):
        status = party.close()
        if status != 0:
            raise AssertionError("a party ended with status %s: %s" % (status, party.process.errors.decode()))


class OneOfOurs:
    """For a PeerTest with one party of ours in `self.world`: `self.ours`."""

    def party(self, **environment):
        party = Party(self.world, **environment)
        self.addCleanup(self.close_cleanly, party)
        return party

    def at_each_level(self, **environment):
        """Restart `self.ours` at one LM level after the other."""
        for level in range(6):
            self.ours = self.party(LM_COMPAT_LEVEL=str(level), **environment)
            yield level


def negotiated(token):
    """The NegotiateFlags of an NTLM message."""
    offset = {1: 12, 2: 20, 3: 60}[token[8]]
    return int.from_bytes(token[offset : offset + 4], "little")


def shown(party, name):
    """A name as `party` displays it; the C mechanism includes the terminating NUL in the length."""
    return name.removesuffix("\0") if party.library == c_plugin() else name


def flip(data, position=-1):
    """`data` with one bit flipped."""
    spoiled = bytearray(data)
    spoiled[position] ^= 0x01
    return bytes(spoiled)


def message(size):
    """`size` bytes without repetitions, so that exchanged blocks are noticed."""
    return bytes((i * 7 + i // 251) & 0xFF for i in range(size))


SIZES = (1, 64, 1000, 100000)
