//! NTLM for GSS-API.
