"""One Active Directory domain for all tests of a process: a Samba domain controller and a member server, on loopback.

    domain.shared().dc        the domain controller: LDAP, LDAPS, SMB, Kerberos and a winbindd
    domain.shared().member    a computer that has joined, with winbindd and nothing else; made at its first use

Samba needs root, the standard ports and paths that are compiled in. Therefore each machine runs in namespaces: both share a
network of their own, and each has its own /run, /etc/samba and /var/*/samba, in memory. The tester's system is not changed, and
the machines disappear with this process, however it ends. `Machine.run` and `Machine.prefix` run commands inside, and a `Wire`
stands between a client and a service there.

By hand, with a domain that lasts as long as the command:

    domain.py dc|member COMMAND ARGUMENT...
"""

import atexit
import collections
import concurrent.futures
import contextlib
import ctypes
import functools
import logging
import os
import re
import select
import socket
import ssl
import subprocess
import sys
import threading
import time

from harness import PATIENCE, LineProcess, Party, require, require_module, require_program, skip

DOMAIN, REALM = "ADTEST", "AD.EXAMPLE.TEST"
DNS_DOMAIN = REALM.lower()
DC_HOST, MEMBER_HOST = "dc." + DNS_DOMAIN, "member." + DNS_DOMAIN
ADDRESSES = {"dc": "127.0.0.1", "member": "127.0.0.2"}
BASE = ",".join("DC=" + label for label in DNS_DOMAIN.split("."))
USERS = "CN=Users," + BASE
ADMINISTRATOR, ADMINISTRATOR_PASSWORD = "Administrator", "Root of all 3vil"
# The certificate of LDAPS, for DC_HOST, on the domain controller and on the member, and its key on the domain controller.
CERTIFICATE = "/etc/samba/dc.pem"
KEY = "/var/lib/samba/private/dc.key"

# None of these accounts is in the user file of the harness.
PASSWORD = "Knave 0f Hearts"
UNICODE_USER, UNICODE_PASSWORD = "Müller", "Пароль-ß-密碼"
# The account's name is UPN_USER. Its user principal name is different, and has a suffix that is not the domain's.
UPN_USER, UPN = "bob", "Robert.Roberts@elsewhere.example"
DISABLED, EXPIRED, MUST_CHANGE, LOCKED = "disabled", "expired", "mustchange", "locked"
# This account may log on from the computer WORKSTATION only.
TIED, WORKSTATION = "tied", "DESK"
# This account is a member of GROUPS groups, named group-0 and so on.
GROUPED, GROUPS = "grouped", 1000
# alice and bob are in this group.
STAFF = "staff"

NORMAL_ACCOUNT, ACCOUNT_DISABLED = 0x200, 0x2

STATE = "/run /etc/samba /var/lib/samba /var/cache/samba /var/log/samba"
LOG = "/var/log/samba/log"
SHARE = "/var/lib/samba/share"
# Starting everything takes 10 s on an idle machine.
START_PATIENCE = 120
# sched.h
CLONE_NEWNET = 0x40000000

ENVIRONMENT = {
    "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
    "LC_ALL": "C.UTF-8",
    "KRB5_CONFIG": "/etc/samba/krb5.conf",
    "PYTHONDONTWRITEBYTECODE": "1",
}

# $1 is the machine's name, $2 the content of /etc/hosts. The process and its namespaces stay until its input ends.
SETUP = """\
hostname "$1"
ip link set lo up
for directory in %s; do mount -t tmpfs -o mode=755 samba "$directory"; done
mkdir -p /run/samba /var/lib/samba/private %s
chmod 777 %s
printf %%s "$2" >/run/hosts
mount --bind /run/hosts /etc/hosts
echo ready
exec cat
""" % (STATE, SHARE, SHARE)

# Runs the command "$@" in a PID namespace. The kernel ends all of its processes when `cat`, the first one, reaches the end of its
# input.
DAEMON = '"$@" >>%s 2>&1 </dev/null & exec cat' % LOG

HOSTS = """\
{dc} {dc_host} dc
{member} {member_host} member
127.0.0.1 localhost
""".format(**ADDRESSES, dc_host=DC_HOST, member_host=MEMBER_HOST)

KRB5_CONF = """\
[libdefaults]
default_realm = {realm}
dns_lookup_kdc = false
dns_lookup_realm = false
rdns = false
[realms]
{realm} = {{
    kdc = {dc}
}}
""".format(realm=REALM, **ADDRESSES)

# Single sign-on with a password from `wbinfo --ccache-save` needs no setting.
COMMON = """\
[global]
workgroup = {domain}
realm = {realm}
netbios name = {name}
interfaces = lo
bind interfaces only = yes
"""

