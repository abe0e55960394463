/*
 * gss-ntlm: what a program needs to know of the NTLM mechanism beyond <gssapi/gssapi.h>.
 *
 * The names and values are those that programs know from gss-ntlmssp, so that they compile unchanged; those that begin with
 * GSS_NTLM_ are new here. A program links libgssapi_krb5 and nothing more: that loads the mechanism.
 *
 * Each object identifier is a pair: ..._STRING has its DER content, and ..._LENGTH says how many bytes that is, without the
 * NUL of the C string:
 *
 *     gss_OID_desc ntlm = { GSS_NTLMSSP_OID_LENGTH, (void *)GSS_NTLMSSP_OID_STRING };
 */
#ifndef GSSAPI_NTLMSSP_H
#define GSSAPI_NTLMSSP_H

#include <gssapi/gssapi.h>
#include <gssapi/gssapi_ext.h>

/* ---- The mechanism ---- */

/** The mechanism, 1.3.6.1.4.1.311.2.2.10: for the mech_type of gss_init_sec_context, for sets of desired mechanisms. */
#define GSS_NTLMSSP_OID_STRING "\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a"
#define GSS_NTLMSSP_OID_LENGTH 10

/**
 * A request and return flag beside GSS_C_CONF_FLAG and the like: connectionless NTLM, where messages may get lost or
 * overtake each other and the application numbers them (GSS_NTLMSSP_SET_SEQ_NUM_OID_STRING). For SIP clients.
 */
#define GSS_C_DATAGRAM_FLAG 0x10000

/* ---- Private object identifiers ---- */

/** What the following ones have in common, 1.3.6.1.4.1.7165.655.1; stands for nothing by itself. */
#define GSS_NTLMSSP_BASE_OID_STRING "\x2b\x06\x01\x04\x01\xb7\x7d\x85\x0f\x01"
#define GSS_NTLMSSP_BASE_OID_LENGTH 10

/**
 * 1.3.6.1.4.1.7165.655.1.1, for gss_set_sec_context_option: the sequence number of all messages that are signed, sealed or
 * verified from now on, in both directions; it does not advance. The value is 4 bytes, an unsigned number in the host's byte
 * order. It may be set before the context is established, too. Messages that are sealed need a number of their own each: one
 * number is one key stream. On a context without GSS_C_DATAGRAM_FLAG it is GSS_S_UNAVAILABLE.
 */
#define GSS_NTLMSSP_SET_SEQ_NUM_OID_STRING GSS_NTLMSSP_BASE_OID_STRING "\x01"
#define GSS_NTLMSSP_SET_SEQ_NUM_OID_LENGTH 11

/**
 * 1.3.6.1.4.1.7165.655.1.2, for gss_inquire_sec_context_by_oid: whether the AUTHENTICATE_MESSAGE carries a MIC, so that
 * SPNEGO must exchange a mechListMIC. The answer is one buffer of one byte, 0 or 1. Asking a context that waits for its
 * CHALLENGE_MESSAGE also tells it that it is inside SPNEGO. For implementations of SPNEGO; an application has no use for
 * it.
 */
#define GSS_SPNEGO_REQUIRE_MIC_OID_STRING GSS_NTLMSSP_BASE_OID_STRING "\x02"
#define GSS_SPNEGO_REQUIRE_MIC_OID_LENGTH 11

/**
 * 1.3.6.1.4.1.7165.655.1.3, for gss_set_sec_context_option: starts the RC4 stream of one direction anew; sequence
 * numbers go on. The value is 4 bytes, an unsigned number in the host's byte order: 1 for what is received, any other
 * for what is sent. For implementations of SPNEGO, after each mechListMIC ([MS-SPNG] 3.3.5.1).
 */
#define GSS_NTLMSSP_RESET_CRYPTO_OID_STRING GSS_NTLMSSP_BASE_OID_STRING "\x03"
#define GSS_NTLMSSP_RESET_CRYPTO_OID_LENGTH 11

/**
 * 1.3.6.1.4.1.7165.655.1.4, for gssspi_mech_invoke: where the trace goes, for the whole process, in place of what
 * GSSNTLMSSP_DEBUG says. The value is the path of a file in UTF-8, "stderr" or "syslog"; an empty one stops the trace. For
 * programs with a debugging switch.
 */
#define GSS_NTLMSSP_DEBUG_OID_STRING GSS_NTLMSSP_BASE_OID_STRING "\x04"
#define GSS_NTLMSSP_DEBUG_OID_LENGTH 11

