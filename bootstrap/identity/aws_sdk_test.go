//go:build aws

package identity

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// nowhere leaves AWS's module without credentials of the machine that the tests
// run on, and sets what is given.
func nowhere(t *testing.T, vars map[string]string) {
	t.Helper()
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
		}
	}
	none := filepath.Join(t.TempDir(), "none")
	t.Setenv("HOME", t.TempDir())
	t.Setenv("AWS_CONFIG_FILE", none)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", none)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	for name, text := range vars {
		t.Setenv(name, text)
	}
}

func keys(more ...string) map[string]string {
	vars := map[string]string{"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": canary}
	for i := 0; i < len(more); i += 2 {
		vars[more[i]] = more[i+1]
	}
	return vars
}

func TestAWSSignature(t *testing.T) {
	tests := []struct {
		source      AWS
		session     string
		url, region string
	}{
		{AWS{}, "", "https://sts.amazonaws.com/", "us-east-1"},
		{AWS{ServerID: "vault.example"}, canary + "-session", "https://sts.amazonaws.com/", "us-east-1"},
		{AWS{Region: "us-east-1"}, "", "https://sts.us-east-1.amazonaws.com/", "us-east-1"},
		{AWS{Region: "eu-central-1", ServerID: "v"}, "", "https://sts.eu-central-1.amazonaws.com/", "eu-central-1"},
		{AWS{Region: "cn-north-1"}, "", "https://sts.cn-north-1.amazonaws.com.cn/", "cn-north-1"},
		{AWS{Region: "us-gov-west-1"}, "", "https://sts.us-gov-west-1.amazonaws.com/", "us-gov-west-1"},
		{AWS{Region: "eu-west-1", STSEndpoint: "http://127.0.0.1:8200"}, "", "http://127.0.0.1:8200/", "eu-west-1"},
		{AWS{STSEndpoint: "https://sts.test/"}, canary, "https://sts.test/", "us-east-1"},
	}
	for _, tt := range tests {
		nowhere(t, keys("AWS_SESSION_TOKEN", tt.session, "AWS_REGION", "ap-south-1"))
		p, err := tt.source.Proof(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s := decodeAWS(t, p)
		names, region := s.verify(t, canary)
		if s.method != "POST" || s.body != "Action=GetCallerIdentity&Version=2011-06-15" || s.url.String() != tt.url || region != tt.region {
			t.Errorf("%+v: %s %s in %s: %s", tt.source, s.method, s.url, region, s.body)
		}
		if s.header.Get("X-Amz-Security-Token") != tt.session || slices.Contains(names, "x-amz-security-token") != (tt.session != "") {
			t.Errorf("%+v: session token %q, signed %v", tt.source, s.header.Get("X-Amz-Security-Token"), names)
		}
		if s.header.Get(serverIDHeader) != tt.source.ServerID || slices.Contains(names, "x-vault-aws-iam-server-id") != (tt.source.ServerID != "") {
			t.Errorf("%+v: server id %q, signed %v", tt.source, s.header.Get(serverIDHeader), names)
		}
		allowed := []string{"Authorization", "Content-Type", "X-Amz-Date", "X-Amz-Security-Token", "X-Vault-Aws-Iam-Server-Id"}
		for name := range s.header {
			if !slices.Contains(allowed, name) {
				t.Errorf("header %s, which Vault may refuse", name)
			}
		}
	}
}

func TestAWSSettings(t *testing.T) {
	nowhere(t, keys())
	tests := []struct {
		source AWS
		say    string
	}{
		{AWS{Region: "eu-central-1/" + canary}, "is no region's name"},
		{AWS{Region: "EU"}, "is no region's name"},
		{AWS{ServerID: "a\nb"}, "an unprintable character"},
		{AWS{STSEndpoint: "https://sts.test?" + canary}, "must not have a query"},
		{AWS{STSEndpoint: "sts.test"}, "has no host"},
	}
	for _, tt := range tests {
		_, err := tt.source.Proof(t.Context())
		problem(t, err, plan.CodeConfig, tt.say)
	}
}

// metadataOf is the metadata service of an EC2 instance, version 2.
func metadataOf(t *testing.T, roles, credentials http.HandlerFunc) string {
	t.Helper()
	const folder = "/latest/meta-data/iam/security-credentials/"
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /latest/api/token", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "300")
		text(canary)(w, nil)
	})
	guarded := func(h http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Aws-Ec2-Metadata-Token") != canary {
				h = status(401)
			}
			h(w, r)
		}
	}
	mux.HandleFunc("GET "+folder+"{$}", guarded(roles))
	mux.HandleFunc("GET "+folder+"my-role", guarded(credentials))
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv.URL
}

