package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestPlaces runs testdata/places/*.txtar: that the places themselves can be
// trusted, shown with the vault command line and without secretboot.
func TestPlaces(t *testing.T) { runScripts(t, "testdata/places") }

// cmdFetch serves `fetch STATUS METHOD URL [OPTION…]`: it asks a place directly
// and writes the body to the file fetched. STATUS is a number, or `error` where
// no answer must come, and the file then has the reason. The options are
// bearer=TOKEN, ca=FILE, cert=FILE with key=FILE, and socket=PATH.
func cmdFetch(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: fetch STATUS METHOD URL [OPTION…]")
	}
	options := map[string]string{}
	for _, arg := range args[3:] {
		name, value, _ := strings.Cut(arg, "=")
		options[name] = value
	}
	req, err := http.NewRequestWithContext(context.Background(), args[1], args[2], nil)
	ts.Check(err)
	if token := options["bearer"]; token != "" {
		req.Header.Set("Authorization", "bearer "+token)
	}
	transport := fetchTransport(ts, options)
	defer transport.CloseIdleConnections()
	status, text := "error", ""
	resp, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		text = err.Error()
	} else {
		defer resp.Body.Close()
		body, readErr := io.ReadAll(resp.Body)
		ts.Check(readErr)
		status, text = strconv.Itoa(resp.StatusCode), string(body)
	}
	if status != args[0] {
		ts.Fatalf("%s %s: %s\n%s", args[1], args[2], status, text)
	}
	ts.Check(os.WriteFile(ts.MkAbs("fetched"), []byte(text), 0o600))
}

func fetchTransport(ts *testscript.TestScript, options map[string]string) *http.Transport {
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	if file := options["ca"]; file != "" && !config.RootCAs.AppendCertsFromPEM([]byte(ts.ReadFile(file))) {
		ts.Fatalf("%s holds no certificate", file)
	}
	if file := options["cert"]; file != "" {
		pair, err := tls.LoadX509KeyPair(ts.MkAbs(file), ts.MkAbs(options["key"]))
		ts.Check(err)
		config.Certificates = []tls.Certificate{pair}
	}
	transport := &http.Transport{TLSClientConfig: config}
	if socket := options["socket"]; socket != "" {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}
	}
	return transport
}

// TestSignatureVersion4 holds the stand-in for STS against the worked example
// of AWS's documentation (a request to list the users of IAM), and against what
// is wrong with it.
func TestSignatureVersion4(t *testing.T) {
	const (
		credential = "Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, SignedHeaders=content-type;host;x-amz-date"
		signature  = ", Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
		form       = "application/x-www-form-urlencoded; charset=utf-8"
	)
	signed := time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		target, form, authorization string
		must                        []string
		now                         time.Time
		want                        string // part of the error; "" is none
	}{
		"example":          {"/?Action=ListUsers&Version=2010-05-08", form, credential + signature, []string{"host"}, signed, ""},
		"query reordered":  {"/?Version=2010-05-08&Action=ListUsers", form, credential + signature, []string{"host"}, signed, ""},
		"two slashes":      {"//?Action=ListUsers&Version=2010-05-08", form, credential + signature, []string{"host"}, signed, ""},
		"four minutes":     {"/?Action=ListUsers&Version=2010-05-08", form, credential + signature, nil, signed.Add(4 * time.Minute), ""},
		"late":             {"/?Action=ListUsers&Version=2010-05-08", form, credential + signature, nil, signed.Add(6 * time.Minute), "another time"},
		"other query":      {"/?Action=ListRoles&Version=2010-05-08", form, credential + signature, nil, signed, "signature is wrong"},
		"other header":     {"/?Action=ListUsers&Version=2010-05-08", "text/plain", credential + signature, nil, signed, "signature is wrong"},
		"other key":        {"/?Action=ListUsers&Version=2010-05-08", form, strings.Replace(credential, "AKID", "AKIX", 1) + signature, nil, signed, "the credential is"},
		"header unsigned":  {"/?Action=ListUsers&Version=2010-05-08", form, credential + signature, []string{serverHeader}, signed, "not signed"},
		"not signed":       {"/?Action=ListUsers&Version=2010-05-08", form, credential, nil, signed, "signature is wrong"},
		"no authorization": {"/?Action=ListUsers&Version=2010-05-08", form, "", nil, signed, "the credential is"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &sts{keyID: "AKIDEXAMPLE", secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
			r := httptest.NewRequest("GET", "https://iam.amazonaws.com"+c.target, nil)
			r.Header.Set("Content-Type", c.form)
			r.Header.Set("X-Amz-Date", "20150830T123600Z")
			r.Header.Set("Authorization", algorithm+" "+c.authorization)
			err := s.verify(r, nil, "iam", c.must, c.now)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got the error %v, want one with %q", err, c.want)
			}
		})
	}
}
