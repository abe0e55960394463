// One side of an NTLM handshake made with go-ntlm, with signed messages. It answers each line of JSON with one; bytes are base64.
//
//	{"do": "challenge"}                                            as a server: its CHALLENGE_MESSAGE
//	{"do": "judge", "token": AUTHENTICATE_MESSAGE}                 as a server
//	{"do": "answer", "token": CHALLENGE_MESSAGE}                   as a client: its AUTHENTICATE_MESSAGE
//	{"do": "sign", "data": message, "number": n}                   the signature
//	{"do": "verify", "data": message, "token": signature, "number": n}
//
// Each line also has the account: "user", "domain", "password".
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"log"
	"os"

	"github.com/ThomsonReutersEikon/go-ntlm/ntlm"
)

type request struct {
	Do                     string
	User, Domain, Password string
	Token, Data            []byte
	Number                 int
}

type answer struct {
	Token []byte `json:"token,omitempty"`
	Error string `json:"error,omitempty"`
}

// The methods that client and server share.
type session interface {
	SetUserInfo(user string, password string, domain string)
	Mac(message []byte, number int) ([]byte, error)
	VerifyMac(message, signature []byte, number int) (bool, error)
}

var (
	client ntlm.ClientSession
	server ntlm.ServerSession
	side   session
)

func begin(r request) (err error) {
	if r.Do == "answer" {
		client, err = ntlm.CreateClientSession(ntlm.Version2, ntlm.ConnectionOrientedMode)
		side = client
	} else {
		server, err = ntlm.CreateServerSession(ntlm.Version2, ntlm.ConnectionOrientedMode)
		side = server
	}
	if err == nil {
		side.SetUserInfo(r.User, r.Password, r.Domain)
	}
	return err
}

func do(r request) ([]byte, error) {
	switch r.Do {
	case "challenge":
		if err := begin(r); err != nil {
			return nil, err
		}
		message, err := server.GenerateChallengeMessage()
		if err != nil {
			return nil, err
		}
		return message.Bytes(), nil
	case "judge":
		message, err := ntlm.ParseAuthenticateMessage(r.Token, 2)
		if err != nil {
			return nil, err
		}
		return nil, server.ProcessAuthenticateMessage(message)
	case "answer":
		if err := begin(r); err != nil {
			return nil, err
		}
		challenge, err := ntlm.ParseChallengeMessage(r.Token)
		if err != nil {
			return nil, err
		}
		if err := client.ProcessChallengeMessage(challenge); err != nil {
			return nil, err
		}
		message, err := client.GenerateAuthenticateMessage()
		if err != nil {
			return nil, err
		}
		return message.Bytes(), nil
	case "sign":
		return side.Mac(r.Data, r.Number)
	case "verify":
		right, err := side.VerifyMac(r.Data, r.Token, r.Number)
		if err == nil && !right {
			err = errors.New("the signature is wrong")
		}
		return nil, err
	}
	return nil, errors.New("nothing that I can do")
}

func main() {
	log.SetOutput(io.Discard)
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r request
		var a answer
		err := json.Unmarshal(lines.Bytes(), &r)
		if err == nil {
			a.Token, err = do(r)
		}
		if err != nil {
			a.Error = err.Error()
		}
		if err := json.NewEncoder(os.Stdout).Encode(a); err != nil {
			panic(err)
		}
	}
}
