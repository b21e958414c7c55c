package identity

import (
	"bytes"
	"context"
	"net/http"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// metadataAddress is where Google Cloud and Azure keep an instance's metadata
// service. The address rather than Google's name for it: there may be no DNS yet.
const metadataAddress = "http://169.254.169.254"

// GCPMetadata is an instance of Google Cloud: a virtual machine, or a pod of
// GKE. Its proof is jwt, an identity token of the instance, which Vault's roles
// of type gce take, and those of type iam that allow it
// (https://cloud.google.com/compute/docs/instances/verifying-instance-identity).
type GCPMetadata struct {
	Endpoint       string // of the metadata service; "": Google's
	ServiceAccount string // of the instance: its email; "": the default one
	Audience       string // must end in vault/ROLE
}

// Proof gives jwt.
func (g GCPMetadata) Proof(ctx context.Context) (Proof, error) {
	var ps plan.Problems
	m, err := newMetadata(g.Endpoint, g.ServiceAccount)
	ps.Add(err)
	if g.Audience == "" {
		ps.Add(&plan.Problem{
			Code: plan.CodeConfig, What: "the audience of Google's identity token", Why: "not given",
			Fix: "give vault/ROLE with the name of the Vault role",
		})
	}
	if err := ps.Err(); err != nil {
		return nil, err
	}
	c := m.call("the identity token of this Google Cloud instance", "identity?audience="+escape(g.Audience)+"&format=full")
	body, err := c.do(ctx)
	if err != nil {
		return nil, err
	}
	defer clear(body)
	return proofOf(c.jwt(string(bytes.TrimSpace(body))))
}

// metadata is Google's metadata service, as one service account sees it.
type metadata struct{ address, account string }

func newMetadata(endpoint, account string) (metadata, error) {
	var ps plan.Problems
	address, err := base("the address of Google's metadata service", endpoint, metadataAddress, false)
	ps.Add(err)
	if account == "" {
		account = "default"
	}
	ps.Add(checkAccount(account))
	return metadata{address, account}, ps.Err()
}

// call asks for a member of the service account. The header that the request
// must have keeps other sites' pages from asking; the one that the answer must
// have tells Google's service from whatever else sits at this address.
func (m metadata) call(what, member string) call {
	const flavor = "Metadata-Flavor"
	return call{
		what: what, who: "Google's metadata service", method: http.MethodGet, timeout: metadataTimeout,
		url:     m.address + "/computeMetadata/v1/instance/service-accounts/" + m.account + "/" + member,
		header:  map[string]string{flavor: "Google"},
		genuine: func(h http.Header) bool { return h.Get(flavor) == "Google" },
		fixes: map[int]string{
			0:                    "this login works on Google Cloud only; see that nothing between here and the metadata service blocks it",
			http.StatusNotFound:  "give the instance a service account, or check the name in vault.auth",
			http.StatusForbidden: "let the pod or container use the metadata service (GKE: Workload Identity)",
		},
	}
}

// checkAccount takes the email or the number of a service account: it becomes a
// part of a path.
func checkAccount(name string) error {
	odd := func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && !strings.ContainsRune("@._-:", r)
	}
	if name != "" && name[0] != '.' && !strings.ContainsFunc(name, odd) {
		return nil
	}
	return &plan.Problem{
		Code: plan.CodeConfig, What: "the Google service account", Why: "is neither an email address nor a number",
		Fix: "give it as NAME@PROJECT.iam.gserviceaccount.com",
	}
}

// accessToken gets a token for Google's own services.
func (m metadata) accessToken(ctx context.Context) (secret.Value, error) {
	c := m.call("the access token of this Google Cloud instance", "token")
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := c.ask(ctx, &answer); err != nil {
		return secret.Value{}, err
	}
	token := secret.New([]byte(answer.AccessToken))
	if header("", "", token) != nil {
		return secret.Value{}, c.foreign("holds no token").problem(c, "")
	}
	return token, nil
}

// email gets the name of the service account.
func (m metadata) email(ctx context.Context) (string, error) {
	c := m.call("the service account of this Google Cloud instance", "email")
	body, err := c.do(ctx)
	if err != nil {
		return "", err
	}
	email := string(bytes.TrimSpace(body))
	if checkAccount(email) != nil || !strings.Contains(email, "@") {
		return "", c.foreign("is no service account").problem(c, "")
	}
	return email, nil
}