# By default the LDAP server refuses SASL without a layer, even over TLS.
DC_CONF = COMMON + """\
server role = active directory domain controller
server services = s3fs, rpc, ldap, cldap, kdc, winbindd
prefork children = 1
tls certfile = {certificate}
tls keyfile = {key}
tls cafile =
ldap server require strong auth = allow_sasl_over_tls
ntlm auth = ntlmv1-permitted
[netlogon]
path = /var/lib/samba/sysvol/{dns_domain}/scripts
[sysvol]
path = /var/lib/samba/sysvol
[share]
path = {share}
read only = no
vfs objects =
nt acl support = no
ea support = no
store dos attributes = no
"""

MEMBER_CONF = COMMON + """\
security = ads
password server = {dc_host}
idmap config * : backend = tdb
idmap config * : range = 1000000-1999999
idmap config {domain} : backend = rid
idmap config {domain} : range = 2000000-2999999
"""


Handshake = collections.namedtuple("Handshake", "user mic flags")


def account(user, password=PASSWORD, of=DOMAIN):
    """A line of a user file."""
    return "%s:%s:%s\n" % (of, user, password)


# Names of users, as lines of a user file have them, and the accounts that they stand for.
SPELLINGS = (
    ("another case", account("ALICE", of=DOMAIN.lower()), "alice"),
    ("the domain's name in DNS", account("alice", of=DNS_DOMAIN), "alice"),
    ("the realm after the user", account("alice@" + DNS_DOMAIN, of=""), "alice"),
    ("no domain", account("alice", of=""), "alice"),
    ("a principal name", account(UPN, of=""), UPN_USER),
    ("Unicode", account(UNICODE_USER, UNICODE_PASSWORD), UNICODE_USER),
)


def handshake(trace):
    """What the mechanism's trace in this file says about the only handshake in it, that of an initiator."""
    with open(trace) as file:
        text = file.read()
    found = re.findall(r"initiator: sends AUTHENTICATE_MESSAGE of (\S+), MIC (true|false), flags (0x[0-9a-f]+)", text)
    if len(found) != 1 or text.count("initiator: sends NEGOTIATE_MESSAGE") != 1:
        raise AssertionError("the trace does not have exactly one handshake:\n" + text)
    user, mic, flags = found[0]
    return Handshake(user, mic == "true", int(flags, 16))


