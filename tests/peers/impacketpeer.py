"""impacket's NTLM as client and as server, made from its functions for messages, responses, keys and signatures.

As a program: impacket's SMB server. It shares one directory, has one account, prints its port, and ends when its input ends.

    impacketpeer.py DIRECTORY USER PASSWORD
"""

import os
import socket
import struct
import sys
import threading
import time

from Cryptodome.Cipher import ARC4
from impacket import ntlm, smbserver, spnego
from impacket.ldap import ldapasn1
from pyasn1.codec.ber import decoder, encoder

from harness import ESS, KEY_EXCH, NEG_56, NEG_128, NTLM, PATIENCE, REQUEST_TARGET, SEAL, SIGN, UNICODE, GssFailure

NTLMSSP = spnego.TypesMech["NTLMSSP - Microsoft NTLM Security Support Provider"]


class Refused(Exception):
    """The other side's token or message differs from what impacket computes."""


class Direction:
    """The keys of one direction of a session; without ESS both directions have the same ones."""

    def __init__(self, flags, key, mode):
        self.key = ntlm.SIGNKEY(flags, key, mode)
        # SEALKEY is for ESS and for LM_KEY only.
        self.cipher = ARC4.new(ntlm.SEALKEY(flags, key, mode) if flags & ESS else key).encrypt
        self.number = 0

    def next(self):
        self.number += 1
        return self.number - 1


class Session:
    """One side of an established session, with the methods of a Side."""

    def __init__(self, flags, key, mode):
        """`mode`: Client or Server, as impacket spells it."""
        self.flags, self.key = flags, key
        self.sending = self.receiving = Direction(flags, key, mode)
        if flags & ESS:
            self.receiving = Direction(flags, key, {"Client": "Server", "Server": "Client"}[mode])

    def session_key(self):
        return self.key

    def wrap(self, data):
        way = self.sending
        sealed, signature = ntlm.SEAL(self.flags, way.key, None, data, data, way.next(), way.cipher)
        return signature.getData() + sealed

    def unwrap(self, token):
        data = self.receiving.cipher(token[16:])
        self.verify_mic(data, token[:16])
        return data

    def get_mic(self, data):
        return self.signature(self.sending, data)

    def verify_mic(self, data, mic):
        if self.signature(self.receiving, data) != mic:
            raise Refused("signature")

    def signature(self, way, data):
        return ntlm.SIGN(self.flags, way.key, data, way.next(), way.cipher).getData()


class Client:
    """`without`: NegotiateFlags that impacket must not offer."""

    def __init__(
        self, user, password="", domain="EXAMPLE", nt_hash="", v2=True, signing=True, without=0, binding=b"", version=None
    ):
        self.account = (user, password, domain, "", nt_hash, v2)
        self.binding, self.version = binding, version
        self.offer = ntlm.getNTLMSSPType1("CLIENT", domain, signing, v2, version)
        self.offer["flags"] &= ~without

    def negotiate(self):
        return self.offer.getData()

    def authenticate(self, challenge):
        answer, key = ntlm.getNTLMSSPType3(
            self.offer, challenge, *self.account, channel_binding_value=self.binding, version=self.version
        )
        if self.version:
            # With a version it makes room for a MIC.
            answer["MIC"] = bytes(16)
        self.session = Session(answer["flags"], key, "Client")
        return answer.getData()


class ThroughSpnego:
    """A client inside impacket's SPNEGO."""

    def __init__(self, client, mechanisms=(NTLMSSP,)):
        self.client, self.mechanisms = client, mechanisms

    def negotiate(self):
        token = spnego.SPNEGO_NegTokenInit()
        token["MechTypes"] = list(self.mechanisms)
        token["MechToken"] = self.client.negotiate()
        return token.getData()

    def authenticate(self, challenge):
        challenge = spnego.SPNEGO_NegTokenResp(challenge)
        token = spnego.SPNEGO_NegTokenResp()
        token["ResponseToken"] = self.client.authenticate(challenge["ResponseToken"])
        return token.getData()

    @property
    def session(self):
        return self.client.session


