package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// sts is a stand-in for AWS's Security Token Service that knows one key and
// checks the signature over every request as AWS says it does.
type sts struct {
	keyID, secret string
	session       string // of a role's key, else ""
	arn           string
}

const (
	stsRegion    = "us-east-1"
	stsServerID  = "vault.example"
	stsBody      = "Action=GetCallerIdentity&Version=2011-06-15"
	serverHeader = "x-vault-aws-iam-server-id"
	amzTime      = "20060102T150405Z"
	algorithm    = "AWS4-HMAC-SHA256"
	formType     = "application/x-www-form-urlencoded; charset=utf-8"
)

// cmdSTS serves
//
//	sts user        the key is a user's, arn:aws:iam::123456789012:user/app
//	sts role        it is the temporary one of arn:aws:sts::123456789012:assumed-role/app/session,
//	                and its session token must be sent and signed
//	sts login FILE  write the fields of Vault's auth/aws/login, signed with the key; FILE is JSON
//
// The first two set STS_URL, for Vault's sts_endpoint, and AWS_REGION,
// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN.
func cmdSTS(ts *testscript.TestScript, neg bool, args []string) {
	state := current(ts)
	switch {
	case neg || len(args) == 0:
		ts.Fatalf("usage: sts user|role, sts login FILE")
	case len(args) == 1 && args[0] == "user":
		state.sts = newSTS(ts, &sts{keyID: "AKIA" + rand.Text()[:16], arn: "arn:aws:iam::123456789012:user/app"})
	case len(args) == 1 && args[0] == "role":
		state.sts = newSTS(ts, &sts{
			keyID: "ASIA" + rand.Text()[:16], session: newSecret(ts, ""), arn: "arn:aws:sts::123456789012:assumed-role/app/session",
		})
	case len(args) == 2 && args[0] == "login" && state.sts != nil:
		ts.Check(os.WriteFile(ts.MkAbs(args[1]), state.sts.login(ts, time.Now()), 0o600))
	default:
		ts.Fatalf("sts: unknown %v", args)
	}
}

func newSTS(ts *testscript.TestScript, s *sts) *sts {
	s.secret = newSecret(ts, "")
	server := httptest.NewServer(s)
	ts.Defer(server.Close)
	ts.Setenv("STS_URL", server.URL)
	ts.Setenv("AWS_REGION", stsRegion)
	ts.Setenv("AWS_ACCESS_KEY_ID", s.keyID)
	ts.Setenv("AWS_SECRET_ACCESS_KEY", s.secret)
	ts.Setenv("AWS_SESSION_TOKEN", s.session)
	return s
}

// ServeHTTP answers GetCallerIdentity
// (https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html).
func (s *sts) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/xml")
	err := s.check(r, time.Now())
	if err != nil {
		var why bytes.Buffer
		_ = xml.EscapeText(&why, []byte(err.Error()))
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, "<ErrorResponse><Error><Type>Sender</Type><Code>SignatureDoesNotMatch</Code><Message>%s</Message></Error></ErrorResponse>", why.Bytes())
		return
	}
	fmt.Fprintf(w, `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><Arn>%s</Arn><UserId>AIDAEXAMPLE</UserId><Account>123456789012</Account></GetCallerIdentityResult><ResponseMetadata><RequestId>%s</RequestId></ResponseMetadata></GetCallerIdentityResponse>`,
		s.arn, rand.Text())
}

// check accepts one kind of request: a POST of GetCallerIdentity that this key
// signed within the last minutes for a Vault server that it names.
func (s *sts) check(r *http.Request, now time.Time) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<16))
	if err != nil {
		return err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || r.Method != http.MethodPost || form.Get("Action") != "GetCallerIdentity" || form.Get("Version") != "2011-06-15" {
		return errors.Join(err, errors.New("this is not a POST of GetCallerIdentity"))
	}
	must := []string{"host", serverHeader}
	if s.session != "" {
		must = append(must, "x-amz-security-token")
	}
	if got := r.Header.Get("X-Amz-Security-Token"); subtle.ConstantTimeCompare([]byte(got), []byte(s.session)) != 1 {
		return errors.New("the session token is not that of this key")
	}
	return s.verify(r, body, "sts", must, now)
}