/**
 * 1.3.6.1.4.1.7165.655.1.5, for gss_set_cred_option: the NegotiateFlags ([MS-NLMP] 2.2.2.5) of contexts with this
 * credential, in place of the mechanism's own choice. The value is 4 bytes, an unsigned number in the host's byte order;
 * an empty one goes back to the mechanism's choice. For programs with a peer that wants particular flags. What the
 * administrator requires (GSS_NTLM_MINIMUM) is added. NTLMSSP_NEGOTIATE_DATAGRAM (0x40) on an acceptor's credential, alone or
 * beside others, lets clients begin connectionless handshakes; alone, it leaves the choice of the other flags.
 */
#define GSS_NTLMSSP_NEG_FLAGS_OID_STRING GSS_NTLMSSP_BASE_OID_STRING "\x05"
#define GSS_NTLMSSP_NEG_FLAGS_OID_LENGTH 11

/* ---- Keys of a credential store, for gss_acquire_cred_from and, the last three, gss_store_cred_into; the values are C strings in UTF-8 ---- */

/** The user's domain, in place of the one in the name. For initiators. */
#define GSS_NTLMSSP_CS_DOMAIN "ntlmssp_domain"
/** The user's NT hash, 32 hexadecimal digits, in place of a password. For initiators. */
#define GSS_NTLMSSP_CS_NTHASH "ntlmssp_nthash"
/** The user's password. The key "password", which other mechanisms know too, means the same. For initiators. */
#define GSS_NTLMSSP_CS_PASSWORD "ntlmssp_password"
/** The path of a user file: the only place where accounts are looked up then. For initiators and acceptors. */
#define GSS_NTLMSSP_CS_KEYFILE "ntlmssp_keyfile"
/** The targets that a stored credential is for: a pattern as in ntlm.conf(5). */
#define GSS_NTLMSSP_CS_TARGET "ntlmssp_target"
/** Where credentials are stored: "keyring" or "runtime". */
#define GSS_NTLMSSP_CS_STORE "ntlmssp_store"
/** For how many seconds a credential is stored. */
#define GSS_NTLMSSP_CS_LIFETIME "ntlmssp_lifetime"

/*
 * ---- Attributes of a client's name, for gss_get_name_attribute ----
 *
 * For acceptors, of the name that gss_accept_sec_context gives. The values are text in UTF-8, without a NUL. An attribute
 * that the mechanism knows nothing about for this client is not there: GSS_S_UNAVAILABLE.
 */

/**
 * The SIDs of the user and of its groups, each as S-1-5-..., with commas between them. gss-ntlmssp knows this one too.
 */
#define GSS_NTLM_ATTR_SIDS "urn:gssntlmssp:sids"
/** The domain of the account, as the account's source spells it. */
#define GSS_NTLM_ATTR_DOMAIN "urn:gss-ntlm:domain"
/** The NetBIOS name of the client's computer, as the client says; only a MIC protects it. */
#define GSS_NTLM_ATTR_WORKSTATION "urn:gss-ntlm:workstation"
/** The MIC of the client's AUTHENTICATE_MESSAGE: "verified" or "none". */
#define GSS_NTLM_ATTR_MIC "urn:gss-ntlm:mic"
/** The channel bindings of both sides: "matched" or "none". */
#define GSS_NTLM_ATTR_CHANNEL_BINDINGS "urn:gss-ntlm:channel-bindings"
/** How the client authenticated: "NTLMv2", "NTLMv1", "LM" or "anonymous". */
#define GSS_NTLM_ATTR_VERSION "urn:gss-ntlm:version"

/* The following are known where winbind authenticated the account, as far as its domain tells them. */

/** The SID of the account's primary group. */
#define GSS_NTLM_ATTR_PRIMARY_GROUP "urn:gss-ntlm:primary-group"
/** The full name of the account's owner. */
#define GSS_NTLM_ATTR_FULL_NAME "urn:gss-ntlm:full-name"
/** The account's user principal name. */
#define GSS_NTLM_ATTR_USER_PRINCIPAL_NAME "urn:gss-ntlm:user-principal-name"
/** The DNS name of the account's domain. */
#define GSS_NTLM_ATTR_DNS_DOMAIN "urn:gss-ntlm:dns-domain"
/** The NetBIOS name of the domain controller that authenticated the account. */
#define GSS_NTLM_ATTR_LOGON_SERVER "urn:gss-ntlm:logon-server"
/** "yes": the domain does not know the account and logged it on as a guest. */
#define GSS_NTLM_ATTR_GUEST "urn:gss-ntlm:guest"

#endif
