#!/usr/bin/env python3
"""Writes seeds for the fuzz targets, made of the tokens in tests/vectors, and of lines of user files and names.

    fuzz/seeds.py FOLDER    writes FOLDER/TARGET/NUMBER
"""
import itertools
import json
import pathlib
import sys

VECTORS = pathlib.Path(__file__).parent.parent / "tests" / "vectors"
LONGEST = 1024

HASH = "A4F49C406510BDCAB6824EE7C30FD852"
USER_FILES = [
    "DOM:alice:Password\n",
    "# comment\n:bob:with:colons\nDOM:crlf:x\r\n",
    f"smb:1001:{'X' * 32}:{HASH}:[U          ]:LCT-00000000:\n",
    f"OTHER\\smb:1002:{HASH}:{HASH}:[DU         ]:LCT-00000000:\n",
    f"empty:1003:{'X' * 32}:NO PASSWORD{'X' * 21}:[NU         ]:LCT-0:\n",
    "root:x:0:0:root:/root\n\ufeff:\u00fc@\u00df:p\u00e4ss\nDOM:last:",
]
POLICIES = [
    "[both]\nminimum = 128,ess sign\naudit=all\nfips = refuse\nuser-file-mode = private\n",
    "# comment\n[server]\nlm-level = 5\nrequire-mic = yes\nchannel-bindings = required\ntarget-name = audit\nanonymous = no\n"
    "datagram = as-asked\nwinbind = no\nwinbind-timeout = 3\nincoming = deny\nuser-file = /a\n",
    "[client]\nmic = always\ntarget-info = optional\nmax-skew = 1\noutgoing = audit\ninside-spnego = deny\n"
    "[client \"*.corp.example\"]\noutgoing = allow\n[client \"HTTP/*\"]\nlm-level = 4\n[server \"HTTP/srv\"]\nmic = off\n",
]
# Section, key, and values from loose to tight.
KEYS = [
    ("client", "lm-level", "0", "3", "5"), ("client", "mic", "off", "raw-only", "auto", "always"),
    ("server", "require-mic", "no", "yes"), ("server", "channel-bindings", "off", "when-sent", "required"),
    ("server", "target-name", "off", "audit", "required"), ("client", "target-info", "optional", "required"),
    ("both", "minimum", "sign-as-asked", "128", "128,ess,sign,seal"), ("server", "datagram", "yes", "as-asked", "no"),
    ("server", "anonymous", "yes", "no"), ("client", "max-skew", "1000", "1"), ("client", "outgoing", "allow", "audit", "deny"),
    ("server", "incoming", "allow", "audit", "deny"), ("client", "inside-spnego", "allow", "audit", "deny"),
    ("server", "winbind", "yes", "no"), ("both", "audit", "off", "failures", "all"),
    ("both", "user-file-mode", "any", "private"), ("both", "fips", "allow", "refuse"),
]
NAMES = ["alice", "DOM\\alice", "alice@DOM", "alice\\@dom.test", "alice\\@dom@DOM", "\\a@b", "HTTP@srv", "HTTP/srv", "@srv",
         "NT AUTHORITY\\ANONYMOUS LOGON", "DOM\\alice\0", "\u00e4\u00df\U0001f600"]
EXPORTED = b"\x04\x01\0\x0c\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a"


def tokens(node):
    """All that is bytes in a vector, such as messages, AV_PAIRs and NTLMv2_CLIENT_CHALLENGE."""
    if isinstance(node, dict):
        for name, value in node.items():
            if isinstance(value, str) and name in ("token", "negotiate", "challenge", "authenticate", "target_info", "temp"):
                yield bytes.fromhex(value)
            else:
                yield from tokens(value)
    elif isinstance(node, list):
        for value in node:
            yield from tokens(value)


def main(folder):
    messages = {token for path in VECTORS.glob("*.json") for token in tokens(json.loads(path.read_text()))}
    names = [name.encode() for name in NAMES]
    seeds = {
        "messages": [b"\x01" + token for token in messages] + [b"\x01" + bytes(16) + token for token in messages],
        "plugin": [bytes([2, way]) + token for token in messages for way in range(3)],
        "user_file": [b"\0\5alice\3DOM" + text.encode() for text in [*USER_FILES, "".join(USER_FILES[3::-1])]],
        "policy_file": [
            bytes([name, whom, 0, 0]) + b"\xff".join(text.encode() for text in (first, second, POLICIES[-1]))
            for name, whom, first, second in itertools.product((0, 2), range(5), POLICIES, ("", POLICIES[1]))
        ]
        + [
            # One key twice: of the system, and of the additional file.
            bytes([0, whom, 0, 0]) + b"\xff".join(f"[{section}]\n{key} = {value}\n".encode() for value in (one, one, other))
            for section, key, *values in KEYS
            for one, other in itertools.permutations(values, 2)
            for whom in (1, 3)
        ],
        "names": [b"\3" + name for name in names]
        + [b"\0" + EXPORTED + len(name).to_bytes(4, "big") + name for name in names]
        + [b"\1\3\4\1\0\0\0x\5\2\0\0\0yz\0"]
        + [b"\2" + name.decode().encode("utf-16-le") for name in names],
    }
    # The usual case of those whose input says what happens: it is easier to change than to make longer.
    for target in ("import", "session", "acceptor", "initiator", "plugin"):
        seeds.setdefault(target, []).extend(bytes([first]) + bytes(100) for first in range(5))
    for target, all_of_them in seeds.items():
        place = folder / target
        place.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(sorted(seed for seed in all_of_them if len(seed) <= LONGEST)):
            (place / str(number)).write_bytes(seed)


main(pathlib.Path(sys.argv[1]))
