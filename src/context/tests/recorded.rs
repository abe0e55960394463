//! Handshakes with our acceptor, recorded from clients that tests/peers runs if they are installed.

use super::*;
use crate::{name::Attribute, policy::LmLevel, wire::Challenge};

/// The three messages, and what the acceptor must read in them.
struct Recorded {
    client: &'static str,
    messages: [&'static str; 3],
    level: u8,
    version: &'static str,
    workstation: Option<&'static str>,
}

const ALL: [Recorded; 3] = [
    // It offers OEM, and OEM is agreed on. Its names are OEM, but its flags have UNICODE.
    Recorded {
        client: "GNU wget 1.21.3",
        messages: [
            "4e544c4d53535000010000000202000000000000200000000000000020000000",
            "4e544c4d53535000020000000700070030000000060281004aa1734f2cd5a6dc00000000000000003e003e00370000004558\
                414d504c4502000e004500580041004d0050004c00450001001000540045005300540048004f00530054000300040076006d\
                000700080080485ea8b17fdd0100000000",
            "4e544c4d5353500003000000180018004c000000180018006400000007000700400000000500050047000000000000004c00\
                0000000000007c000000018200004558414d504c45616c696365e170c6e49f4147eaadcb7aa43e31a0afc5f17a77af903943\
                3f96951ea598e365db4b9f75921662c8094dc0012f5049ef",
        ],
        level: 1,
        version: "NTLMv1",
        workstation: None,
    },
    // It does not ask for a target, but uses NTLMv2 only if it gets one.
    Recorded {
        client: "Apache's HttpClient 4.5.14",
        messages: [
            "4e544c4d5353500001000000018208a2000000002800000000000000280000000501280a0000000f",
            "4e544c4d53535000020000000e000e0038000000058289a2f5760a8d89cbc8dc00000000000000003e003e00460000000603\
                80250000000f4500580041004d0050004c00450002000e004500580041004d0050004c004500010010005400450053005400\
                48004f00530054000300040076006d0007000800bf1b10abb17fdd0100000000",
            "4e544c4d535350000300000018001800480000006e006e00600000000e000e00ce0000000a000a00dc0000000c000c00e600\
                000000000000f2000000058289a20501280a0000000f499a10e188ef72678c35f9aff36418428d393cfe3fe1c24f7caae1d6\
                47f6b1c307359389d47659220101000000000000206410abb17fdd017402e3a9359450900000000002000e00450058004100\
                4d0050004c00450001001000540045005300540048004f00530054000300040076006d0007000800bf1b10abb17fdd010000\
                0000000000004500580041004d0050004c00450061006c0069006300650043004c00490045004e005400",
        ],
        level: 3,
        version: "NTLMv2",
        workstation: Some("CLIENT"),
    },
    // It sets DATAGRAM, which was not offered.
    Recorded {
        client: "go-ntlm b00ec39",
        messages: [
            "4e544c4d53535000010000001102086200000000000000000000000000000000060100000000000f",
            "4e544c4d53535000020000000e000e003800000015028962322bbe0916160cba00000000000000003e003e00460000000603\
                80250000000f4500580041004d0050004c00450002000e004500580041004d0050004c004500010010005400450053005400\
                48004f00530054000300040076006d000700080076c242acb17fdd0100000000",
            "4e544c4d535350000300000018001800580000006e006e00700000000e000e00de0000000a000a00ec00000014001400f600\
                0000100010000a010000d58298620501280a0000000f00000000000000000000000000000000fe9485f4d48a8e07dfd42ce9\
                c83d42fd7fbb45eef9eb5d212fd60be40d5a7119f7958c8d3d404af701010000000000000048d8abb17fdd017fbb45eef9eb\
                5d210000000002000e004500580041004d0050004c00450001001000540045005300540048004f0053005400030004007600\
                6d000700080076c242acb17fdd0100000000000000004500580041004d0050004c00450061006c0069006300650053005100\
                55004100520045004d0049004c004c0082a096d13760ef39f051865e6c40ad7e",
        ],
        level: 3,
        version: "NTLMv2",
        workstation: Some("SQUAREMILL"),
    },
];

fn unhex(digits: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(digit).collect()
}

impl Recorded {
    /// The context of an acceptor that sent this CHALLENGE_MESSAGE, and whose account has this password.
    fn accepted(&self, password: &str) -> Result<Context> {
        let [negotiate, challenge, authenticate] = self.messages.map(unhex);
        let server_policy = Policy { lm_level: LmLevel::new(self.level).unwrap(), ..Policy::default() };
        let pair = Pair { server_policy, ..Pair::new() };
        std::fs::write(&pair._user_file.0, format!("EXAMPLE:alice:{password}\n")).unwrap();
        let mut server = Context::resume(ExpectAuthenticate {
            negotiate,
            challenge,
            seq_num: None,
            is_exempt: false,
            acceptor: pair.acceptor(),
        });
        pair.accept(&mut server, &authenticate).map(|_| server)
    }
}

#[test]
fn clients_of_the_field_are_served() {
    for recorded in ALL {
        let server = recorded.accepted("Correct Horse").unwrap_or_else(|error| panic!("{}: {error}", recorded.client));
        let established = server.established().unwrap();
        assert_eq!(established.initiator.name.to_string(), "EXAMPLE\\alice", "{}", recorded.client);
        assert_eq!(established.initiator.get(Attribute::Version), Some(recorded.version), "{}", recorded.client);
        assert_eq!(established.initiator.get(Attribute::Workstation), recorded.workstation, "{}", recorded.client);
        assert!(!established.flags.contains(ContextFlags::DATAGRAM));
    }
}

#[test]
fn clients_of_the_field_get_what_they_need_for_ntlm_v2() {
    for recorded in ALL {
        let pair = Pair::new();
        let answer = pair.accept(&mut Context::new(Role::Acceptor), &unhex(recorded.messages[0])).unwrap();
        let challenge = Challenge::decode(&answer).unwrap();
        assert!(!challenge.target_name.is_empty() && !challenge.target_info.is_empty(), "{}", recorded.client);
    }
}

#[test]
fn clients_of_the_field_with_a_wrong_password_are_refused() {
    for recorded in ALL {
        assert_eq!(
            recorded.accepted("wrong").map(drop),
            Err(PeerMisbehaved::LogonFailure(LogonFault::BadPassword).into()),
            "{}",
            recorded.client
        );
    }
}