class Server:
    """A server that has one account and agrees to what the client asks for. `without`: NegotiateFlags that it must not
    grant. If it does not send its time, it gets no MIC."""

    OFFER = UNICODE | REQUEST_TARGET | SIGN | SEAL | NTLM | ESS | NEG_128 | NEG_56 | KEY_EXCH

    def __init__(self, user, password, without=0, timestamp=True):
        self.user, self.password = user, password
        self.flags = self.OFFER & ~without | ntlm.NTLMSSP_NEGOTIATE_TARGET_INFO | ntlm.NTLMSSP_TARGET_TYPE_SERVER
        self.info = ntlm.AV_PAIRS()
        for name in (ntlm.NTLMSSP_AV_DOMAINNAME, ntlm.NTLMSSP_AV_HOSTNAME):
            self.info[name] = "IMPACKET".encode("utf-16le")
        if timestamp:
            # In steps of 100 ns since 1601.
            self.info[ntlm.NTLMSSP_AV_TIME] = struct.pack("<q", (11644473600 + int(time.time())) * 10**7)

    def challenge(self, negotiate):
        self.offer = ntlm.NTLMAuthNegotiate()
        self.offer.fromString(negotiate)
        self.sent = ntlm.NTLMAuthChallenge()
        self.sent["flags"] = self.flags & (self.offer["flags"] | ~self.OFFER)
        self.sent["challenge"] = os.urandom(8)
        self.sent["domain_name"] = "IMPACKET".encode("utf-16le")
        self.sent["domain_offset"] = 48
        self.sent["TargetInfoFields_offset"] = 48 + len(self.sent["domain_name"])
        self.sent["TargetInfoFields"] = self.info.getData()
        self.sent["VersionLen"], self.sent["Version"] = 0, b""
        self.messages = [negotiate, self.sent.getData()]
        return self.messages[1]

    def judge(self, token):
        """Begins the session. Returns the AV_PAIRs of the response, which NTLMv1 does not have."""
        answer = ntlm.NTLMAuthChallengeResponse()
        answer.fromString(token)
        # impacket reads this field at its place in a message with room for a MIC.
        place = answer["session_key_offset"]
        answer["session_key"] = token[place : place + answer["session_key_len"]]
        self.name = "%s\\%s" % tuple(answer[name].decode("utf-16le") for name in ("domain_name", "user_name"))
        if self.name.split("\\")[1].lower() != self.user.lower():
            raise Refused("user")
        self.session = Session(answer["flags"], self.key(answer), "Server")
        if len(answer["ntlm"]) == 24:
            return None
        info = ntlm.AV_PAIRS(answer["ntlm"][44:])
        self.has_mic = ntlm.NTLMSSP_AV_FLAGS in info and bool(info[ntlm.NTLMSSP_AV_FLAGS][1][0] & 2)
        if self.has_mic:
            bare = token[:72] + bytes(16) + token[88:]
            if ntlm.hmac_md5(self.session.key, b"".join([*self.messages, bare])) != token[72:88]:
                raise Refused("MIC")
        return info

    def key(self, answer):
        hashes = ntlm.compute_lmhash(self.password), ntlm.compute_nthash(self.password)
        challenge = self.sent["challenge"]
        if len(answer["ntlm"]) > 24:
            status, key = smbserver.computeNTLMv2(self.user, *hashes, challenge, answer, self.sent, self.offer)
            if status:
                raise Refused("NTLMv2")
            return key
        flags, lm_response = answer["flags"], answer["lanman"]
        account = ("", self.user, self.password)
        expected, _, base = ntlm.computeResponseNTLMv1(flags, challenge, lm_response[:8], b"", *account)
        if answer["ntlm"] != expected:
            raise Refused("NTLMv1")
        key = ntlm.KXKEY(flags, base, lm_response, challenge, self.password, *hashes, False)
        return ntlm.generateEncryptedSessionKey(key, answer["session_key"]) if flags & KEY_EXCH else key