// given is the answer of a service that gives credentials.
func given() http.HandlerFunc {
	return text(`{"Code":"Success","AccessKeyId":"AKIDEXAMPLE","SecretAccessKey":"` + canary + `","Token":"` + canary +
		`-session","Expiration":"` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + `"}`)
}

// TestAWSInstance: the role of an EC2 instance.
func TestAWSInstance(t *testing.T) {
	tests := []struct {
		name               string
		roles, credentials http.HandlerFunc
		code               plan.Code // 0: a proof
		say                string
	}{
		{"good", text("my-role"), given(), 0, ""},
		{"no role", status(404), given(), plan.CodeConfig, "the EC2 instance has none (status 404)"},
		{"redirect", text("my-role"), http.RedirectHandler("/"+canary, http.StatusTemporaryRedirect).ServeHTTP, plan.CodeProtocol, "is a redirect"},
		{"page", text("my-role"), text("<html>" + canary), plan.CodeConfig, "the AWS credentials"},
		{"endless", text("my-role"), text(strings.Repeat(" ", maxBody) + "{}"), plan.CodeConfig, "the AWS credentials"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			nowhere(t, map[string]string{
				"AWS_EC2_METADATA_DISABLED": "", "AWS_EC2_METADATA_SERVICE_ENDPOINT": metadataOf(t, tt.roles, tt.credentials),
			})
			p, err := AWS{}.Proof(t.Context())
			if tt.code != 0 {
				problem(t, err, tt.code, tt.say)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			s := decodeAWS(t, p)
			s.verify(t, canary)
			if s.header.Get("X-Amz-Security-Token") != canary+"-session" {
				t.Error("the role's session token is not sent")
			}
		})
	}
}

// TestAWSContainer: the role of an ECS task or an EKS pod, for which a proxy is
// never used.
func TestAWSContainer(t *testing.T) {
	for code, want := range map[int]plan.Code{200: 0, 400: plan.CodeDenied, 403: plan.CodeDenied} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != canary {
				code = 401
			}
			if code == 200 {
				given()(w, r)
				return
			}
			w.WriteHeader(code)
			text(`{"code":"`+canary+`","message":"`+canary+`"}`)(w, r)
		}))
		nowhere(t, map[string]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI": srv.URL + "/x", "AWS_CONTAINER_AUTHORIZATION_TOKEN": canary})
		p, err := AWS{Transport: broken(errors.New("the proxy was asked"))}.Proof(t.Context())
		if want == 0 {
			if err != nil {
				t.Fatal(err)
			}
			decodeAWS(t, p).verify(t, canary)
		} else {
			problem(t, err, want, fmt.Sprintf("refused (status %d)", code))
		}
		srv.Close()
	}
}

