package identity

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// GCPIAM is a service account of Google Cloud. Its proof is jwt, a token that
// names the account and the Vault role and is signed with the account's key,
// for Vault's roles of type iam
// (https://developer.hashicorp.com/vault/docs/auth/gcp#iam-login).
//
// With Credentials we sign it ourselves and ask nobody. Without, Google signs
// it: the instance's own account must then be allowed to
// (https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/signJwt).
type GCPIAM struct {
	Credentials    secret.Value // the JSON of a service account's key; empty: use the instance's account
	ServiceAccount string       // who we are; "": the key's or the instance's account
	Role           string       // of Vault

	MetadataEndpoint string            // "": Google's
	IAMEndpoint      string            // "": Google's
	Transport        http.RoundTripper // to IAM; nil: direct, without a proxy
}

// proofLife is how long a token that we sign holds. Vault refuses one that
// holds longer than its role's max_jwt_exp, which is 15 minutes unless the role
// says less, and takes no account of a clock of ours that runs ahead. The token
// is used at once, so this is plenty.
const proofLife = 5 * time.Minute

// Proof gives jwt.
func (g GCPIAM) Proof(ctx context.Context) (Proof, error) {
	if err := over(ctx, "the login gcp"); err != nil {
		return nil, err
	}
	var ps plan.Problems
	if g.Role == "" {
		ps.Add(&plan.Problem{
			Code: plan.CodeConfig, What: "the login gcp", Why: "no role is given, and the token must name it",
			Fix: "set vault.auth.role",
		})
	}
	if g.ServiceAccount != "" {
		ps.Add(checkAccount(g.ServiceAccount))
	}
	if g.Credentials.Len() > 0 {
		return g.signHere(ps)
	}
	return g.signThere(ctx, ps)
}

// payload is the token's claims as JSON. Vault compares the end of aud with the
// role.
func (g GCPIAM) payload(account string) ([]byte, error) {
	return json.Marshal(map[string]any{
		"aud": "vault/" + g.Role,
		"sub": account,
		"exp": time.Now().Add(proofLife).Unix(),
	})
}

// signHere signs with a key of our own.
func (g GCPIAM) signHere(ps plan.Problems) (Proof, error) {
	key, err := readKey(g.Credentials)
	ps.Add(err)
	if err == nil && g.ServiceAccount != "" && g.ServiceAccount != key.email {
		ps.Add(&plan.Problem{
			Code: plan.CodeConfig, What: "the Google service account " + g.ServiceAccount, Why: "the credentials are of another one",
			Fix: "leave the account out, or give its own key",
		})
	}
	if err := ps.Err(); err != nil {
		return nil, err
	}
	payload, err := g.payload(key.email)
	if err != nil {
		return nil, unencodable()
	}
	jwt, err := key.sign(payload)
	return proofOf(secret.New(jwt), err)
}

// signThere lets Google sign.
func (g GCPIAM) signThere(ctx context.Context, ps plan.Problems) (Proof, error) {
	m, err := newMetadata(g.MetadataEndpoint, "")
	ps.Add(err)
	iam, err := base("the address of Google's IAM Service Account Credentials API", g.IAMEndpoint, "https://iamcredentials.googleapis.com", true)
	ps.Add(err)
	if err := ps.Err(); err != nil {
		return nil, err
	}
	account := g.ServiceAccount
	if account == "" {
		if account, err = m.email(ctx); err != nil {
			return nil, err
		}
	}
	token, err := m.accessToken(ctx)
	if err != nil {
		return nil, err
	}
	defer token.Wipe()
	return g.askIAM(ctx, iam, account, token)
}

// askIAM calls signJwt.
func (g GCPIAM) askIAM(ctx context.Context, iam, account string, token secret.Value) (Proof, error) {
	payload, err := g.payload(account)
	if err != nil {
		return nil, unencodable()
	}
	request, err := json.Marshal(map[string]string{"payload": string(payload)})
	if err != nil {
		return nil, unencodable()
	}
	c := call{
		what: "the token that Google signs for the service account", who: "Google's IAM",
		method: http.MethodPost, url: iam + "/v1/projects/-/serviceAccounts/" + account + ":signJwt",
		header: map[string]string{"Authorization": "Bearer " + string(token.Reveal()), "Content-Type": "application/json"},
		body:   request, timeout: tryTimeout, via: g.Transport,
		fixes: map[int]string{
			http.StatusUnauthorized: "give the instance the access scope cloud-platform",
			http.StatusForbidden: "grant the instance's account roles/iam.serviceAccountTokenCreator on the service account, " +
				"give the instance the access scope cloud-platform, and enable iamcredentials.googleapis.com",
			http.StatusNotFound: "check the name of the service account",
		},
	}
	var answer struct {
		SignedJWT string `json:"signedJwt"`
	}
	if err := c.ask(ctx, &answer); err != nil {
		return nil, err
	}
	return proofOf(c.jwt(answer.SignedJWT))
}

// accountKey is a service account's key
// (https://cloud.google.com/iam/docs/keys-create-delete).
type accountKey struct {
	email, id string
	key       *rsa.PrivateKey
}

func readKey(credentials secret.Value) (accountKey, error) {
	bad := func(why string) (accountKey, error) {
		return accountKey{}, &plan.Problem{
			Code: plan.CodeConfig, What: "the Google credentials", Why: why, Fix: "give the JSON key file of a service account",
		}
	}
	var file struct {
		Type  string `json:"type"`
		Email string `json:"client_email"`
		ID    string `json:"private_key_id"`
		Key   string `json:"private_key"`
	}
	if err := json.Unmarshal(credentials.Reveal(), &file); err != nil {
		return bad("not JSON") // the cause may show a piece of them
	}
	switch {
	case file.Type != "service_account":
		return bad(`not a service account's: "type" says something else`)
	case file.ID == "" || checkAccount(file.Email) != nil:
		return bad("client_email or private_key_id is missing or odd")
	}
	block, _ := pem.Decode([]byte(file.Key))
	if block == nil {
		return bad("private_key is not PEM")
	}
	key, ok := parseRSA(block.Bytes)
	if !ok {
		return bad("private_key is not an RSA key")
	}
	return accountKey{file.Email, file.ID, key}, nil
}

// parseRSA takes both forms that Google has given out.
func parseRSA(der []byte) (*rsa.PrivateKey, bool) {
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, true
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, false
	}
	rsaKey, ok := key.(*rsa.PrivateKey)
	return rsaKey, ok
}

// sign makes a token of a payload, RS256 (RFC 7515, 3.1; RFC 7518, 3.3).
func (k accountKey) sign(payload []byte) ([]byte, error) {
	header, err := json.Marshal(map[string]string{"alg": "RS256", "typ": "JWT", "kid": k.id})
	if err != nil {
		return nil, unencodable()
	}
	token := base64.RawURLEncoding.AppendEncode(nil, header)
	token = base64.RawURLEncoding.AppendEncode(append(token, '.'), payload)
	sum := sha256.Sum256(token)
	signature, err := rsa.SignPKCS1v15(rand.Reader, k.key, crypto.SHA256, sum[:])
	if err != nil { // of the key's size at most; it shows nothing of the key
		return nil, &plan.Problem{
			Code: plan.CodeConfig, What: "the Google credentials", Why: "the private key cannot sign", Err: err,
			Fix: "make a new key for the service account",
		}
	}
	return base64.RawURLEncoding.AppendEncode(append(token, '.'), signature), nil
}

func unencodable() error {
	return &plan.Problem{Code: plan.CodeBug, What: "the login gcp", Why: "its token cannot be encoded"}
}