class LdapServer(threading.Thread):
    """An LDAP server for one connection. `accept` checks a token of one of the mechanisms ntlm and spnego, and answers as a
    Party does; the answer to every search names the bound user. After the bind, messages go through `side`, if there is one.
    `tls` is a context for connections."""

    SUCCESS, IN_PROGRESS, INVALID_CREDENTIALS = 0, 14, 49

    def __init__(self, accept, side=None, tls=None):
        super().__init__(daemon=True)
        self.accept, self.side, self.tls = accept, side, tls
        self.bound, self.is_sealed, self.received = None, False, b""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(PATIENCE)
        self.start()

    def run(self):
        with self.listener:
            connection, _ = self.listener.accept()
        connection.settimeout(PATIENCE)
        with self.tls.wrap_socket(connection, server_side=True) if self.tls else connection as self.stream:
            while request := self.read():
                kind = request["protocolOp"].getName()
                answers = {"bindRequest": self.bind, "searchRequest": self.search}[kind](request["protocolOp"][kind])
                self.write(request["messageID"], answers)
                self.is_sealed = bool(self.bound and self.side)

    def take(self, size):
        """The next `size` bytes; empty if the client has closed the connection."""
        while len(self.received) < size:
            if not (more := self.stream.recv(1 << 16)):
                return b""
            self.received += more
        taken, self.received = self.received[:size], self.received[size:]
        return taken

    def read(self):
        if self.is_sealed:
            length = self.take(4)
            data = length and self.side.unwrap(self.take(*struct.unpack(">I", length)))
        else:
            # The tag, and the length: one byte, or the number of bytes that follow.
            data = self.take(2)
            data += self.take(data[1] & 0x7F) if data and data[1] > 0x7F else b""
            data += self.take(int.from_bytes(data[2:] or data[1:], "big"))
        return decoder.decode(data, asn1Spec=ldapasn1.LDAPMessage())[0] if data else None

    def write(self, number, answers):
        data = b""
        for answer in answers:
            message = ldapasn1.LDAPMessage()
            message["messageID"] = number
            message["protocolOp"].setComponentByType(answer.getTagSet(), answer)
            data += encoder.encode(message)
        if self.is_sealed:
            data = self.side.wrap(data)
            data = struct.pack(">I", len(data)) + data
        self.stream.sendall(data)

    def bind(self, request):
        choice = request["authentication"]
        kind = choice.getName()
        response = ldapasn1.BindResponse()
        response["matchedDN"] = response["diagnosticMessage"] = ""
        try:
            if kind == "sasl":
                answer = self.accept(bytes(choice["sasl"]["credentials"]), "spnego")
                response["resultCode"] = self.IN_PROGRESS if answer["more"] else self.SUCCESS
                response["serverSaslCreds"] = answer["token"] or b""
            else:
                # Microsoft's bind without SASL has the answer in place of a name.
                answer = self.accept(bytes(choice[kind]), "ntlm")
                response["resultCode"] = self.SUCCESS
                response["matchedDN"] = answer["token"] or b""
            if not answer["more"]:
                self.bound = answer["source"]
        except GssFailure as failure:
            response["resultCode"] = self.INVALID_CREDENTIALS
            response["diagnosticMessage"] = failure.text
        return [response]

    def search(self, request):
        entry, done = ldapasn1.SearchResultEntry(), ldapasn1.SearchResultDone()
        # The answer has the length of the question, to test messages of every length.
        entry["objectName"] = "%s %s" % (self.bound, request["baseObject"])
        done["resultCode"] = self.SUCCESS
        done["matchedDN"] = done["diagnosticMessage"] = ""
        return [entry, done]


def main(directory, user, password):
    server = smbserver.SimpleSMBServer("127.0.0.1", 0)
    server.setSMB2Support(True)
    server.addCredential(user, 0, ntlm.compute_lmhash(password), ntlm.compute_nthash(password))
    server.addShare("SHARE", directory)
    threading.Thread(target=server.start, daemon=True).start()
    print(server.getServer().server_address[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