class Machine:
    """A computer of the domain: its namespaces, and the daemons in them."""

    def __init__(self, name, template, network=None):
        """`network`: the machine whose network this one shares; without it the machine makes its own."""
        self.name = name
        self.daemons = None
        where = ["nsenter", "--net=/proc/%d/ns/net" % network.holder.child.pid, "--"] if network else []
        namespaces = ["unshare", "--mount", "--uts"] + ([] if network else ["--net"])
        self.holder = LineProcess(where + namespaces + ["sh", "-e", "-c", SETUP, "sh", name, HOSTS], ENVIRONMENT)
        atexit.register(self.close)
        if self.holder.read_line() != "ready":
            self.holder.fail("is not ready")
        self.write("/etc/samba/krb5.conf", KRB5_CONF)
        self.write("/etc/samba/smb.conf", template.format(
            name=name.upper(), domain=DOMAIN, realm=REALM, dns_domain=DNS_DOMAIN, dc_host=DC_HOST, certificate=CERTIFICATE,
            key=KEY, share=SHARE,
        ))

    def path(self, inside):
        """The path by which this process reaches a file `inside`."""
        return "/proc/%d/root%s" % (self.holder.child.pid, inside)

    def write(self, inside, text):
        with open(self.path(inside), "w") as file:
            file.write(text)

    def read(self, inside):
        with open(self.path(inside), errors="replace") as file:
            return file.read()

    def prefix(self, directory="/"):
        """The prefix for a command that runs inside, in `directory`. It becomes the command, and starts no child."""
        target = str(self.holder.child.pid)
        return ["nsenter", "--target", target, "--mount", "--net", "--uts", "--wdns=" + directory, "--"]

    def run(self, command, environment=ENVIRONMENT, timeout=PATIENCE, **more):
        return subprocess.run(
            self.prefix() + command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout,
            text=True, **more,
        )

    def must_run(self, command, **more):
        ended = self.run(command, **more)
        if ended.returncode != 0:
            raise RuntimeError("%s: %s (status %s)" % (command[0], ended.stdout + ended.stderr, ended.returncode))
        return ended.stdout

    def party(self, world, **environment):
        """A gsspeer process inside. It has no user file, and gets the names of its computer and domain from winbind."""
        alone = dict.fromkeys(("NTLM_USER_FILE", "NETBIOS_COMPUTER_NAME", "NETBIOS_DOMAIN_NAME"))
        return Party(world, prefix=self.prefix(world.path), **{**alone, **environment})

    def start(self, *command, ports=()):
        """Start the daemon of this machine and wait until it serves winbind's clients and listens on `ports`."""
        namespace = ["unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", DAEMON, "sh"]
        self.daemons = LineProcess(self.prefix() + namespace + list(command), ENVIRONMENT)
        end = time.monotonic() + START_PATIENCE
        while not (set(ports) <= self.listening() and self.run(["wbinfo", "--ping-dc"]).returncode == 0):
            if time.monotonic() > end:
                self.daemons.fail("is not ready: " + self.read(LOG)[-4000:])
            time.sleep(0.1)

    def stop(self):
        """Kill the daemon and all its processes, so that none is left to answer."""
        if self.daemons:
            self.daemons.close()
            self.daemons = None

    def socket(self):
        """A TCP socket in this machine's network, for this process."""
        def enter():
            with open("/proc/%d/ns/net" % self.holder.child.pid) as network:
                if ctypes.CDLL(None, use_errno=True).setns(network.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            return socket.socket()

        # A thread enters the namespace, and never returns.
        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            made = thread.submit(enter).result()
        made.settimeout(PATIENCE)
        return made

    def listening(self):
        """The TCP ports in this machine's network on which a process listens."""
        with open("/proc/%d/net/tcp" % self.holder.child.pid) as table:
            lines = [line.split() for line in table]
        return {int(fields[1].split(":")[1], 16) for fields in lines if fields[3] == "0A"}

    def close(self):
        self.stop()
        self.holder.close()


class Wire:
    """A proxy between the clients of a machine's service and this service, one client at a time. It records what both sides
    send, and may change it. Clients connect to `port` on the machine's address."""

    def __init__(self, machine, port, change=None, tls=False):
        """`change`: gets the direction, "sent" by the client or "received" by it, and data, and returns the data to pass on.
        `tls`: both sides use TLS with the proxy, which has the machine's certificate and key."""
        self.machine, self.target = machine, (ADDRESSES[machine.name], port)
        self.change = change or (lambda direction, data: data)
        self.tls = tls
        self.said = {"sent": bytearray(), "received": bytearray()}
        self.ends = ()
        self.listener = machine.socket()
        self.listener.settimeout(None)
        self.listener.bind((ADDRESSES[machine.name], 0))
        self.listener.listen()
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        # If one side ends the connection, it ends for both.
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                client.settimeout(PATIENCE)
                with contextlib.suppress(OSError), contextlib.ExitStack() as open_ones:
                    server = open_ones.enter_context(self.machine.socket())
                    open_ones.enter_context(client)
                    server.connect(self.target)
                    if self.tls:
                        client, server = map(open_ones.enter_context, self.secured(client, server))
                    self.ends = client, server
                    self.pass_on(client, server)

    def secured(self, client, server):
        to_client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        to_client.load_cert_chain(self.machine.path(CERTIFICATE), self.machine.path(KEY))
        to_server = ssl.create_default_context(cafile=self.machine.path(CERTIFICATE))
        return to_client.wrap_socket(client, server_side=True), to_server.wrap_socket(server, server_hostname=DC_HOST)

    def pass_on(self, client, server):
        ways = {client: (server, "sent"), server: (client, "received")}
        while True:
            for ready in select.select(ways, [], [])[0]:
                data = ready.recv(1 << 16)
                # select does not see the data that TLS has already read.
                while self.tls and ready.pending():
                    data += ready.recv(1 << 16)
                if not data:
                    return
                other, direction = ways[ready]
                self.said[direction] += data
                other.sendall(self.change(direction, data))

    def close(self):
        for waiting in (self.listener, *self.ends):
            with contextlib.suppress(OSError):
                waiting.shutdown(socket.SHUT_RDWR)
        self.thread.join(timeout=PATIENCE)
        self.listener.close()


class Member(Machine):
    def __init__(self, dc):
        super().__init__("member", MEMBER_CONF, network=dc)
        self.write(CERTIFICATE, dc.read(CERTIFICATE))
        account = "%s%%%s" % (ADMINISTRATOR, ADMINISTRATOR_PASSWORD)
        self.must_run(["net", "ads", "join", "--no-dns-updates", "-S", DC_HOST, "-U", account], timeout=START_PATIENCE)
        self.start()

    def start(self):
        super().start("winbindd", "--foreground", "--no-process-group", "--debug-stdout")


class Domain:
    def __init__(self):
        self.dc = Machine("dc", DC_CONF)
        self.dc.must_run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
             "-subj", "/CN=" + DC_HOST, "-addext", "subjectAltName=DNS:" + DC_HOST,
             "-keyout", KEY, "-out", CERTIFICATE],
        )
        self.dc.must_run([sys.executable, os.path.abspath(__file__), "provision"], timeout=START_PATIENCE)
        # The daemons become ready one after the other; the tests use these.
        self.dc.start("samba", "--foreground", "--no-process-group", "--debug-stdout", ports=(88, 389, 445, 636))

    @functools.cached_property
    def member(self):
        return Member(self.dc)


