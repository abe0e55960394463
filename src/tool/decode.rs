//! `gss-ntlm decode`: every field of a token in words.

use std::io::{self, Read as _, Write as _};

use clap::Args;
use data_encoding::HEXLOWER;
use gss_ntlm::{
    error::{FieldName, Message, Result},
    host::FileTime,
    text::{Charset, DisplayUtf16},
    wire::{
        Authenticate, AvFlags, AvId, AvPair, Challenge, MIC_LEN, Negotiate, NegotiateFlags, NtlmV2Response, SIGNATURE,
        TargetInfo, Version,
    },
};
use serde_json::json;

use crate::{
    Failure, Outcome,
    report::{Report, system_time},
    spnego::{self, Framed, Negotiation},
    tokens::{self, Found},
};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The token in base64 or hexadecimal, or a line with it; without one, or with -, standard input is read: also whole HTTP or
    /// SIP messages, or bytes with tokens in them
    token: Option<String>,
    /// Write JSON
    #[arg(long)]
    json: bool,
    /// Show responses too, with which anybody can try passwords
    #[arg(long)]
    r#unsafe: bool,
}

/// The most that is read from standard input, in bytes.
const MAX_INPUT: u64 = 0x100_0000;

/// How many tokens are shown at most.
const MAX_TOKENS: usize = 10_000;

/// How deep tokens may be in tokens.
const MAX_DEPTH: u8 = 4;