// TestAWSWebIdentity: the role of an EKS pod by its service account's token, on
// a network of our own.
func TestAWSWebIdentity(t *testing.T) {
	refuse := func(code int) way {
		return func(*http.Request) (*http.Response, error) {
			return answerOf(code, http.Header{"Content-Type": {"text/xml"}},
				"<ErrorResponse><Error><Code>"+canary+"</Code><Message>"+canary+"</Message></Error></ErrorResponse>"), nil
		}
	}
	good := func(r *http.Request) (*http.Response, error) {
		if err := r.ParseForm(); err != nil || r.PostForm.Get("WebIdentityToken") != canary+"-jwt" {
			return refuse(400)(r)
		}
		return answerOf(200, http.Header{"Content-Type": {"text/xml"}}, `<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult>`+
			`<Credentials><AccessKeyId>AKIDEXAMPLE</AccessKeyId><SecretAccessKey>`+canary+`</SecretAccessKey><SessionToken>`+canary+
			`</SessionToken><Expiration>`+time.Now().Add(time.Hour).UTC().Format(time.RFC3339)+`</Expiration></Credentials>`+
			`</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`), nil
	}
	refused := broken(&net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED})
	tests := []struct {
		name  string
		way   way
		code  plan.Code
		say   string
		tries int
	}{
		{"good", good, 0, "", 1},
		{"400", refuse(400), plan.CodeDenied, "refused (status 400)", 1},
		{"403", refuse(403), plan.CodeDenied, "trust policy", 1},
		{"503", refuse(503), plan.CodeUnavailable, "cannot serve the request now (status 503)", 5},
		{"refused", refused, plan.CodeUnavailable, "cannot be reached", 5},
		{"silent", silent, plan.CodeUnavailable, "cannot be reached", 5},
	}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(canary+"-jwt"), 0o600); err != nil {
		t.Fatal(err)
	}
	nowhere(t, map[string]string{
		"AWS_WEB_IDENTITY_TOKEN_FILE": file, "AWS_ROLE_ARN": "arn:aws:iam::1:role/r", "AWS_ROLE_SESSION_NAME": "s",
	})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := 0
				counted := way(func(r *http.Request) (*http.Response, error) { tries++; return tt.way(r) })
				p, err := AWS{Region: "eu-central-1", Transport: counted}.Proof(t.Context())
				if tt.code == 0 && err != nil {
					t.Fatal(err)
				}
				if tt.code == 0 {
					decodeAWS(t, p).verify(t, canary)
				} else {
					problem(t, err, tt.code, tt.say)
				}
				if tries != tt.tries {
					t.Errorf("%d tries, want %d", tries, tt.tries)
				}
			})
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			mine := errors.New("told to end")
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(time.Second, func() { cancel(mine) })
			if _, err := (AWS{Transport: way(silent)}).Proof(ctx); !errors.Is(err, mine) {
				t.Errorf("%v", err)
			}
			synctest.Wait() // nothing of AWS's module goes on
		})
	})
	t.Run("deadline", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := AWS{Transport: way(silent)}.Proof(ctx)
			problem(t, err, plan.CodeUnavailable, "before the deadline")
		})
	})
}

// TestAWSNothing: no credentials anywhere, or settings that lead to none.
func TestAWSNothing(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	bad := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(bad, []byte("[profile x]\nregion = "+canary+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		vars map[string]string
		say  string
	}{
		{"no service", nil, "the metadata service of EC2 does not answer"},
		{"closed", map[string]string{"AWS_EC2_METADATA_DISABLED": "", "AWS_EC2_METADATA_SERVICE_ENDPOINT": closed.URL}, "the metadata service of EC2 does not answer"},
		{"no profile", map[string]string{"AWS_PROFILE": "missing", "AWS_CONFIG_FILE": bad}, "no such profile"},
		{"half", map[string]string{"AWS_ACCESS_KEY_ID": canary}, "the AWS credentials"},
		{"own authority", keys("AWS_CA_BUNDLE", bad), "SSL_CERT_FILE"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			nowhere(t, tt.vars)
			_, err := AWS{}.Proof(t.Context())
			problem(t, err, plan.CodeConfig, tt.say)
		})
	}
}

func TestIsNear(t *testing.T) {
	for host, want := range map[string]bool{
		"169.254.169.254": true, "169.254.170.2": true, "169.254.170.23": true, "127.0.0.1": true, "::1": true, "fd00:ec2::254": true,
		"fe80::1": true, "::ffff:169.254.169.254": true,
		"10.0.0.1": false, "sts.amazonaws.com": false, "localhost": false, "fd00:ec3::254": false, "": false,
	} {
		if got := isNear(host); got != want {
			t.Errorf("%s: %v", host, got)
		}
	}
}