@functools.cache
def shared():
    """The domain; the first call makes it, which takes some seconds."""
    if os.environ.get("GSSNTLM_DOMAIN_APART") == "1":
        skip("root runs the tests with a domain separately")
    for program, package in (
        ("unshare", "util-linux"), ("nsenter", "util-linux"), ("ip", "iproute2"), ("openssl", "openssl"),
        ("samba", "samba-ad-dc"), ("smbd", "samba"), ("winbindd", "winbind"), ("wbinfo", "winbind"),
        ("net", "samba-common-bin"),
    ):
        require_program(program, package)
    require_module("samba", "python3-samba")
    require(os.path.isdir("/usr/share/samba/setup"), "samba-ad-provision")
    allowed = subprocess.run(["unshare", "--mount", "--net", "--uts", "true"], stderr=subprocess.DEVNULL, timeout=PATIENCE)
    require(allowed.returncode == 0, "the permission to make namespaces, which root has,")
    return Domain()


def provision():
    """Make the directory of a new domain, in the machine where this process runs."""
    from samba import provision as samba
    from samba.auth import system_session
    from samba.param import LoadParm

    configuration = LoadParm()
    configuration.load("/etc/samba/smb.conf")
    # The access control lists of the group policies need extended attributes; no test reads these policies.
    samba.provision(
        logging.getLogger(), system_session(), smbconf="/etc/samba/smb.conf", lp=configuration, realm=REALM, domain=DOMAIN,
        hostname="dc", hostip=ADDRESSES["dc"], adminpass=ADMINISTRATOR_PASSWORD,
        serverrole="active directory domain controller", dom_for_fun_level=samba.DS_DOMAIN_FUNCTION_2008_R2,
        dns_backend="NONE", skip_sysvolacl=True, plaintext_secrets=True, batch_mode=True,
    )
    add_accounts(configuration)


def add_accounts(configuration):
    from samba import unix2nttime
    from samba.auth import system_session
    from samba.samdb import SamDB

    directory = SamDB(
        "/var/lib/samba/private/sam.ldb", session_info=system_session(), lp=configuration, options=["batch_mode:1"]
    )

    def add(kind, name, **attributes):
        dn = "CN=%s,%s" % (name, USERS)
        directory.add({"dn": dn, "objectClass": kind, "sAMAccountName": name, **attributes})
        return dn

    def add_user(name, password=PASSWORD, flags=NORMAL_ACCOUNT, **attributes):
        secret = ('"%s"' % password).encode("utf-16-le")
        return add("user", name, unicodePwd=secret, userAccountControl=str(flags), **attributes)

    now = int(time.time())
    directory.transaction_start()
    directory.modify_ldif("dn: %s\nchangetype: modify\nreplace: pwdProperties\npwdProperties: 0\n" % BASE)
    partitions = "CN=Partitions,CN=Configuration," + BASE
    directory.modify_ldif("dn: %s\nchangetype: modify\nadd: uPNSuffixes\nuPNSuffixes: %s\n" % (partitions, UPN.split("@")[1]))
    alice = add_user("alice", displayName="Alice Liddell")
    bob = add_user(UPN_USER, userPrincipalName=UPN)
    add("group", STAFF, member=[alice, bob])
    add_user(UNICODE_USER, UNICODE_PASSWORD)
    add_user(DISABLED, flags=NORMAL_ACCOUNT | ACCOUNT_DISABLED)
    add_user(EXPIRED, accountExpires=str(unix2nttime(now - 3600)))
    add_user(MUST_CHANGE, pwdLastSet="0")
    # The name by which Samba's netlogon calls a computer: the domain controller compares the two letter by letter.
    add_user(TIED, userWorkstations="\\\\" + WORKSTATION)
    # The lockout lasts half an hour, and this one has not begun yet.
    add_user(LOCKED, lockoutTime=str(unix2nttime(now + 86400)))
    grouped = add_user(GROUPED)
    for number in range(GROUPS):
        add("group", "group-%d" % number, member=grouped)
    directory.transaction_commit()


if __name__ == "__main__":
    if sys.argv[1:] == ["provision"]:
        provision()
    else:
        sys.exit(subprocess.run(getattr(shared(), sys.argv[1]).prefix() + sys.argv[2:], env=ENVIRONMENT).returncode)