pub(crate) fn run(Arguments { token, json, r#unsafe }: &Arguments) -> Outcome {
    let input = match token.as_deref() {
        Some(token) if token != "-" => token.as_bytes().to_vec(),
        _ => read_input()?,
    };
    let found = tokens::find(&input, MAX_TOKENS.saturating_add(1));
    if found.len() > MAX_TOKENS {
        return Err(Failure::Impossible(format!(
            "there are more than {MAX_TOKENS} tokens in it: cut out those to look at"
        )));
    }
    if found.is_empty() {
        return Err(Failure::Impossible(
            "there is no token of NTLM or SPNEGO in it: give the token in base64 or hexadecimal, or the header with it"
                .to_owned(),
        ));
    }
    let mut decoder = Decoder { shows_responses: *r#unsafe, agreed: None, is_wrong: false };
    let reports: Vec<_> = found
        .iter()
        .map(|Found { place, token, is_whole }| {
            let mut report = decoder.decode(token, MAX_DEPTH);
            if !is_whole {
                report.forget_length();
            }
            if let Some(place) = place {
                report.text("found in", gss_ntlm::text::Escaped(place));
            }
            report
        })
        .collect();
    let mut out = io::stdout().lock();
    if *json {
        let tokens: Vec<_> = reports.iter().map(Report::to_json).collect();
        writeln!(out, "{:#}", json!({ "tokens": tokens }))?;
    } else {
        reports.iter().try_for_each(|report| write!(out, "{report}"))?;
    }
    if decoder.is_wrong { Err(Failure::Wrong) } else { Ok(()) }
}

fn read_input() -> core::result::Result<Vec<u8>, Failure> {
    let mut input = Vec::new();
    io::stdin().lock().take(MAX_INPUT.saturating_add(1)).read_to_end(&mut input)?;
    if u64::try_from(input.len()).is_ok_and(|len| len > MAX_INPUT) {
        return Err(Failure::Impossible("the input is longer than 16 MiB: cut out the part with the token".to_owned()));
    }
    Ok(input)
}

struct Decoder {
    shows_responses: bool,
    /// The flags of the last CHALLENGE_MESSAGE, which say what charset an old AUTHENTICATE_MESSAGE has.
    agreed: Option<NegotiateFlags>,
    /// Whether a token could not be decoded.
    is_wrong: bool,
}

impl Decoder {
    fn decode(&mut self, token: &[u8], depth: u8) -> Report {
        let Some(depth) = depth.checked_sub(1) else {
            return self.wrong("there are too many tokens in tokens".to_owned());
        };
        if token.starts_with(&SIGNATURE) {
            return self.message(token).unwrap_or_else(|error| self.wrong(error.to_string()));
        }
        if tokens::is_signature(token) {
            return self.signature(token);
        }
        match spnego::read(token) {
            Ok(Framed::Mechanism(id, inside)) => {
                let mut report = Report::of_bytes(format!("a token of {}", spnego::mechanism(&id)), token);
                self.add_inner(&mut report, inside, depth);
                report
            }
            Ok(Framed::Negotiation(negotiation)) => self.negotiation(&negotiation, token, depth),
            Err(error) => self.wrong(format!("its DER is wrong: {error}")),
        }
    }

    fn wrong(&mut self, why: String) -> Report {
        self.is_wrong = true;
        let mut report = Report::new("a token that cannot be decoded");
        report.text("why", why);
        report
    }

    fn negotiation(&mut self, negotiation: &Negotiation<'_>, token: &[u8], depth: u8) -> Report {
        let name = if negotiation.is_first { "SPNEGO's NegTokenInit" } else { "SPNEGO's NegTokenResp" };
        let mut report = Report::of_bytes(name, token);
        let mechanisms = negotiation.mechanisms.iter().map(|id| spnego::mechanism(id));
        if negotiation.is_first {
            report.list("mechanisms", mechanisms.collect());
        } else {
            mechanisms.for_each(|mechanism| report.text("mechanism", mechanism));
        }
        if let Some(state) = negotiation.state {
            let word = match state {
                0 => "accept-completed",
                1 => "accept-incomplete",
                2 => "reject",
                3 => "request-mic",
                _ => "unknown",
            };
            report.text("state", format_args!("{word} ({state})"));
        }
        if let Some(token) = negotiation.token {
            self.add_inner(&mut report, token, depth);
        }
        if let Some(mic) = negotiation.mic {
            report.part(
                "mechListMIC",
                if tokens::is_signature(mic) {
                    self.signature(mic)
                } else {
                    Report::of_bytes("a MIC of another mechanism", mic)
                },
            );
        }
        report
    }

    /// Adds a token that was in another one.
    fn add_inner(&mut self, report: &mut Report, token: &[u8], depth: u8) {
        if token.starts_with(&SIGNATURE) || tokens::is_signature(token) || spnego::read(token).is_ok() {
            report.part("token", self.decode(token, depth));
        } else {
            report.text("token", format_args!("{} bytes of another mechanism", token.len()));
        }
    }

    /// An NTLMSSP_MESSAGE_SIGNATURE, [MS-NLMP] 2.2.2.9.
    fn signature(&self, token: &[u8]) -> Report {
        let mut report = Report::of_bytes("NTLMSSP_MESSAGE_SIGNATURE", token);
        if let (Some(checksum), Some(number)) = (token.get(4..12), token.last_chunk()) {
            report.text("checksum", self.secret(checksum));
            report.text("sequence number", u32::from_le_bytes(*number));
        }
        report
    }

    fn message(&mut self, token: &[u8]) -> Result<Report> {
        match token.get(8) {
            Some(2) => self.challenge(token),
            Some(3) => self.authenticate(token),
            _ => negotiate(token),
        }
    }

    fn challenge(&mut self, token: &[u8]) -> Result<Report> {
        let challenge = Challenge::decode(token)?;
        self.agreed = Some(challenge.flags);
        let mut report = Report::of_bytes("CHALLENGE_MESSAGE", token);
        add_flags(&mut report, challenge.flags);
        report.text("target name", name(challenge.flags.charset(), challenge.target_name));
        report.text("server challenge", HEXLOWER.encode(&challenge.server_challenge));
        add_version(&mut report, challenge.version);
        if !challenge.target_info.is_empty() {
            let info = TargetInfo::decode(Message::Challenge, FieldName::TargetInfo, challenge.target_info)?;
            report.part("target info", self.target_info(&info));
        }
        Ok(report)
    }

    fn authenticate(&mut self, token: &[u8]) -> Result<Report> {
        // What says the charset: the CHALLENGE_MESSAGE before, unless it is of another handshake; the message itself; or nothing.
        let with = |agreed| Authenticate::decode(token, agreed);
        let message = match self.agreed.map(with) {
            Some(Ok(message)) => message,
            Some(Err(_)) | None => with(NegotiateFlags::UNICODE | NegotiateFlags::OEM)
                .or_else(|error| with(NegotiateFlags::UNICODE).map_err(|_| error))?,
        };
        let mut report = Report::of_bytes("AUTHENTICATE_MESSAGE", token);
        match message.flags {
            Some(flags) => add_flags(&mut report, flags),
            None => report.text("flags", "none: the header is an old one without them"),
        }
        let [domain, user, workstation] =
            [message.domain, message.user, message.workstation].map(|bytes| name(message.charset, bytes));
        report.text("domain", domain);
        report.text("user", user);
        report.text("workstation", workstation);
        add_version(&mut report, message.version);
        report.text("LM response", self.response(message.lm_response));
        let (nt_response, client) = match message.nt_response.len() {
            0..=24 => (Report::new(self.response(message.nt_response)), None),
            _ => {
                let response = NtlmV2Response::decode(message.nt_response)?;
                (self.ntlm_v2(&response), Some(response.client_challenge.target_info))
            }
        };
        report.part("NT response", nt_response);
        report.text("encrypted key", self.response(message.encrypted_random_session_key));
        let has_mic = client.is_some_and(|info| info.flags().contains(AvFlags::MIC));
        let mic = message.mic_offset.filter(|_| has_mic).and_then(|at| token.get(at..)?.first_chunk::<MIC_LEN>());
        report.text("MIC", mic.map_or_else(|| "none".to_owned(), |mic| self.secret(mic)));
        Ok(report)
    }

    fn ntlm_v2(&self, response: &NtlmV2Response<'_>) -> Report {
        let mut report = Report::new("NTLMv2");
        report.text("proof", self.secret(&response.nt_proof_str));
        let client = &response.client_challenge;
        report.text("time", time(client.time));
        report.text("client challenge", self.secret(&client.client_challenge));
        report.part("target info", self.target_info(&client.target_info));
        report
    }

    fn target_info(&self, info: &TargetInfo<'_>) -> Report {
        let mut report = Report::new("AV_PAIRs");
        for AvPair { id, value } in info.pairs() {
            match id {
                AvId::MsvAvFlags => {
                    let flags = AvFlags::from_bits_retain(u32::from_le_bytes(value.try_into().unwrap_or_default()));
                    let names: Vec<_> = flags.iter_names().map(|(name, _)| name).collect();
                    report.text(id.name(), format_args!("{:#x} {}", flags.bits(), names.join(" ")));
                }
                AvId::MsvAvTimestamp => report.text(id.name(), time(value.try_into().unwrap_or_default())),
                AvId::MsvAvChannelBindings if value.iter().all(|byte| *byte == 0) => report.text(id.name(), "none"),
                AvId::MsvAvNbComputerName
                | AvId::MsvAvNbDomainName
                | AvId::MsvAvDnsComputerName
                | AvId::MsvAvDnsDomainName
                | AvId::MsvAvDnsTreeName
                | AvId::MsvAvTargetName => report.text(id.name(), name(Charset::Unicode, value)),
                AvId::MsvAvChannelBindings | AvId::MsvAvSingleHost => report.text(id.name(), HEXLOWER.encode(value)),
                AvId(number) => report.text("AvId", format_args!("{number:#x}: {}", HEXLOWER.encode(value))),
            }
        }
        report
    }

    /// A response, by its length.
    fn response(&self, bytes: &[u8]) -> String {
        match bytes {
            [] => "none".to_owned(),
            _ if bytes.iter().all(|byte| *byte == 0) => format!("{} bytes, all zero", bytes.len()),
            _ => format!("{} bytes: {}", bytes.len(), self.secret(bytes)),
        }
    }

    /// What somebody could try passwords with.
    fn secret(&self, bytes: &[u8]) -> String {
        if self.shows_responses { HEXLOWER.encode(bytes) } else { "not shown without --unsafe".to_owned() }
    }
}

fn negotiate(token: &[u8]) -> Result<Report> {
    let message = Negotiate::decode(token)?;
    let mut report = Report::of_bytes("NEGOTIATE_MESSAGE", token);
    add_flags(&mut report, message.flags);
    report.text("domain", name(Charset::Oem, message.domain));
    report.text("workstation", name(Charset::Oem, message.workstation));
    add_version(&mut report, message.version);
    Ok(report)
}

fn add_flags(report: &mut Report, flags: NegotiateFlags) {
    report.text("flags", format_args!("{:#010x}", flags.bits()));
    report.list("flag names", flags.iter_names().map(|(name, _)| name.to_owned()).collect());
}

fn add_version(report: &mut Report, version: Option<Version>) {
    if let Some(Version([major, minor, low, high, .., revision])) = version {
        let build = u16::from_le_bytes([low, high]);
        report.text("version", format_args!("{major}.{minor}.{build}, revision {revision}"));
    }
}

/// A name on the wire, escaped.
fn name(charset: Charset, bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "none".to_owned();
    }
    let read = charset.to_utf16le(bytes);
    let letters = match charset {
        Charset::Unicode => bytes.len(),
        Charset::Oem => bytes.len().saturating_mul(2),
    };
    let rest = if read.len() < letters { " (and more)" } else { "" };
    format!("{}{rest}", DisplayUtf16(&read))
}

/// A FILETIME as people write it.
fn time(bytes: [u8; 8]) -> String {
    let time = FileTime::from_bytes(bytes);
    match system_time(time) {
        Some(time) => humantime::format_rfc3339_millis(time).to_string(),
        None => format!("FILETIME {}", time.0),
    }
}