// verify checks Signature Version 4 over a request
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html).
// The headers in must have to be signed, and its time has to be within five
// minutes of now.
func (s *sts) verify(r *http.Request, body []byte, service string, must []string, now time.Time) error {
	fields, ok := strings.CutPrefix(r.Header.Get("Authorization"), algorithm+" ")
	if !ok {
		return errors.New("it is not signed with " + algorithm)
	}
	parts := map[string]string{}
	for field := range strings.SplitSeq(fields, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		parts[name] = value
	}
	when := r.Header.Get("X-Amz-Date")
	at, err := time.Parse(amzTime, when)
	if err != nil {
		return fmt.Errorf("the time of the request: %w", err)
	}
	if now.Sub(at).Abs() > 5*time.Minute {
		return errors.New("the request is signed for another time: " + when)
	}
	scope := strings.Join([]string{when[:8], stsRegion, service, "aws4_request"}, "/")
	if parts["Credential"] != s.keyID+"/"+scope {
		return fmt.Errorf("the credential is %s and not %s/%s", parts["Credential"], s.keyID, scope)
	}
	signed := strings.Split(parts["SignedHeaders"], ";")
	for _, name := range must {
		if !slices.Contains(signed, name) || header(r, name) == "" {
			return errors.New(name + " is not sent or not signed")
		}
	}
	if want := s.signature(r, body, signed, when, scope); !hmac.Equal([]byte(want), []byte(parts["Signature"])) {
		return errors.New("the signature is wrong")
	}
	return nil
}

// signature does steps 1 to 4 of AWS's description.
func (s *sts) signature(r *http.Request, body []byte, signed []string, when, scope string) string {
	canonical := sha256.Sum256([]byte(canonicalRequest(r, body, signed)))
	toSign := strings.Join([]string{algorithm, when, scope, hex.EncodeToString(canonical[:])}, "\n")
	key := []byte("AWS4" + s.secret)
	for part := range strings.SplitSeq(scope, "/") {
		key = hmacSHA256(key, part)
	}
	return hex.EncodeToString(hmacSHA256(key, toSign))
}

func hmacSHA256(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	_, _ = io.WriteString(h, text)
	return h.Sum(nil)
}

// canonicalRequest is the text of step 1. The path is normalised, as for every
// service but S3: Vault asks for // where / was signed.
func canonicalRequest(r *http.Request, body []byte, signed []string) string {
	sum := sha256.Sum256(body)
	var headers strings.Builder
	for _, name := range signed {
		headers.WriteString(name + ":" + header(r, name) + "\n")
	}
	query := strings.ReplaceAll(r.URL.Query().Encode(), "+", "%20")
	where := path.Clean("/" + r.URL.EscapedPath())
	return strings.Join([]string{r.Method, where, query, headers.String(), strings.Join(signed, ";"), hex.EncodeToString(sum[:])}, "\n")
}

// header is a header in its canonical form; net/http keeps two of them apart.
func header(r *http.Request, name string) string {
	switch name {
	case "host":
		return r.Host
	case "content-length":
		return strconv.FormatInt(r.ContentLength, 10)
	}
	var values []string
	for _, v := range r.Header.Values(name) {
		values = append(values, strings.Join(strings.Fields(v), " "))
	}
	return strings.Join(values, ",")
}

// cmdTags serves `tags TAG`: from here on sb is a binary with a build tag, for
// what is left out of the usual one.
func cmdTags(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: tags TAG")
	}
	file := filepath.Join(ts.Getenv("WORK"), ".secretboot-"+args[0])
	build := exec.Command("go", "build", "-tags", args[0], "-o", file, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	mustRun(ts, build, nil)
	ts.Setenv("HARNESS_SECRETBOOT", file)
}

// login is a signed request in the form that Vault's aws method takes
// (https://developer.hashicorp.com/vault/api-docs/auth/aws#login).
func (s *sts) login(ts *testscript.TestScript, now time.Time) []byte {
	const endpoint = "https://sts.us-east-1.amazonaws.com/"
	req := httptest.NewRequest(http.MethodPost, endpoint, strings.NewReader(stsBody))
	when := now.UTC().Format(amzTime)
	req.Header = http.Header{
		"Content-Type": {formType}, "X-Amz-Date": {when}, "X-Vault-Aws-Iam-Server-Id": {stsServerID},
	}
	if s.session != "" {
		req.Header.Set("X-Amz-Security-Token", s.session)
	}
	signed := []string{"host"}
	for name := range maps.Keys(req.Header) {
		signed = append(signed, strings.ToLower(name))
	}
	slices.Sort(signed)
	scope := strings.Join([]string{when[:8], stsRegion, "sts", "aws4_request"}, "/")
	req.Header.Set("Authorization", fmt.Sprintf("%s Credential=%s/%s, SignedHeaders=%s, Signature=%s",
		algorithm, s.keyID, scope, strings.Join(signed, ";"), s.signature(req, []byte(stsBody), signed, when, scope)))
	headers, err := json.Marshal(req.Header)
	ts.Check(err)
	encode := base64.StdEncoding.EncodeToString
	text, err := json.Marshal(map[string]string{
		"role": "app", "iam_http_request_method": req.Method, "iam_request_url": encode([]byte(endpoint)),
		"iam_request_body": encode([]byte(stsBody)), "iam_request_headers": encode(headers),
	})
	ts.Check(err)
	return text
}
